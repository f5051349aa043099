"""Edits of single entries: their names, texts, notes and marks. No principle changes its place here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lpd_core.constitution.arguments import (
    Annotate,
    ChooseMedoid,
    NoArguments,
    OneEntry,
    Prune,
    Rename,
    Restore,
    Reword,
)
from lpd_core.constitution.lookup import find_active, find_entry, find_members
from lpd_core.constitution.state import Constitution, Entry
from lpd_core.errors import EditRefused


def rename(constitution: Constitution, args: Rename) -> Constitution:
    """Give an entry another label."""
    return _changed(constitution, find_active(constitution, args.id), label=args.label)


def reword(constitution: Constitution, args: Reword) -> Constitution:
    """Give an entry a text of one's own."""
    entry = find_active(constitution, args.id)
    return _changed(constitution, entry, **text_fields(entry, args.text, None))


def medoid(constitution: Constitution, args: ChooseMedoid) -> Constitution:
    """Let another member represent an entry."""
    entry = find_active(constitution, args.id)
    find_members(entry, [args.principle_id])
    text = constitution.texts[args.principle_id]
    return _changed(constitution, entry, **text_fields(entry, text, args.principle_id))


def note(constitution: Constitution, args: Annotate) -> Constitution:
    """Leave a remark on an entry of any status."""
    return _changed(constitution, find_entry(constitution, args.id), note=args.note)


def pin(constitution: Constitution, args: OneEntry) -> Constitution:
    """Let an entry survive the next iteration's clustering."""
    return _changed(constitution, find_active(constitution, args.id), pinned=True)


def unpin(constitution: Constitution, args: OneEntry) -> Constitution:
    """Leave an entry to the next iteration's clustering."""
    return _changed(constitution, find_active(constitution, args.id), pinned=False)


def accept_all(constitution: Constitution, args: NoArguments) -> Constitution:
    """Accept every active entry as it is."""
    fresh = [e for e in constitution.by_id.values() if e.status == "active" and not e.accepted]
    if not fresh:
        raise EditRefused("every active entry is accepted already")
    accepted = {entry.entry_id: replace(entry, accepted=True) for entry in fresh}
    return replace(constitution, by_id=constitution.by_id.updated(accepted))


def prune_entry(constitution: Constitution, args: Prune) -> Constitution:
    """Take an entry out of the constitution, and its members' trajectories out of the training set."""
    entry = find_active(constitution, args.id)
    if entry.pinned:
        raise EditRefused(f"entry {entry.entry_id} is pinned; unpin it before you prune it")
    return _changed(constitution, entry, status="pruned")


def restore_entry(constitution: Constitution, args: Restore) -> Constitution:
    """Take a pruned entry back."""
    entry = find_entry(constitution, args.id)
    if entry.status != "pruned":
        raise EditRefused(f"entry {entry.entry_id} is {entry.status}; only pruned entries are restored")
    return _changed(constitution, entry, status="active")


def text_fields(entry: Entry, text: str, medoid_principle_id: str | None) -> dict[str, Any]:
    """The fields that change with an entry's text; a label that only repeats the text follows it, and what
    was accepted is to be looked at again."""
    label = text if entry.label == entry.text else entry.label
    return {"text": text, "medoid_principle_id": medoid_principle_id, "label": label, "accepted": False}


def _changed(constitution: Constitution, entry: Entry, **fields: Any) -> Constitution:
    told = {name: value for name, value in fields.items() if name != "accepted"}
    if all(getattr(entry, name) == value for name, value in told.items()):
        name, value = next(iter(told.items()))
        raise EditRefused(f"entry {entry.entry_id}: nothing would change; its {name} is {value!r} already")
    return replace(constitution, by_id=constitution.by_id.updated({entry.entry_id: replace(entry, **fields)}))
