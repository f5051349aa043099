"""constitution: look at clusters, edit, preview, version, import and export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from lpd_core import gate
from lpd_core.cli.options import Author, Json, Run
from lpd_core.cli.output import show, table
from lpd_core.constitution import Constitution, Impact, diff, read_principles, tally, to_markdown, to_yaml
from lpd_core.constitution.document import entries_json
from lpd_core.errors import ConfigError, EditRefused, UserError
from lpd_core.store import RunFolder, Store, constitutions
from lpd_core.store.run_folder import write_text

app = typer.Typer(no_args_is_help=True, help="Look at, edit, version and export a run's constitution.")
Iteration = Annotated[int | None, typer.Option(help="The iteration; by default the last that was clustered.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Arguments = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(help="name=value; lists with commas, for instance ids=1.1,1.4 or groups as JSON."),
]
LISTS = {"ids", "principle_ids", "medoids"}


def _open(run_id: str, iteration: int | None) -> tuple[Store, RunFolder, int]:
    """The run and the iteration meant. Raises `UserError` when nothing is clustered yet."""
    store = Store()
    folder = store.run(run_id)
    rows = store.database.query("select max(iteration) t from clusters where run_id = ?", [folder.run_id])
    last = rows[0]["t"]
    if iteration is None and last is None:
        raise UserError(f"run {folder.run_id} has no constitution yet; nothing has been clustered")
    return store, folder, last if iteration is None else iteration


def _arguments(pairs: list[str] | None) -> dict[str, Any]:
    args: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"{pair!r} is no argument; write name=value, for instance id=1.3")
        if name == "groups":
            try:
                args[name] = json.loads(text)
            except json.JSONDecodeError as cause:
                raise ConfigError(f"groups={text!r} is not JSON: {cause.msg}") from cause
        else:
            args[name] = [part for part in text.split(",") if part] if name in LISTS else text
    return args


def _operation(
    store: Store, folder: RunFolder, iteration: int, op: str, pairs: list[str] | None
) -> dict[str, Any]:
    """The arguments of an operation; a split by k or threshold is turned into groups."""
    args = _arguments(pairs)
    if op == "split" and ("k" in args or "threshold" in args):
        try:
            k = int(args.pop("k")) if "k" in args else None
            threshold = float(args.pop("threshold")) if "threshold" in args else None
        except ValueError as cause:
            raise EditRefused(f"split: k must be a whole number and threshold a number: {cause}") from cause
        args["groups"] = gate.split_groups(store, folder.run_id, iteration, args.get("id", ""), k, threshold)
    if op == "reset" and "seq" in args:
        args["seq"] = int(args["seq"]) if args["seq"].isdigit() else args["seq"]
    return args


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


def _impact(found: Impact) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name != "changes"}


def _impact_text(found: Impact) -> str:
    lost = f"; {len(found.prompts_lost)} prompts lose their last trajectory" if found.prompts_lost else ""
    return (
        f"{found.relabelled} trajectories relabelled, {found.lost} lost, {found.regained} regained; training rows "
        f"{found.rows_before} -> {found.rows_after}, trained tokens {found.tokens_before} -> {found.tokens_after}{lost}"
    )


@app.command("show", epilog="Example: python -m lpd_core constitution show last --iteration 2")
def show_(
    run_id: Run,
    iteration: Iteration = None,
    version: Annotated[Optional[int], typer.Option(help="A version instead of the present state.")] = None,  # noqa: UP045
    json_: Json = False,
) -> None:
    """The constitution with all edits so far, or one of its versions."""
    store, folder, t = _open(run_id, iteration)
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
    store, folder, t = _open(run_id, iteration)
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


@app.command(
    "edit", epilog="Example: python -m lpd_core constitution edit last merge ids=1.1,1.4 --reason 'same idea'"
)
def edit(
    run_id: Run,
    op: Annotated[str, typer.Argument(help="rename, reword, medoid, merge, split, move, prune, restore, pin, unpin, "
                                           "add, note, accept_all.")],
    arguments: Arguments = None,
    iteration: Iteration = None,
    reason: Reason = "",
    author: Author = "someone",
    json_: Json = False,
) -> None:  # fmt: skip
    """One edit: it is checked, its effect is told, and it is appended to the log."""
    store, folder, t = _open(run_id, iteration)
    args = _operation(store, folder, t, op, arguments)
    effect = gate.preview(store, folder.run_id, t, op, args)
    done = gate.edit(store, folder.run_id, t, op, args, author, reason)
    show(
        {"seq": done.seq, "op": done.op, **_impact(effect)},
        json_,
        f"edit {done.seq} ({op}): {_impact_text(effect)}",
    )


@app.command("preview", epilog="Example: python -m lpd_core constitution preview last prune id=1.7")
def preview(
    run_id: Run,
    op: Annotated[
        str | None, typer.Argument(help="An operation; without one: what an approval would do.")
    ] = None,
    arguments: Arguments = None,
    iteration: Iteration = None,
    rescore: Annotated[
        int, typer.Option(help="Re-refine up to this many affected prompts and score them.")
    ] = 0,
    json_: Json = False,
) -> None:
    """What an edit, or an approval, would do to the training set; nothing is changed."""
    store, folder, t = _open(run_id, iteration)
    if op is None:
        effect = gate.approval_impact(store, folder.run_id, t)
    else:
        effect = gate.preview(store, folder.run_id, t, op, _operation(store, folder, t, op, arguments))
    value, text = _impact(effect), _impact_text(effect)
    if rescore:
        from lpd_core.rescore import rescore as score_again

        change = score_again(store, folder, t, effect, rescore)
        value["rescored"] = asdict(change)
        text += (
            f"\nre-refined {change.n} affected trajectories: mean f(y2, gold) {change.before:.3f} -> "
            f"{change.after:.3f}, change {change.change.mean:+.3f} [{change.change.low:+.3f}, {change.change.high:+.3f}]"
        )
    show(value, json_, text)


def _log_step(op: str, run_id: str, iteration: int | None, author: str, as_json: bool) -> None:
    store, folder, t = _open(run_id, iteration)
    effect = gate.preview(store, folder.run_id, t, op, {})
    done = gate.edit(store, folder.run_id, t, op, {}, author)
    show({"seq": done.seq, "op": op, **_impact(effect)}, as_json, f"{op}: {_impact_text(effect)}")


@app.command("undo", epilog="Example: python -m lpd_core constitution undo last")
def undo(run_id: Run, iteration: Iteration = None, author: Author = "someone", json_: Json = False) -> None:
    """Take back the last edit; any number of times."""
    _log_step("undo", run_id, iteration, author, json_)


@app.command("redo", epilog="Example: python -m lpd_core constitution redo last")
def redo(run_id: Run, iteration: Iteration = None, author: Author = "someone", json_: Json = False) -> None:
    """Do again what was undone."""
    _log_step("redo", run_id, iteration, author, json_)


@app.command("log", epilog="Example: python -m lpd_core constitution log last")
def log(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """Every edit: who, when, what and why."""
    store, folder, t = _open(run_id, iteration)
    rows = [asdict(each) for each in constitutions.edits(store, folder.run_id, t)]
    show(rows, json_, table([{**row, "args": json.dumps(row["args"], ensure_ascii=False)} for row in rows]))


@app.command("versions", epilog="Example: python -m lpd_core constitution versions last")
def versions(run_id: Run, json_: Json = False) -> None:
    """The versions of every iteration and the names that point at them."""
    store = Store()
    folder = store.run(run_id)
    rows = constitutions.versions(store, folder.run_id)
    names: Mapping[tuple[int, int], list[str]] = {}
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
    store, folder, t = _open(run_id, iteration)
    old, new = _version(store, folder, t, before), _version(store, folder, t, after)
    rows = [gate.training_rows(store, folder.run_id, t, each) for each in (old, new)]
    found = diff(old, new, *rows)
    lines = [{**asdict(change), "others": ", ".join(change.others)} for change in found.changes]
    lines = [{name: value for name, value in line.items() if value not in (None, ())} for line in lines]
    told = f"training rows {found.rows_before} -> {found.rows_after}"
    show(asdict(found), json_, f"{table(lines)}\n{told}")


@app.command(
    "save", epilog="Example: python -m lpd_core constitution save last --message 'before the big merge'"
)
def save(
    run_id: Run,
    message: Annotated[str, typer.Option(help="What this version is.")],
    alias: Annotated[Optional[str], typer.Option(help="A name that points at it.")] = None,  # noqa: UP045
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Keep the present state as an immutable version, without approving it."""
    store, folder, t = _open(run_id, iteration)
    number = gate.save(store, folder, t, author, message)
    if alias:
        constitutions.set_alias(store, folder.run_id, alias, t, number)
    show({"iteration": t, "version": number}, json_, f"version {t}.{number} saved")


