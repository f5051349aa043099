"""What the machine has and what of it is in use: CPU, memory, disk, GPUs. Knows nothing of runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.used,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU with its memory in bytes."""

    name: str
    memory_used: int
    memory_total: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A look at the machine: CPU in per cent of all cores, memory and disk in bytes."""

    cores: int
    cpu_percent: float
    memory_used: int
    memory_total: int
    memory_available: int
    disk_free: int
    gpus: tuple[Gpu, ...]


def look(home: Path) -> Machine:
    """The machine now; the disk is the one that `home` lies on or would lie on. CPU use is counted since the
    last look of this process, 0 at the first."""
    import psutil

    memory = psutil.virtual_memory()
    return Machine(
        cores=os.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(),
        memory_used=memory.total - memory.available,
        memory_total=memory.total,
        memory_available=memory.available,
        disk_free=shutil.disk_usage(existing(home)).free,
        gpus=find_gpus(),
    )


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def find_gpus() -> tuple[Gpu, ...]:
    """NVIDIA GPUs as nvidia-smi tells them; none where there is no such tool."""
    if shutil.which(GPU_QUERY[0]) is None:
        return ()
    try:
        told = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
    return tuple(
        Gpu(row[0], int(row[1]) * 2**20, int(row[2]) * 2**20)
        for row in rows
        if len(row) == 3 and row[1].isdecimal() and row[2].isdecimal()
    )
