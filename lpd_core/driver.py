"""The process that drives one run: holds its lock, runs the loop stage by stage, keeps its state.

Started detached by `jobs`; survives the server and the terminal. Stopping it (SIGTERM) ends the stage at work;
what is committed stays, and a resume goes on from there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lpd_core import gate
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.events import StatusChanged
from lpd_core.execution import execution_of
from lpd_core.loop import Outcome, run_em
from lpd_core.store import RunFolder, RunState, Store, constitutions, corpora, mirror
from lpd_core.store import runs as run_table

HEARTBEAT_SECONDS = 2.0
DRIVER_PATIENCE_SECONDS = 120.0


class Stopped(BaseException):
    """The driver was asked to stop."""


@dataclass
class Heart:
    """Writes the run's state when the stage changes and every few seconds in between."""

    folder: RunFolder
    last: tuple[str, int, float] = field(default=("", 0, 0.0))

    def beat(self, stage: str, iteration: int) -> None:
        """Say that the run is alive and where it is."""
        name, at, when = self.last
        if (name, at) == (stage, iteration) and time.monotonic() - when < HEARTBEAT_SECONDS:
            return
        self.last = (stage, iteration, time.monotonic())
        self.folder.write_state(RunState("running", iteration, stage, pid=os.getpid()))


def drive(store: Store, run_id: str, inline: bool = False) -> Outcome:
    """Run or go on with a run until it finishes, waits for review, is stopped or fails.

    Raises what ended it after recording it: `Stopped`, `Interrupted`, or another error (status failed)."""
    store.database.lock_seconds = DRIVER_PATIENCE_SECONDS
    folder = store.run(run_id)
    with folder.driving(), _stoppable() as asked:
        try:
            try:
                _begin(store, folder)
                outcome = _loop(store, folder, inline)
            finally:
                _ignore_signals()  # here, so that one that comes just now still ends in the first branch
        except Stopped:
            _settle(store, folder, "stopped")
            raise
        except Exception as cause:
            if asked.is_set():  # the database tells a signal during a query as an error of its own
                _settle(store, folder, "stopped")
                raise Stopped from cause
            if isinstance(cause, Interrupted):
                _settle(store, folder, "interrupted", str(cause))
                raise
            if not isinstance(cause, LpdError):
                traceback.print_exc()
            _settle(store, folder, "failed", str(cause) or type(cause).__name__)
            raise
        _settle(store, folder, outcome.status)
        return outcome


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """SIGTERM and SIGINT raise `Stopped` inside the block, and set the event; the handlers before are put back."""
    asked = threading.Event()

    def stop(signum, frame):
        asked.set()
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _loop(store: Store, folder: RunFolder, inline: bool) -> Outcome:
    heart = Heart(folder)
    execute = execution_of(store, folder, inline=inline, watch=heart.beat)

    def run_stage(name: str, iteration: int):
        heart.beat(name, iteration)
        return execute(name, iteration)

    outcome = run_em(
        execute.config,
        run_stage,
        is_approved=lambda t: constitutions.approved_version(store, folder.run_id, t) is not None,
        approve=lambda t: gate.approve(store, folder, t, author="auto", message="as found"),
    )
    if outcome.best is not None:
        version = constitutions.approved_version(store, folder.run_id, outcome.best)
        constitutions.set_alias(store, folder.run_id, "best", outcome.best, version)
    return outcome


def _begin(store: Store, folder: RunFolder) -> None:
    """Say that the run is running, after making sure that the database still holds what it draws on."""
    state = folder.state()
    folder.write_state(RunState("running", state.iteration, state.stage, pid=os.getpid()))
    folder.emit(StatusChanged("running", state.iteration, state.stage))
    run_table.ingest(store, folder)
    run_table.require(store, folder)
    mirror.keep_run(store, folder.run_id)
    for dataset in corpora.datasets_of_run(store, folder.run_id, folder.config().iterations):
        if not mirror.has_dataset(store, dataset["dataset_id"]):
            mirror.keep_dataset(store, dataset["dataset_id"])
    run_table.set_status(store, folder.run_id, "running")


def _settle(store: Store, folder: RunFolder, status: str, error: str = "") -> None:
    """Write how the run ended: the database first, so that a kill in between leaves a run that says `running`
    without a driver, which a resume settles."""
    state = folder.state()
    with suppress(Interrupted, UserError):  # the folder must be settled though the database cannot be written
        run_table.set_status(store, folder.run_id, status, error)
        mirror.keep_run(store, folder.run_id)
    folder.write_state(RunState(status, state.iteration, state.stage, error))
    folder.emit(StatusChanged(status, state.iteration, state.stage, error or None))
