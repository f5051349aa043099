"""The process that drives one run: holds its lock, runs the loop stage by stage, keeps its state.

Started detached by `jobs`; survives the server and the terminal. Stopping it (SIGTERM) ends the stage at work;
what is committed stays, and a resume goes on from there.
"""

from __future__ import annotations

import signal
import time
import traceback
from dataclasses import dataclass, field

from lpd_core import gate
from lpd_core.errors import Interrupted, LpdError
from lpd_core.events import StatusChanged
from lpd_core.execution import execution_of
from lpd_core.loop import Outcome, run_em
from lpd_core.store import RunFolder, RunState, Store, constitutions
from lpd_core.store import runs as run_table

HEARTBEAT_SECONDS = 2.0


class Stopped(BaseException):
    """The driver was asked to stop."""


@dataclass
class Heart:
    """Writes the run's state when the stage changes and every few seconds in between."""

    folder: RunFolder
    last: tuple[str, int, float] = field(default=("", 0, 0.0))

    def beat(self, stage: str, iteration: int) -> None:
        """Say that the run is alive and where it is."""
        import os

        name, at, when = self.last
        if (name, at) == (stage, iteration) and time.monotonic() - when < HEARTBEAT_SECONDS:
            return
        self.last = (stage, iteration, time.monotonic())
        self.folder.write_state(RunState("running", iteration, stage, pid=os.getpid()))


def drive(store: Store, run_id: str, inline: bool = False) -> Outcome:
    """Run or go on with a run until it finishes, waits for review, is stopped or fails.

    Raises what ended it after recording it: `Stopped`, `Interrupted`, or another error (status failed)."""
    folder = store.run(run_id)
    with folder.driving():
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        try:
            _settle(store, folder, "running")
            outcome = _loop(store, folder, inline)
        except Stopped:
            _settle(store, folder, "stopped")
            raise
        except Interrupted as cause:
            _settle(store, folder, "interrupted", str(cause))
            raise
        except Exception as cause:
            if not isinstance(cause, LpdError):
                traceback.print_exc()
            _settle(store, folder, "failed", str(cause) or type(cause).__name__)
            raise
        _settle(store, folder, outcome.status)
        return outcome


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


def _settle(store: Store, folder: RunFolder, status: str, error: str = "") -> None:
    """Write the state where everybody looks: the folder first, the database where it can be written."""
    import os

    state = folder.state()
    pid = os.getpid() if status == "running" else 0
    folder.write_state(RunState(status, state.iteration, state.stage, error, pid))
    folder.emit(StatusChanged(status, state.iteration, state.stage, error or None))
    run_table.set_status(store, folder.run_id, status, error)


def _stop(signum, frame):
    raise Stopped
