"""constitution, the looking half: show, clusters, log, versions, diff, export, lineage, suggest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lpd_core import gate
from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show, table
from lpd_core.constitution import Constitution, diff, tally, to_markdown, to_yaml
from lpd_core.constitution.document import entries_json
from lpd_core.errors import UserError
from lpd_core.store import RunFolder, Store, constitutions
from lpd_core.store.run_folder import write_text

app = typer.Typer(no_args_is_help=True, help="Look at, edit, version and export a run's constitution.")
Iteration = Annotated[int | None, typer.Option(help="The iteration; by default the last that was clustered.")]


def open_run(run_id: str, iteration: int | None) -> tuple[Store, RunFolder, int]:
    """The run and the iteration meant. Raises `UserError` when nothing is clustered yet."""
    store = Store()
    folder = store.run(run_id)
    rows = store.database.query("select max(iteration) t from clusters where run_id = ?", [folder.run_id])
    last = rows[0]["t"]
    if iteration is None and last is None:
        raise UserError(f"run {folder.run_id} has no constitution yet; nothing has been clustered")
    return store, folder, last if iteration is None else iteration


def entry_rows(constitution: Constitution) -> list[dict[str, Any]]:
    """The entries for people: id, principle, support."""
    return [
        {
            "id": entry.entry_id,
            "principle": entry.text,
            "label": "" if entry.label == entry.text else entry.label,
            "status": entry.status + (", pinned" if entry.pinned else ""),
            "principles": len(entry.members),
            "trajectories": entry.trajectories,
            "note": entry.note,
        }
        for entry in constitution.entries
    ]


@app.command("show", epilog="Example: python -m lpd_core constitution show last --iteration 2")
def show_(
    run_id: Run,
    iteration: Iteration = None,
    version: Annotated[int | None, typer.Option(help="A version instead of the present state.")] = None,
    json_: Json = False,
) -> None:
    """The constitution with all edits so far, or one of its versions."""
    store, folder, t = open_run(run_id, iteration)
    if version is None:
        constitution = gate.current(store, folder.run_id, t)
    else:
        constitution = constitutions.version_entries(store, folder.run_id, t, version)
    counts = tally(constitution)
    told = f"iteration {t}: {len(constitution.active)} entries, {counts.active.trajectories} trajectories"
    show(json.loads(entries_json(constitution)), json_, table(entry_rows(constitution), told))


@app.command("clusters", epilog="Example: python -m lpd_core constitution clusters last")
def clusters(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """The clusters as they were found, with keywords, support, gain and acceptance."""
    store, folder, t = open_run(run_id, iteration)
    rows = constitutions.cluster_rows(store, folder.run_id, t)
    brief = [
        {
            "id": row["cluster_id"],
            "medoid": row["label"],
            "principles": row["size"],
            "trajectories": row["trajectories"],
            "prompts": row["prompts"],
            "mean gain": _number(row["mean_gain"]),
            "acceptance": _number(row["acceptance_rate"]),
            "keywords": ", ".join(row["keywords"] or ()),
        }
        for row in rows
    ]
    show(rows, json_, table(brief))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@app.command("log", epilog="Example: python -m lpd_core constitution log last")
def log(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """Every edit: who, when, what and why."""
    store, folder, t = open_run(run_id, iteration)
    rows = [asdict(each) for each in constitutions.edits(store, folder.run_id, t)]
    show(rows, json_, table([{**row, "args": json.dumps(row["args"], ensure_ascii=False)} for row in rows]))


@app.command("versions", epilog="Example: python -m lpd_core constitution versions last")
def versions(run_id: Run, json_: Json = False) -> None:
    """The versions of every iteration and the names that point at them."""
    store = Store()
    folder = store.run(run_id)
    rows = constitutions.versions(store, folder.run_id)
    names: dict[tuple[int, int], list[str]] = {}
    for row in constitutions.aliases(store, folder.run_id):
        names.setdefault((row["iteration"], row["version"]), []).append(row["alias"])
    rows = [{**row, "aliases": ", ".join(names.get((row["iteration"], row["version"]), []))} for row in rows]
    brief = [{k: row[k] for k in ("iteration", "version", "message", "author", "at", "approved", "n_entries",
                                  "training_rows", "aliases")} for row in rows]  # fmt: skip
    show(rows, json_, table(brief))


def _version(store: Store, folder: RunFolder, iteration: int, text: str) -> Constitution:
    """`found`, `now`, a version number, an alias, or iteration.version."""
    if text == "found":
        return gate.found(store, folder.run_id, iteration)
    if text == "now":
        return gate.current(store, folder.run_id, iteration)
    for row in constitutions.aliases(store, folder.run_id):
        if row["alias"] == text:
            return constitutions.version_entries(store, folder.run_id, row["iteration"], row["version"])
    t, dot, number = text.rpartition(".")
    if not number.isdigit() or (dot and not t.isdigit()):
        raise UserError(f"{text!r} is no version: write found, now, a number, iteration.number, or an alias")
    return constitutions.version_entries(store, folder.run_id, int(t) if dot else iteration, int(number))


@app.command("diff", epilog="Example: python -m lpd_core constitution diff last 1.1 2.1")
def diff_(
    run_id: Run,
    before: Annotated[
        str, typer.Argument(help="found, now, a version (2 or iteration.version) or an alias.")
    ] = "found",
    after: Annotated[str, typer.Argument(help="The same.")] = "now",
    iteration: Iteration = None,
    json_: Json = False,
) -> None:
    """What changed between two states: added, removed, reworded, merged, split, moved, training rows."""
    store, folder, t = open_run(run_id, iteration)
    old, new = _version(store, folder, t, before), _version(store, folder, t, after)
    rows = [gate.training_rows(store, folder.run_id, t, each) for each in (old, new)]
    found = diff(old, new, *rows)
    lines = [{**asdict(change), "others": ", ".join(change.others)} for change in found.changes]
    lines = [{name: value for name, value in line.items() if value not in (None, ())} for line in lines]
    told = f"training rows {found.rows_before} -> {found.rows_after}"
    show(asdict(found), json_, f"{table(lines)}\n{told}")


@app.command("export", epilog="Example: python -m lpd_core constitution export last constitution.md")
def export(
    run_id: Run,
    out: Annotated[Path, typer.Argument(help="The file: .md, .yaml or .json.")],
    iteration: Iteration = None,
    version: Annotated[str, typer.Option(help="found, now, a version or an alias.")] = "now",
    json_: Json = False,
) -> None:
    """Write the constitution as Markdown for people, or YAML or JSON for programs."""
    store, folder, t = open_run(run_id, iteration)
    constitution = _version(store, folder, t, version)
    writers = {
        ".md": lambda: to_markdown(constitution, f"Constitution of {folder.run_id}, iteration {t}"),
        ".yaml": lambda: to_yaml(constitution),
        ".yml": lambda: to_yaml(constitution),
        ".json": lambda: (
            json.dumps(json.loads(entries_json(constitution)), indent=1, ensure_ascii=False) + "\n"
        ),
    }
    if out.suffix not in writers:
        raise UserError(f"{out}: the ending {out.suffix!r} says no format; allowed: .md, .yaml, .json")
    write_text(out, writers[out.suffix]())
    show(
        {"file": str(out), "entries": len(constitution.active)},
        json_,
        f"{out}: {len(constitution.active)} entries",
    )


@app.command("lineage", epilog="Example: python -m lpd_core constitution lineage last --iteration 2")
def lineage(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """How the clusters continue those of the iteration before: kept, born, merged, split or died."""
    store, folder, t = open_run(run_id, iteration)
    found = gate.lineage(store, folder, t)
    show(
        asdict(found),
        json_,
        table([asdict(node) for node in found.nodes]) + "\n\n" + table([asdict(x) for x in found.links]),
    )


@app.command("suggest", epilog="Example: python -m lpd_core constitution suggest last --id 1.1")
def suggest_(
    run_id: Run,
    entry_id: Annotated[
        str | None, typer.Option("--id", help="For this entry; else the best pairs of all.")
    ] = None,
    iteration: Iteration = None,
    most: Annotated[int, typer.Option(help="How many.")] = 10,
    json_: Json = False,
) -> None:
    """Which entries are most alike, by meaning, by use on the same prompts and by words, with each merge's effect."""
    store, folder, t = open_run(run_id, iteration)
    rows = gate.suggest_merges(store, folder, t, entry_id, most)
    show(rows, json_, table([{k: _brief(v) for k, v in row.items()} for row in rows]))


def _brief(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value
