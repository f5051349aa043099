"""status, list, report, sql, doctor: looking without changing anything."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show, table
from lpd_core.errors import LpdError, UserError
from lpd_core.store import Store


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", epilog="Example: python -m lpd_core status last --json")(status)
    app.command("list", epilog="Example: python -m lpd_core list")(list_)
    app.command("report", epilog="Example: python -m lpd_core report last")(report)
    app.command(
        "sql", epilog='Example: python -m lpd_core sql "select status, count(*) from candidates group by all"'
    )(sql)
    app.command("doctor", epilog="Example: python -m lpd_core doctor")(doctor)


def status(run_id: Run = "last", json_: Json = False) -> None:
    """Where a run is: state, stage, progress, error."""
    folder = Store().run(run_id)
    state = folder.state()
    progress = _progress(folder)
    value = {
        "run_id": folder.run_id,
        "status": state.status,
        "iteration": state.iteration,
        "stage": state.stage,
        "error": state.error,
        "pid": state.pid,
        "driven": folder.is_driven(),
        "progress": progress,
        "folder": str(folder.root),
    }
    where = f", iteration {state.iteration}, {state.stage}" if state.stage else ""
    done = _done(progress) if progress and state.status == "running" else ""
    error = f"\n{state.error}" if state.error else ""
    show(value, json_, f"{folder.run_id}: {state.status}{where}{done}{error}")


def _done(progress: dict[str, Any]) -> str:
    left = progress["seconds_left"]
    about = f", about {left:.0f} s left" if left else ""
    return (
        f" {progress['done']} of {progress['total']} {progress['unit']}{about}" if progress["total"] else ""
    )


def _progress(folder) -> dict[str, Any] | None:
    from lpd_core.progress import RunProgress

    stage = RunProgress().take_all(folder.events()[0]).latest
    if stage is None:
        return None
    return {
        "iteration": stage.iteration,
        "stage": stage.stage,
        "done": stage.done,
        "total": stage.total,
        "unit": stage.unit,
        "per_second": stage.rate,
        "tokens_per_second": stage.tokens_rate,
        "seconds_left": stage.eta(time.time()),
    }


def list_(json_: Json = False) -> None:
    """Every run with its state."""
    store = Store()
    names = _names(store)
    rows = []
    for run_id in store.run_ids():
        folder = store.run(run_id)
        state = folder.state()
        rows.append(
            {
                "run": run_id,
                "name": names.get(run_id) or _name(folder),
                "status": state.status,
                "iteration": state.iteration,
                "stage": state.stage,
                "error": state.error,
            }
        )
    show(rows, json_, table(rows) if rows else "no runs yet; start one with `run --preset demo`")


def _names(store: Store) -> dict[str, str]:
    """The names in the database; none where it cannot be read, since the list must help then too."""
    from lpd_core.store import runs

    if not store.database.path.exists():
        return {}
    try:
        return {row["run_id"]: row["name"] for row in runs.list_runs(store)}
    except LpdError:
        return {}


def _name(folder) -> str:
    try:
        return folder.config().name
    except UserError:
        return "(damaged config.toml)"


def report(
    run_id: Run = "last",
    html: Annotated[Path | None, typer.Option("--html", help="Write the whole report to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Its Markdown twin.")] = None,
    json_: Json = False,
) -> None:
    """The numbers of a run: held-out measures with intervals, acceptance, coverage, constitution. With --html or
    --markdown the whole report as a file: also steps, principles, edits, examples, setting, manifest."""
    store = Store()
    run_id = store.run(run_id).run_id
    if html is None and markdown is None:
        print_report(store, run_id, json_)
        return
    from lpd_core.build import build_embedder
    from lpd_core.document import to_html, to_markdown
    from lpd_core.report_document import run_document
    from lpd_core.store.run_folder import write_text

    folder = store.run(run_id)
    sections = run_document(store, run_id, lambda: build_embedder(folder.config(), store.cache))
    drawn = [(path, draw) for path, draw in ((html, to_html), (markdown, to_markdown)) if path is not None]
    for path, draw in drawn:
        write_text(path, draw(sections))
    files = [str(path) for path, _ in drawn]
    show({"files": files}, json_, f"wrote {', '.join(files)}")


def print_report(store: Store, run_id: str, as_json: bool) -> None:
    """Print a run's numbers as tables or JSON."""
    from lpd_core.metrics import MEASURES
    from lpd_core.report import heldout_rows, iteration_rows, run_report

    found = run_report(store, run_id)
    parts = [table(heldout_rows(found, name), f"held-out prompts: {name}") for name in found["heldout"]]
    parts.append(table(iteration_rows(found), "mined prompts"))
    legend = "; ".join(f"{short}: {meaning}" for short, meaning in MEASURES.values())
    parts.append(f"Means over n prompts with 95 % bootstrap intervals. {legend}.")
    best = found["best_iteration"]
    if best is not None:
        parts.append(
            f"* best iteration, chosen on dev: {best} (checkpoint {store.run(run_id).checkpoint(best)})"
        )
    show(found, as_json, "\n\n".join(parts))


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement.")],
    json_: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Most rows printed.")] = 1000,
    at: Annotated[
        str, typer.Option("--at", help="A home or a copy of segments to read in place, not the database.")
    ] = "",
) -> None:
    """A read-only query on the store; no files, no extensions, no changes."""
    from lpd_core.store.console import read_only_query

    rows = read_only_query(Store(), query, limit, at)
    show(rows, json_, table(rows) if rows else "no rows")


def doctor(json_: Json = False) -> None:
    """What this installation is: versions, machine, home, and what is wrong with it."""
    import psutil

    from lpd_core.jobs import LIBRARIES, _version

    store = Store()
    versions = {name: _version(name) for name in (*LIBRARIES, "streamlit", "bertopic", "umap-learn", "vllm")}
    home = store.home
    problems = [f"{name} is not installed" for name in LIBRARIES if versions[name] is None]
    if not _writable(home):
        problems.append(f"{home} cannot be written to: point $LPD_HOME at a folder you may write to")
    value = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "home": str(home),
        "disk_free_gb": round(shutil.disk_usage(home if home.exists() else "/").free / 1e9, 1),
        "versions": versions,
        "problems": problems,
    }
    rows = [{"what": k, "value": v} for k, v in value.items() if k not in ("versions", "problems")]
    rows += [{"what": name, "value": version or "not installed"} for name, version in versions.items()]
    show(value, json_, table(rows) + ("\n" + "\n".join(problems) if problems else "\nnothing is wrong"))
    if problems:
        raise UserError("; ".join(problems))


def _writable(home) -> bool:
    while not home.exists():
        home = home.parent
    return os.access(home, os.W_OK)
