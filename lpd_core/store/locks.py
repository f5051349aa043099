"""Advisory file locks: who holds one lives; the kernel releases it even on kill -9."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO


def acquire(lock: IO, seconds: float, kind: int = fcntl.LOCK_EX) -> bool:
    """Take an open lock file, exclusively if not told otherwise, trying for some seconds; whether it was got."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.01)


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock exclusively (a PID alone does not tell: zombies keep theirs)."""
    try:
        # Shared, so that two who look do not take each other for the holder.
        with open(path, "a+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
