"""FSDP among processes on the CPU, which accelerate has the parts for but never puts together."""

from __future__ import annotations

import os
from functools import wraps
from typing import Any


def admit_fsdp_on_cpu() -> None:
    """Let accelerate run FSDP where it was asked for and the processes are on CPUs, which talk by gloo.

    Left alone it takes FSDP for GPUs' business and runs plain data parallelism, without a word. Nothing but that
    decision is changed: sharding, gathering and checkpoints are its own, so that a machine without a GPU can prove
    them. Does nothing where FSDP was not asked for."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    settle = AcceleratorState.__init__

    @wraps(settle)
    def admit(state: Any, *args: Any, **options: Any) -> None:
        settle(state, *args, **options)
        plugin = options.get("fsdp_plugin")
        if plugin is not None and state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = admit
