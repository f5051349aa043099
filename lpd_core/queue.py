"""The queue: runs that wait for their turn, worked off one by one by a process of its own.

The queue is a file under the home, replaced whole under a lock, so that a kill at any moment loses nothing: a run
stays in it as `current` from before it is started until it has ended. The worker holds a lock while it lives; it
ends when nothing waits any more, and whoever adds to an unattended queue starts one. A run that waits for a
review holds no process, so the queue goes on with the next.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from lpd_core import jobs
from lpd_core.config import PROJECT
from lpd_core.errors import LpdError, UserError
from lpd_core.store import RunFolder, RunState, Store
from lpd_core.store.locks import acquire, is_held
from lpd_core.store.run_folder import storage, write_json

POLL_SECONDS = 0.5
BROKEN = ("failed", "interrupted")


@dataclass(frozen=True, slots=True)
class QueueState:
    """The runs that wait, first to come first, and the one whose turn it is. `halted` says why the queue does not
    go on although runs wait; `started` whether the current run was started by the worker."""

    waiting: tuple[str, ...] = ()
    current: str = ""
    started: bool = False
    continue_on_error: bool = False
    halted: str = ""


class Queue:
    """The queue of a store's runs."""

    def __init__(self, store: Store):
        self.store = store
        self.path = store.home / "queue.json"
        self._lock = store.home / "queue.lock"
        self._worker_lock = store.home / "queue-worker.lock"

    def read(self) -> QueueState:
        """The queue now, without runs that were deleted. A damaged file is an empty queue; the next change of the queue
        keeps it as queue.json.damaged."""
        state = self._told() or QueueState()
        known = set(self.store.run_ids())
        waiting = tuple(run for run in state.waiting if run in known)
        current = state.current if state.current in known else ""
        return replace(state, waiting=waiting, current=current, halted=state.halted if waiting else "")

    def add(self, run_id: str) -> int:
        """Put a run at the end and see that somebody works the queue; its place, counted from 1.

        Raises `UserError` for a run that is at work, has finished, waits for a review or is in the queue."""
        folder = self.store.run(run_id)
        jobs.release_approved(self.store, folder)
        status = folder.state().status
        if folder.is_driven():
            raise UserError(f"run {folder.run_id} is running already")
        if status in ("finished", "awaiting_review"):
            told = {"finished": "has finished; clone it to run it again"}
            raise UserError(
                f"run {folder.run_id} {told.get(status, 'waits for a review: approve its constitution first')}"
            )
        with self._editing():
            state = self.read()
            if (
                folder.run_id == state.current and state.started
            ):  # its turn has ended, the worker is about to see it
                state = replace(state, current="", started=False)
            if folder.run_id in (*state.waiting, state.current):
                raise UserError(f"run {folder.run_id} is in the queue already")
            self._write(replace(state, waiting=(*state.waiting, folder.run_id)))
        self.attend()
        return len(state.waiting) + 1

    def start_or_add(self, run_id: str) -> int:
        """Start a run at once where nothing is at work and nothing waits, else put it at the end: what becomes of a run
        whose constitution was approved. Its place, 0 when it was started."""
        state = self.read()
        busy = state.waiting or self._is_busy()
        if busy:
            return self.add(run_id)
        jobs.resume(self.store, run_id)
        return 0

    def move(self, run_id: str, place: int) -> None:
        """Move a waiting run to a place, counted from 1; beyond the end is the end."""
        with self._editing():
            state = self.read()
            moved = self._waiting(state, run_id)
            rest = [run for run in state.waiting if run != moved]
            rest.insert(max(1, place) - 1, moved)
            self._write(replace(state, waiting=tuple(rest)))

    def cancel(self, run_id: str) -> None:
        """Take a waiting run out; the run itself stays as it is."""
        with self._editing():
            state = self.read()
            gone = self._waiting(state, run_id)
            self._write(replace(state, waiting=tuple(run for run in state.waiting if run != gone)))

    def drop(self, run_id: str) -> None:
        """Forget a run that is about to be deleted, and those that are no longer there."""
        with self._editing():
            told = self._told()
            state = self.read()
            waiting = tuple(run for run in state.waiting if run != run_id)
            current = "" if state.current == run_id else state.current
            left = replace(state, waiting=waiting, current=current, halted=state.halted if waiting else "")
            if told and told != left:
                self._write(left)

    def _waiting(self, state: QueueState, run_id: str) -> str:
        if run_id == state.current:
            raise UserError(f"run {run_id} has its turn already: `stop {run_id}` ends it")
        if run_id not in state.waiting:
            raise UserError(
                f"run {run_id} does not wait in the queue ({', '.join(state.waiting) or 'empty'})"
            )
        return run_id

    def set_continue_on_error(self, on: bool) -> None:
        """Whether the queue goes on after a run that failed or was interrupted."""
        with self._editing():
            self._write(replace(self.read(), continue_on_error=on))

    def go_on(self) -> None:
        """Work the queue again after it halted or its worker died."""
        with self._editing():
            self._write(replace(self.read(), halted=""))
        self.attend()

    def is_worked(self) -> bool:
        """Whether a worker lives."""
        return is_held(self._worker_lock)

    def is_stalled(self) -> bool:
        """Whether there is something to do and nobody to do it: the worker died, by a restart of the machine say."""
        state = self.read()
        to_do = state.current or (state.waiting and not state.halted)
        return bool(to_do) and not self.is_worked()

    def attend(self, seconds: float = 10.0) -> None:
        """Start a worker, detached, where there is work and none; waits until it has begun."""
        if not self.is_stalled():
            return
        with open(self.store.home / "queue.log", "ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "lpd_core", "work-queue"],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LPD_HOME": str(self.store.home)},
            )
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up and worker.poll() is None and not self.is_worked():
            time.sleep(0.05)

    def work(self) -> None:
        """The body of the worker: start run after run until nothing waits, or a run breaks and the queue is to halt.

        Returns at once where another worker lives."""
        with open(self._worker_lock, "a+", encoding="ascii") as lock:
            if not acquire(lock, seconds=1):  # patience for those who only look
                return
            while self._step(lock):
                time.sleep(POLL_SECONDS)

    def _step(self, lock) -> bool:
        """Look once and do what is to be done; False when the work is over."""
        state = self.read()
        if state.current and not state.started:
            self._start(state.current)
        elif state.current:
            self._settle(state.current)
        elif not self._is_busy():
            return self._advance(lock)
        return True

    def _is_busy(self) -> bool:
        """Whether any run is at work; one that is deleted meanwhile is not."""
        return any(RunFolder(self.store.runs / run).is_driven() for run in self.store.run_ids())

    def _advance(self, lock) -> bool:
        """Give the next run its turn; without one let go of the worker's lock, under the queue's, so that a run
        added at this moment finds either this worker or none."""
        with self._editing():
            state = self.read()
            if not state.waiting or state.halted:
                fcntl.flock(lock, fcntl.LOCK_UN)
                return False
            self._write(replace(state, current=state.waiting[0], started=False, waiting=state.waiting[1:]))
        return True

    def _start(self, run_id: str) -> None:
        """Start the current run, unless a worker before this one has."""
        folder = self.store.run(run_id)
        try:
            if not folder.is_driven():
                jobs.wait_for_driver(folder, jobs.resume(self.store, run_id))
        except LpdError as cause:
            settled = folder.state().status in ("finished", "awaiting_review")
            self._end(run_id, "" if settled else f"could not start: {cause}")
            return
        with self._editing():
            self._write(replace(self.read(), started=True))

    def _settle(self, run_id: str) -> None:
        """Take the current run out once nothing drives it any more."""
        folder = self.store.run(run_id)
        state = folder.state()
        starting = state.status == "queued" and not is_pending(state)
        if starting or state.status == "running" or folder.is_driven():
            return
        self._end(run_id, f"{state.status}: {state.error}" if state.status in BROKEN else "")

    def _end(self, run_id: str, broken: str) -> None:
        with self._editing():
            state = self.read()
            halts = broken and not state.continue_on_error and state.waiting
            told = f"run {run_id} {broken}" if halts else ""
            self._write(replace(state, current="", started=False, halted=told))

    @contextmanager
    def _editing(self) -> Iterator[None]:
        with storage(f"lock the queue {self._lock}"):
            self.store.home.mkdir(parents=True, exist_ok=True)
            lock = open(self._lock, "a+", encoding="ascii")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.path.exists() and self._told() is None:  # it would be written over
                os.replace(self.path, self.path.with_name("queue.json.damaged"))
            yield

    def _told(self) -> QueueState | None:
        """What the file says; None where there is none or it is damaged."""
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
            return QueueState(**{**told, "waiting": tuple(told["waiting"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, state: QueueState) -> None:
        write_json(self.path, asdict(state))


def place_of(state: QueueState, run_id: str) -> int | None:
    """A run's place among those that wait, from 1; 0 while it has its turn; None when it is not in the queue."""
    if run_id == state.current:
        return 0
    return state.waiting.index(run_id) + 1 if run_id in state.waiting else None


def is_pending(state: RunState) -> bool:
    """Whether a run was created or approved and nobody has started it since."""
    return state.status == "queued" and not state.pid
