"""Small disks in memory: mounting one, filling it to the last byte."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class NoDisk(Exception):
    """No file system can be mounted here: not Linux, or not root."""


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs with these mount options at a folder, made if need be. Raises `NoDisk`."""
    folder.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
    )
    if told.returncode:
        raise NoDisk(told.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No byte is free on the disk within the block."""
    ballast = disk / "ballast"
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)
    try:
        yield
    finally:
        ballast.unlink()
