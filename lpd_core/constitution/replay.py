"""Doing the edits of one log again on another clustering, as far as they apply there.

The curator's decisions of one iteration are proposed for the next: entries are named by what continues them
(`lineage.successors` of the two clusterings), principles by their ids. Each edit becomes an edit of the new
log, and the report says which were applied as they are, which were adapted, and which could not be applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lpd_core.constitution.arguments import parse_arguments, plain
from lpd_core.constitution.counterparts import Counterparts
from lpd_core.constitution.edits import MAKING, Edit
from lpd_core.constitution.log import History, effective_edits, record
from lpd_core.constitution.lookup import find_active, some
from lpd_core.constitution.state import Constitution
from lpd_core.errors import EditRefused

OF_THE_WHOLE = ("prune", "reword", "medoid", "rename")
"""What a person decided about one entry as a whole, and not about those that the clustering joined with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one edit: `seq` is its number in the old log, `new_seq` in the new one (None: not
    applied)."""

    seq: int
    op: str
    status: Literal["applied", "adapted", "not_applied"]
    reason: str
    new_seq: int | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The history with the new edits, and the report."""

    history: History
    outcomes: tuple[Outcome, ...]


@dataclass
class _Translation:
    """From the old log's names to those of the constitution `here`.

    `by_text` finds pinned entries by their text; `losses` say what the edit at hand had to give up, `old_id` and
    `new_id` how the ids of what it makes begin."""

    entries: Counterparts
    by_text: Mapping[str, str]
    here: Constitution
    old_id: str = ""
    new_id: str = ""
    losses: list[str] = field(default_factory=list)


def replay(
    edits: Iterable[Edit],
    on: History,
    match: Mapping[str, str],
    at: str,
    prefix: str = "e",
    carried: Iterable[str] | None = None,
) -> Replayed:
    """Apply a log's edits, without those undone, to another history.

    `match` maps the entries of the clustering that the log began with to those of this one, heaviest first (as
    `lineage.successors` does); `prefix` is that of the log's constitution, and `carried` are the entries that
    came from there under their own ids: all that were pinned before this history's edits, unless given. Give
    none for the log of another run, whose equal ids mean nothing. An edit that cannot be applied is reported,
    never raised."""
    if carried is None:
        carried = [entry.entry_id for entry in on.base.active if entry.pinned]
    staying = {entry.entry_id for entry in on.current.active}.intersection(carried)
    by_text = {entry.text: entry.entry_id for entry in on.base.active if entry.medoid_principle_id is None}
    words = _Translation(Counterparts(match, staying), by_text, on.current)
    outcomes = []
    for edit in effective_edits(edits):
        words.here, words.losses = on.current, []
        words.old_id, words.new_id = f"{prefix}{edit.seq}", f"{on.current.prefix}{len(on.edits) + 1}"
        done, status, reason = on, "not_applied", ""
        try:
            done = _redo(edit, on, words, at)
            status, reason = "adapted" if words.losses else "applied", "; ".join(words.losses)
        except EditRefused as cause:
            reason = str(cause)
        new_seq = len(done.edits) if done is not on else None
        outcomes.append(Outcome(edit.seq, edit.op, status, reason, new_seq))
        on = done
    return Replayed(on, tuple(outcomes))


def _redo(edit: Edit, on: History, words: _Translation, at: str) -> History:
    """The history with the translated edit, or as it is when what the edit makes is here already."""
    old = plain(parse_arguments(edit.op, edit.args))
    if edit.op == "merge" and words.old_id in words.entries.carried:
        words.losses.append(f"entry {words.old_id} is what it would make")
        return on
    op, args = edit.op, _translated(edit.op, old, words)
    parts = _split(words, args) if op == "split" else {}
    twin = _twin(op, args, words)
    if twin:
        words.losses.append(f"entry {twin} is what it would make")
        op, args = _into_twin(op, args, twin, words, old)
    if op:
        reason = f"replay of edit {edit.seq}" + (f": {edit.reason}" if edit.reason else "")
        on = record(on, op, args, author=edit.author, at=at, reason=reason)
    if edit.op == "split":
        _learn_parts(words, old["id"], args, parts)
    elif edit.op in MAKING and words.old_id not in words.entries.carried:
        known = [each for each in old.get("ids", ()) if words.entries.get(each)]
        used_up = args["ids"] if op == "merge" else ()
        words.entries.made(words.old_id, twin or words.new_id, known, used_up)
    return on


def _learn_parts(words: _Translation, old: str, args: Mapping[str, Any], parts: Mapping[str, str]) -> None:
    """The parts of a split by their old names; what else the split entry continued is in the largest."""
    largest = max(range(len(parts)), key=lambda number: len(args["groups"][number]))
    for number, (old_part, new_part) in enumerate(parts.items()):
        if old_part not in words.entries.carried:
            words.entries.made(old_part, new_part, [old], [args["id"]] if number == largest else ())


