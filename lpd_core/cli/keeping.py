"""runs: rename, clone, delete, and what a run takes on disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lpd_core.cli.options import Json, Run, Settings
from lpd_core.cli.output import show
from lpd_core.errors import UserError
from lpd_core.store import Store

app = typer.Typer(no_args_is_help=True, help="Runs as things to keep: rename, clone, delete.")


@app.command("rename", epilog="Example: python -m lpd_core runs rename demo-1 'first try'")
def rename(
    run_id: Run,
    name: Annotated[str, typer.Argument(help="The new name; the id stays.")],
    json_: Json = False,
) -> None:
    """Give a run another name."""
    from lpd_core.housekeeping import rename_run

    store = Store()
    folder = store.run(run_id)
    name = rename_run(store, folder.run_id, name)
    show({"run_id": folder.run_id, "name": name}, json_, f"{folder.run_id} is called {name!r}")


@app.command("clone", epilog="Example: python -m lpd_core runs clone demo-1 --set seed=2")
def clone(
    run_id: Run,
    name: Annotated[str, typer.Option("--name", help="The clone's name; the id is made from it.")] = "",
    set_: Settings = None,
    json_: Json = False,
) -> None:
    """A new run with the configuration of an earlier one, not yet started."""
    from lpd_core.housekeeping import clone_run

    folder = clone_run(Store(), run_id, name, set_ or ())
    run = folder.run_id
    show({"run_id": run}, json_, f"{run} is ready: `resume {run}` starts it, `queue add {run}` queues it")


@app.command("delete", epilog="Example: python -m lpd_core runs delete demo-2 --yes")
def delete(
    run_id: Run,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json_: Json = False,
) -> None:
    """Delete a run: its folder with checkpoints and logs, and its rows in the database. Asks first, with the size."""
    from lpd_core.housekeeping import delete_run, plan_deletion

    store = Store()
    plan = plan_deletion(store, run_id)
    if not yes:
        if json_:
            raise UserError(f"deleting {plan.run_id} frees {plan.size:,} bytes; say --yes to do it")
        for run in plan.builds_on_it:
            typer.echo(f"run {run} uses a checkpoint of {plan.run_id} as its model", err=True)
        frees = f"{plan.size / 1e6:,.1f} MB and {plan.rows:,} rows"
        typer.confirm(f"Delete run {plan.run_id} ({frees}) for good?", abort=True)
    freed = delete_run(store, plan.run_id)
    show({**asdict(plan), "freed": freed}, json_, f"{plan.run_id} deleted, {freed / 1e6:,.1f} MB freed")


@app.command("size", epilog="Example: python -m lpd_core runs size last")
def size(run_id: Run, json_: Json = False) -> None:
    """What deleting a run would free, without deleting it."""
    from lpd_core.housekeeping import plan_deletion

    plan = plan_deletion(Store(), run_id)
    show(asdict(plan), json_, f"{plan.run_id}: {plan.size / 1e6:,.1f} MB, {plan.rows:,} rows")