@app.command("restore-version", epilog="Example: python -m lpd_core constitution restore-version last 1")
def restore_version(
    run_id: Run,
    version: Annotated[int, typer.Argument(help="The version to bring back.")],
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Bring back the state of a version, as a new version."""
    store, folder, t = _open(run_id, iteration)
    number = gate.restore_version(store, folder, t, version, author)
    show({"iteration": t, "version": number}, json_, f"version {t}.{version} is back as {t}.{number}")


@app.command("approve", epilog="Example: python -m lpd_core constitution approve last --message 'two merges'")
def approve(
    run_id: Run,
    message: Annotated[str, typer.Option(help="What this version is.")] = "approved",
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Approve without going on (`resume` does); `python -m lpd_core approve` does both."""
    from lpd_core.cli.runs import approve as approve_run

    approve_run(run_id, message, author, detach=False, hold=True, json_=json_)


@app.command("export", epilog="Example: python -m lpd_core constitution export last constitution.md")
def export(
    run_id: Run,
    out: Annotated[Path, typer.Argument(help="The file: .md, .yaml or .json.")],
    iteration: Iteration = None,
    version: Annotated[str, typer.Option(help="found, now, a version or an alias.")] = "now",
    json_: Json = False,
) -> None:
    """Write the constitution as Markdown for people, or YAML or JSON for programs."""
    store, folder, t = _open(run_id, iteration)
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


@app.command("import", epilog="Example: python -m lpd_core constitution import last principles.jsonl --pin")
def import_(
    run_id: Run,
    path: Annotated[
        Path, typer.Argument(help="Text lines, a JSON list, JSONL with `principle`, or an export.")
    ],
    pin: Annotated[bool, typer.Option("--pin", help="Pin them: they survive the next clustering.")] = False,
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Add principles from a file as entries of their own; ones that are there already are passed over."""
    store, folder, t = _open(run_id, iteration)
    imported = read_principles(path)
    there = {entry.text for entry in gate.current(store, folder.run_id, t).active}
    added = gate.add_principles(store, folder.run_id, t, imported, pin, author, skip=there)
    notices = [*imported.notices]
    if len(added) < len(imported.principles):
        notices.append(f"{len(imported.principles) - len(added)} were there already or stand twice")
    show({"added": added, "notices": notices}, json_, "\n".join([f"{len(added)} principles added", *notices]))


@app.command("replay", epilog="Example: python -m lpd_core constitution replay last --from-iteration 1")
def replay(
    run_id: Run,
    from_iteration: Annotated[int, typer.Option(help="Whose edits.")],
    from_run: Annotated[Optional[str], typer.Option(help="Of another run.")] = None,  # noqa: UP045
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Apply the edits made on another clustering to this one, and tell what could and could not be applied."""
    store, folder, t = _open(run_id, iteration)
    source = store.run(from_run).run_id if from_run else folder.run_id
    done = gate.replay_edits(store, folder, (source, from_iteration), t, author)
    rows = [asdict(outcome) for outcome in done.outcomes]
    show(rows, json_, table(rows))


@app.command("lineage", epilog="Example: python -m lpd_core constitution lineage last --iteration 2")
def lineage(run_id: Run, iteration: Iteration = None, json_: Json = False) -> None:
    """How the clusters continue those of the iteration before: kept, born, merged, split or died."""
    store, folder, t = _open(run_id, iteration)
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
    store, folder, t = _open(run_id, iteration)
    rows = gate.suggest_merges(store, folder, t, entry_id, most)
    show(rows, json_, table([{k: _brief(v) for k, v in row.items()} for row in rows]))


def _brief(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value
