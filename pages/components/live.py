"""A run's progress as every tab sees it: its events are read once for all sessions, each byte once, a little a refresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st

from lpd_core.progress import RunProgress
from lpd_core.store import RunFolder
from pages.components import reads

PIECE_BYTES = 2**20
READ_SECONDS = 0.35
"""Most of a refresh that may go into reading; a long run's events take several refreshes when first opened."""


@dataclass
class Following:
    """A run's events up to byte `offset` of `size`, as progress. Use it with its lock held."""

    folder: RunFolder
    progress: RunProgress = field(default_factory=RunProgress)
    offset: int = 0
    size: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def catch_up(self, seconds: float = READ_SECONDS) -> None:
        """Read what is new, for at most some seconds."""
        give_up = time.monotonic() + seconds
        self.size = self.folder.events_size()
        while self.offset < self.size and time.monotonic() < give_up:
            events, offset = self.folder.events(self.offset, PIECE_BYTES)
            if offset == self.offset:  # a line that is still being written
                break
            self.progress.take_all(events)
            self.offset = offset

    @property
    def is_behind(self) -> bool:
        """Whether much is still to be read."""
        return self.size - self.offset > PIECE_BYTES


@contextmanager
def following(run_id: str) -> Iterator[Following]:
    """A run's progress, brought up to date, for this block alone."""
    folder = reads.folder(run_id)
    try:
        made = (folder.root / "config.toml").stat().st_mtime_ns
    except OSError:
        made = 0
    found = _following(str(folder.root), made)
    with found.lock:
        found.catch_up()
        yield found


@st.cache_resource(max_entries=32, show_spinner=False)
def _following(root: str, made: int) -> Following:
    """Keyed by the making of the run too: a deleted run's id may be used again."""
    return Following(RunFolder(root))
