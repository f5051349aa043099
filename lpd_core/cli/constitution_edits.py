"""constitution, the changing half: edit, preview, undo, redo, save, restore-version, approve, import, replay."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lpd_core import curation, focus, gate
from lpd_core.cli.constitution import LARGEST, Iteration, app, open_run
from lpd_core.cli.options import Author, Json, Run
from lpd_core.cli.output import show, table
from lpd_core.constitution import Impact, read_principles
from lpd_core.errors import ConfigError, EditRefused
from lpd_core.store import Store

Reason = Annotated[str, typer.Option(help="Why.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(help="name=value; lists with commas, for instance ids=1.1,1.4 or groups as JSON."),
]
LISTS = {"ids", "principle_ids", "medoids"}
TRUTH = {"true": True, "false": False}
DIGITS = 9
"""More digits than this no number of an edit has."""


def _arguments(pairs: list[str] | None) -> dict[str, Any]:
    args: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"{pair!r} is no argument; write name=value, for instance id=1.3")
        if name in args:
            raise ConfigError(f"{name} is given twice; give it once")
        args[name] = _value(name, text)
    return args


def _value(name: str, text: str) -> Any:
    if name == "groups":
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError) as cause:
            raise ConfigError(f"groups={text:.80} is not JSON: {cause}") from cause
    if name == "pinned":
        if text not in TRUTH:
            raise ConfigError(f"pinned={text} is neither true nor false")
        return TRUTH[text]
    if name == "seq" and text.isdecimal() and len(text) <= DIGITS:
        return int(text)
    return [part for part in text.split(",") if part] if name in LISTS else text


def _operation(store: Store, run_id: str, t: int, op: str, pairs: list[str] | None) -> dict[str, Any]:
    """The arguments of an operation; a split by k or threshold is turned into groups."""
    args = _arguments(pairs)
    ways = [name for name in ("k", "threshold", "groups") if name in args]
    if op != "split" or ways in ([], ["groups"]):
        return args
    if "id" not in args:
        raise EditRefused("split: id is missing")
    if len(ways) > 1:
        raise EditRefused(f"split: give only one of {' and '.join(ways)}")
    text, k, threshold = args.pop(ways[0]), None, None
    if ways == ["k"]:
        if not text.isdecimal() or len(text) > DIGITS:
            raise EditRefused(f"split: k must be a whole number of 2 or more (given {text!r:.80})")
        k = int(text)
    else:
        threshold = _finite(text)
    here = gate.current(store, run_id, t)
    parts = curation.split_groups(store, run_id, t, here, args["id"], k, threshold)
    return {**args, "groups": parts}


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EditRefused(f"split: threshold must be a number (given {text!r:.80})")
    return value


def _impact(found: Impact, review: gate.Review) -> dict[str, Any]:
    told = {name: value for name, value in asdict(found).items() if name != "changes"}
    return {**told, "replaces_texts": review.replaces}


def _impact_text(found: Impact, review: gate.Review) -> str:
    lost = f"; {len(found.prompts_lost)} prompts lose their last trajectory" if found.prompts_lost else ""
    kept = "" if review.replaces else "; label = none: texts are not replaced"
    return (
        f"{found.relabelled} trajectories relabelled, {found.lost} lost, {found.regained} regained; training rows "
        f"{found.rows_before} -> {found.rows_after}, trained tokens {found.tokens_before} -> {found.tokens_after}"
        f"{lost}{kept}"
    )


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
    store, folder, t = open_run(run_id, iteration)
    args = _operation(store, folder.run_id, t, op, arguments)
    _make(store, folder.run_id, t, op, args, author, reason, json_)


def _make(
    store: Store, run_id: str, t: int, op: str, args: dict[str, Any], author: str, reason: str, as_json: bool
) -> None:
    review, effect = focus.edit_with_impact(store, run_id, t, op, args, author, reason)
    seq = len(review.history.edits)
    value = {"seq": seq, "op": op, **_impact(effect, review)}
    show(value, as_json, f"edit {seq} ({op}): {_impact_text(effect, review)}")


@app.command("preview", epilog="Example: python -m lpd_core constitution preview last prune id=1.7")
def preview(
    run_id: Run,
    op: Annotated[
        str | None, typer.Argument(help="An operation; without one: what an approval would do.")
    ] = None,
    arguments: Arguments = None,
    iteration: Iteration = None,
    rescore: Annotated[
        int, typer.Option(min=0, help="Re-refine up to this many affected prompts and score them.")
    ] = 0,
    json_: Json = False,
) -> None:
    """What an edit, or an approval, would do to the training set; nothing is changed."""
    store, folder, t = open_run(run_id, iteration)
    if op is None:
        review = gate.open_review(store, folder.run_id, t)
        effect = gate.effect_of(review, review.history.base, review.history.current)
    else:
        args = _operation(store, folder.run_id, t, op, arguments)
        review = focus.review_for(store, folder.run_id, t, op, args)
        effect = gate.preview(review, op, args)[1]
    value, text = _impact(effect, review), _impact_text(effect, review)
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
    store, folder, t = open_run(run_id, iteration)
    _make(store, folder.run_id, t, op, {}, author, "", as_json)


@app.command("undo", epilog="Example: python -m lpd_core constitution undo last")
def undo(run_id: Run, iteration: Iteration = None, author: Author = "someone", json_: Json = False) -> None:
    """Take back the last edit; any number of times."""
    _log_step("undo", run_id, iteration, author, json_)


@app.command("redo", epilog="Example: python -m lpd_core constitution redo last")
def redo(run_id: Run, iteration: Iteration = None, author: Author = "someone", json_: Json = False) -> None:
    """Do again what was undone."""
    _log_step("redo", run_id, iteration, author, json_)


@app.command(
    "save", epilog="Example: python -m lpd_core constitution save last --message 'before the big merge'"
)
def save(
    run_id: Run,
    message: Annotated[str, typer.Option(help="What this version is.")],
    alias: Annotated[str | None, typer.Option(help="A name that points at it.")] = None,
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Keep the present state as an immutable version, without approving it."""
    store, folder, t = open_run(run_id, iteration)
    number = gate.save(store, folder, t, author, message, alias)
    show({"iteration": t, "version": number}, json_, f"version {t}.{number} saved")


