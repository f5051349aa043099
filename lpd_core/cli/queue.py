"""queue: the runs that wait for their turn, and the hidden process that works them off."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show, table
from lpd_core.store import Store

app = typer.Typer(
    help="Runs that wait for their turn; one process starts them one after the other.",
    invoke_without_command=True,
)


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


@app.callback(epilog="Example: python -m lpd_core queue")
def queue(context: typer.Context, json_: Json = False) -> None:
    """The queue: what runs, what waits, whether it goes on after an error."""
    if context.invoked_subcommand is None:
        show_(json_)


@app.command("show", epilog="Example: python -m lpd_core queue show --json")
def show_(json_: Json = False) -> None:
    """What runs and what waits."""
    told = _told()
    rows = [{"place": place, "run": run} for place, run in enumerate(told["waiting"], start=1)]
    lines = [f"at work: {told['current'] or 'none'}", table(rows, "waiting")]
    lines.append(f"after an error: {'goes on with the next' if told['continue_on_error'] else 'halts'}")
    if told["halted"]:
        lines.append(f"halted, since {told['halted']}; `queue start` goes on")
    if told["stalled"]:
        lines.append("nobody works the queue (its process died); `queue start` starts it again")
    show(told, json_, "\n".join(lines))


def _told() -> dict[str, Any]:
    from dataclasses import asdict

    from lpd_core.queue import Queue

    waiting = Queue(Store())
    return {**asdict(waiting.read()), "worked": waiting.is_worked(), "stalled": waiting.is_stalled()}


@app.command("add", epilog="Example: python -m lpd_core queue add demo-2")
def add(run_id: Run, json_: Json = False) -> None:
    """Put a run at the end of the queue; it starts when its turn comes."""
    from lpd_core.queue import Queue

    store = Store()
    folder = store.run(run_id)
    place = Queue(store).add(folder.run_id)
    show({"run_id": folder.run_id, "place": place}, json_, f"{folder.run_id} waits at place {place}")


@app.command("move", epilog="Example: python -m lpd_core queue move demo-3 1")
def move(
    run_id: Run,
    place: Annotated[int, typer.Argument(min=1, help="The new place; 1 is next.")],
    json_: Json = False,
) -> None:
    """Move a waiting run to another place."""
    from lpd_core.queue import Queue

    store = Store()
    Queue(store).move(store.run(run_id).run_id, place)
    show_(json_)


@app.command("cancel", epilog="Example: python -m lpd_core queue cancel demo-3")
def cancel(run_id: Run, json_: Json = False) -> None:
    """Take a waiting run out of the queue; the run itself stays."""
    from lpd_core.queue import Queue

    store = Store()
    Queue(store).cancel(store.run(run_id).run_id)
    show_(json_)


@app.command("continue-on-error", epilog="Example: python -m lpd_core queue continue-on-error on")
def continue_on_error(switch: Switch, json_: Json = False) -> None:
    """Whether the queue goes on after a run that failed or was interrupted (off: it halts and says why)."""
    from lpd_core.queue import Queue

    Queue(Store()).set_continue_on_error(switch is Switch.ON)
    show_(json_)


@app.command("start", epilog="Example: python -m lpd_core queue start")
def start(json_: Json = False) -> None:
    """Go on after the queue has halted, or start its process again after it died."""
    from lpd_core.queue import Queue

    Queue(Store()).go_on()
    show_(json_)


def work_queue() -> None:
    """The process that works the queue."""
    from lpd_core.queue import Queue

    Queue(Store()).work()
