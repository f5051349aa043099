"""repair, backup, restore: keeping a home whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lpd_core.cli.options import Json
from lpd_core.cli.output import show
from lpd_core.store import Store


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("repair", epilog="Example: python -m lpd_core repair")(repair)
    app.command("backup", epilog="Example: python -m lpd_core backup monday.tar")(backup)
    app.command("restore", epilog="Example: LPD_HOME=/data/new python -m lpd_core restore monday.tar")(
        restore
    )


def repair(json_: Json = False) -> None:
    """Make the database anew from the files beside it; damaged files are moved aside and done again by a resume."""
    from lpd_core.upkeep import repair as work

    done = work(Store())
    told = [f"{done.runs} runs, {done.datasets} data sets, {done.segments} segments brought back"]
    told += [f"the old database is {done.moved}"] if done.moved else []
    show(asdict(done), json_, "\n".join([*told, *done.damages]))


def backup(
    target: Annotated[Path, typer.Argument(help="The tar file to write.")],
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints/--no-checkpoints", help="With the trained weights.")
    ] = True,
    json_: Json = False,
) -> None:
    """Copy everything into one file, consistent also while runs go on."""
    from lpd_core.backups import backup as work

    size = work(Store(), target, checkpoints)
    show({"file": str(target), "bytes": size}, json_, f"{target}: {size / 1e6:.1f} MB")


def restore(
    archive: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")], json_: Json = False
) -> None:
    """Unpack a backup into an empty $LPD_HOME; runs that were going on can then be resumed."""
    from lpd_core.backups import restore as work
    from lpd_core.config import lpd_home

    runs = work(archive, lpd_home())
    show({"home": str(lpd_home()), "runs": runs}, json_, f"{len(runs)} runs restored into {lpd_home()}")
