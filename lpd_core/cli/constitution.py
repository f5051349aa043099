"""constitution, the looking half: show, clusters, log, versions, diff, export, lineage, suggest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lpd_core import curation, gate
from lpd_core.cli.options import Json, Run
from lpd_core.cli.output import show, table
from lpd_core.constitution import Constitution, tally, to_markdown, to_yaml
from lpd_core.constitution.document import entries_json, to_document
from lpd_core.constitution.lookup import find_entry
from lpd_core.errors import UserError
from lpd_core.store import RunFolder, Store, constitutions
from lpd_core.store.run_folder import write_text

app = typer.Typer(no_args_is_help=True, help="Look at, edit, version and export a run's constitution.")
Iteration = Annotated[int | None, typer.Option(help="The iteration; by default the last that was clustered.")]


LARGEST = 2**31 - 1
"""The largest number that the tables hold."""
SHORT = 100


def open_run(run_id: str, iteration: int | None) -> tuple[Store, RunFolder, int]:
    """The run and the iteration meant. Raises `UserError` when that, or anything, is not clustered yet."""
    store = Store()
    folder = store.run(run_id)
    known = constitutions.clustered(store, folder.run_id)
    if not known:
        raise UserError(f"run {folder.run_id} has no constitution yet; nothing has been clustered")
    if iteration is not None and iteration not in known:
        raise gate.not_clustered(store, folder.run_id, iteration)
    return store, folder, known[-1] if iteration is None else iteration


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


@app.command("show", epilog="Example: python -m lpd_core constitution show last --iteration 2 --id 2.1")
def show_(
    run_id: Run,
    iteration: Iteration = None,
    version: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="A version instead of the present state.")
    ] = None,
    entry_id: Annotated[str | None, typer.Option("--id", help="One entry with its members.")] = None,
    json_: Json = False,
) -> None:
    """The constitution with all edits so far, one of its versions, or one entry with its members."""
    store, folder, t = open_run(run_id, iteration)
    if version is None:
        constitution = gate.current(store, folder.run_id, t)
    else:
        constitution = constitutions.version_entries(store, folder.run_id, t, version)
    if entry_id is not None:
        rows = curation.member_rows(store, folder.run_id, t, constitution, entry_id)
        entry = find_entry(constitution, entry_id)
        told = f"{entry_id} ({entry.status}): {entry.text}"
        show({"id": entry_id, "text": entry.text, "members": rows}, json_, table(_member_table(rows), told))
        return
    counts = tally(constitution)
    told = f"iteration {t}: {len(constitution.active)} entries, {counts.active.trajectories} trajectories"
    show(to_document(constitution), json_, table(entry_rows(constitution), told))


def _member_table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "principle id": row["principle_id"],
            "principle": row["text"],
            "count": row["count"],
            "distance": f"{row['distance']:.3f}",
            "prompts": "\n".join(_short(each["prompt"]) for each in row["examples"]),
            "gold": "\n".join(_short(each["gold"]) for each in row["examples"]),
        }
        for row in rows
    ]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"


@app.command("clusters", epilog="Example: python -m lpd_core constitution clusters last")
def clusters(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """The clusters as they were found, with keywords, support, gain and acceptance."""
    store, folder, t = open_run(run_id, iteration)
    rows = curation.cluster_table(store, folder.run_id, t)
    brief = [
        {
            "id": row["cluster_id"],
            "medoid": row["label"],
            "principles": row["size"],
            "trajectories": row["trajectories"],
            "prompts": row["prompts"],
            "mean gain": _number(row["mean_gain"]),
            "acceptance": _number(row["acceptance_rate"]),
            "data sets": ", ".join(f"{name} {share:.0%}" for name, share in row["datasets"].items()),
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


def _version(store: Store, folder: RunFolder, iteration: int, text: str) -> curation.State:
    """`found`, `now`, a version number, an alias, or iteration.version: the iteration and the state meant."""
    if text == "found":
        return iteration, gate.found(store, folder.run_id, iteration)
    if text == "now":
        return iteration, gate.current(store, folder.run_id, iteration)
    t, dot, number = text.rpartition(".")
    if number.isdecimal() and (t.isdecimal() or not dot):
        where = (int(t) if dot else iteration, int(number))
    else:
        names = {row["alias"]: row for row in constitutions.aliases(store, folder.run_id)}
        if text not in names:
            raise UserError(
                f"{text!r} is no version: write found, now, a number, iteration.number, or an alias "
                f"({', '.join(names) or 'there is none yet'})"
            )
        where = (names[text]["iteration"], names[text]["version"])
    if max(where) > LARGEST:
        raise UserError(f"there is no version {text}; `constitution versions` lists them")
    return where[0], constitutions.version_entries(store, folder.run_id, *where)


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
    found = curation.compare(store, folder, old, new)
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
    store, folder, last = open_run(run_id, iteration)
    t, constitution = _version(store, folder, last, version)
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
    """How the clusters continue those of the iteration before: kept, born, merged, split or died;
    and how many principles are new."""
    store, folder, t = open_run(run_id, iteration)
    found, new = curation.lineage(store, folder, t), constitutions.discovery(store, folder.run_id, t)
    rate = _number(new["discovery_rate"])
    told = f"discovery rate {rate}: {new['new_principles']} of {new['principles']} principles are new"
    tables = [table([asdict(each) for each in side]) for side in (found.nodes, found.links)]
    show({**asdict(found), "discovery": new}, json_, "\n\n".join([*tables, told]))


@app.command("suggest", epilog="Example: python -m lpd_core constitution suggest last --id 1.1")
def suggest_(
    run_id: Run,
    entry_id: Annotated[
        str | None, typer.Option("--id", help="For this entry; else the best pairs of all.")
    ] = None,
    iteration: Iteration = None,
    most: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    json_: Json = False,
) -> None:
    """Which entries are most alike, by meaning, by use on the same prompts and by words, with each merge's effect."""
    store, folder, t = open_run(run_id, iteration)
    from lpd_core.build import build_embedder

    def embed(texts: Sequence[str]) -> Any:
        return build_embedder(folder.config(), store.cache).embed(texts)

    rows = curation.suggest_merges(store, folder, t, entry_id, most, embed)
    show(rows, json_, table([{k: _brief(v) for k, v in row.items()} for row in rows]))


def _brief(value: Any) -> Any:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.3f}" if isinstance(value, float) else value