@app.command("restore-version", epilog="Example: python -m lpd_core constitution restore-version last 1")
def restore_version(
    run_id: Run,
    version: Annotated[int, typer.Argument(min=1, max=LARGEST, help="The version to bring back.")],
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Bring back the state of a version, as a new version."""
    store, folder, t = open_run(run_id, iteration)
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
    store, folder, t = open_run(run_id, iteration)
    imported = read_principles(path)
    added = curation.add_principles(store, folder.run_id, t, imported, pin, author)
    notices = [*imported.notices]
    if len(added) < len(imported.principles):
        notices.append(f"{len(imported.principles) - len(added)} were there already or stand twice")
    show({"added": added, "notices": notices}, json_, "\n".join([f"{len(added)} principles added", *notices]))


@app.command("replay", epilog="Example: python -m lpd_core constitution replay last --from-iteration 1")
def replay(
    run_id: Run,
    from_iteration: Annotated[int, typer.Option(min=1, max=LARGEST, help="Whose edits.")],
    from_run: Annotated[str | None, typer.Option(help="Of another run.")] = None,
    iteration: Iteration = None,
    author: Author = "someone",
    json_: Json = False,
) -> None:
    """Apply the edits made on another clustering to this one, and tell what could and could not be applied."""
    store, folder, t = open_run(run_id, iteration)
    source = store.run(from_run).run_id if from_run else folder.run_id
    done = curation.replay_edits(store, folder, (source, from_iteration), t, author)
    rows = [asdict(outcome) for outcome in done.outcomes]
    show(rows, json_, table(rows))
