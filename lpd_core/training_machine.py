"""One of several machines of a training: `LAUNCHER python -m lpd_core.training_machine ARGUMENTS...`.

`m_step.launcher` starts this once on each machine; it finds the machine's number in the environment and becomes
`accelerate launch` with the arguments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

RANKS = ("LPD_MACHINE_RANK", "SLURM_NODEID", "SKYPILOT_NODE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables in which launchers tell a process the number of its machine, when they start one on each."""


def machine_rank(environment: Mapping[str, str]) -> int | None:
    """The number of this machine, from 0; None where no launcher has told it."""
    return next((int(environment[name]) for name in RANKS if environment.get(name, "").isdigit()), None)


def accelerate_command(arguments: Sequence[str], rank: int) -> list[str]:
    """`accelerate launch` as the machine of this number."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--machine_rank", str(rank)]
    return [*launch, *arguments]


if __name__ == "__main__":
    rank = machine_rank(os.environ)
    if rank is None:
        sys.exit(f"error: no number of this machine in ${', $'.join(RANKS)}; m_step.launcher has to set one")
    command = accelerate_command(sys.argv[1:], rank)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, from a list of words
