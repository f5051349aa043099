"""Ray's own environment, made when it is first needed: `make cluster-env`, or the tests by themselves.

Ray comes on top of the project's environment, which it sees through a path file: 0.3 GB under `build/` (or where
`$LPD_CLUSTER_ENV` points) and half a minute.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from tests.own_environment import PROJECT, OwnEnvironment, pip

REQUIREMENTS = PROJECT / "requirements-cluster.txt"
SEE_OURS = """
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "project.pth").write_text(sys.argv[1])
"""


def _steps(python: Path) -> list[list[str]]:
    return [
        [str(python), "-c", SEE_OURS, sysconfig.get_path("purelib") + "\n"],
        pip(python, "install", "--retries", "1", "-r", str(REQUIREMENTS)),
        [str(python), "-c", "import ray.data, torch"],
    ]


ENVIRONMENT = OwnEnvironment("Ray", "cluster-env", "LPD_CLUSTER_ENV", REQUIREMENTS, 2 * 2**30, _steps)


if __name__ == "__main__":
    reason = ENVIRONMENT.install()
    if reason:
        sys.exit(f"error: {reason}")
    print(f'set e_step.engine = "ray" and sampler.python = "{ENVIRONMENT.interpreter}"')