def _translated(op: str, args: Mapping[str, Any], words: _Translation) -> dict[str, Any]:
    """The edit's arguments in the new log's names, save the groups of a split."""
    args = dict(args)
    for name in ("id", "to"):
        if name in args:
            args[name] = _entry(words, op, args[name])
    if op == "merge":
        _merge(words, args)
    if "principle_ids" in args:
        args["principle_ids"] = _principles(words, op, args)
        if not args["principle_ids"]:
            del args["principle_ids"]
    return args


def _twin(op: str, args: Mapping[str, Any], words: _Translation) -> str | None:
    """The entry that a merge or an addition would make again: the clustering itself joined the sources, or
    carried the pinned addition over."""
    if op == "merge" and len(args["ids"]) == 1:
        return args["ids"][0]
    if op == "add" and words.old_id in words.entries.carried:
        return words.old_id
    return words.by_text.get(args["text"]) if op == "add" else None


def _into_twin(
    op: str, args: Mapping[str, Any], twin: str, words: _Translation, old: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What is left of a merge or addition whose result is there: its wording or members; "" for nothing."""
    if op == "merge" and "text" in args and words.entries.lead(old["ids"], twin):
        return "reword", {"id": twin, "text": args["text"]}
    if op == "add" and "principle_ids" in args:
        return "move", {"principle_ids": args["principle_ids"], "to": twin}
    return "", {}


def _entry(words: _Translation, op: str, old: str) -> str:
    new = words.entries.get(old)
    if new is None:
        raise EditRefused(f"entry {old} has no counterpart here")
    others = words.entries.beside([old], new)
    if others and op in OF_THE_WHOLE and not words.entries.lead([old], new):
        raise EditRefused(
            f"entry {new} continues {some([old, *others])}, and {old} is not the largest of them; to {op} it would "
            "do so to the others too"
        )
    if others:
        words.losses.append(f"entry {new} continues {len(others) + 1} entries, {old} is one of them")
    return new


def _principles(words: _Translation, op: str, args: Mapping[str, Any]) -> list[str]:
    """Those principles that are here and where the operation can take them from."""
    here = words.here
    if op == "restore":
        fitting = [each for each in args["principle_ids"] if each in here.pruned]
    else:
        fitting = [
            each
            for each in args["principle_ids"]
            if each in here.unclustered or here.home.get(each, args.get("to")) != args.get("to")
        ]
    lost = [each for each in args["principle_ids"] if each not in fitting]
    if lost:
        words.losses.append(f"left out {some(lost)}: not here, or not where {op} would take them from")
    if not fitting and op != "add":
        raise EditRefused(words.losses.pop())
    return fitting


def _merge(words: _Translation, args: dict[str, Any]) -> None:
    pairs = {old: words.entries.get(old) for old in args["ids"]}
    known = [old for old, new in pairs.items() if new]
    lost = [old for old, new in pairs.items() if not new]
    new = list(dict.fromkeys(pairs[old] for old in known))
    if len(known) < 2:
        raise EditRefused(f"entries without a counterpart here: {some(lost)}; nothing is left to merge")
    if lost:
        words.losses.append(f"left out {some(lost)}: no counterpart here")
    for entry_id in new:
        find_active(words.here, entry_id)
    others = [each for entry_id in new for each in words.entries.beside(known, entry_id)]
    if others:
        words.losses.append(f"the clustering had joined {some(others)} with them")
    args["ids"] = new
    medoid = args.get("medoid_principle_id")
    if medoid and words.here.home.get(medoid) not in new:
        words.losses.append(f"medoid {medoid} is not among the members here")
        del args["medoid_principle_id"]


def _split(words: _Translation, args: dict[str, Any]) -> dict[str, str]:
    """Groups of the members that are here, the others joining the largest; returns the parts' old and new
    ids."""
    members = [member.principle_id for member in find_active(words.here, args["id"]).members]
    here = set(members)
    groups = {n: [each for each in group if each in here] for n, group in enumerate(args["groups"], start=1)}
    kept = {n: group for n, group in groups.items() if group}
    if len(kept) < 2:
        raise EditRefused(f"of the {len(groups)} groups only {len(kept)} have members in entry {args['id']}")
    if len(kept) < len(groups):
        words.losses.append(f"{len(groups) - len(kept)} groups have no members here")
    placed = {each for group in kept.values() for each in group}
    others = [each for each in members if each not in placed]
    if others:
        words.losses.append(f"{len(others)} members that the log does not know joined the largest group")
        max(kept.values(), key=len).extend(others)
    if args.get("medoids"):
        medoids = [args["medoids"][n - 1] for n in kept]
        args["medoids"] = [m if m in group else None for m, group in zip(medoids, kept.values(), strict=True)]
    args["groups"] = list(kept.values())
    return {f"{words.old_id}.{old}": f"{words.new_id}.{new}" for new, old in enumerate(kept, start=1)}
