"""Finding what an edit names, or refusing with the reason and what to do instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from lpd_core.constitution.state import Constitution, Entry
from lpd_core.errors import EditRefused
from lpd_core.types import Member

SHOWN = 3


def find_entry(constitution: Constitution, entry_id: str) -> Entry:
    """An entry of any status. Raises `EditRefused` for an unknown id."""
    entry = constitution.by_id.get(entry_id)
    if entry is None:
        live = [each.entry_id for each in constitution.by_id.values() if each.holds_members]
        close = difflib.get_close_matches(entry_id, sorted(live), n=SHOWN)
        hint = f"did you mean {' or '.join(close)}?" if close else "there are: " + some(sorted(live))
        raise EditRefused(f"there is no entry {entry_id!r}; {hint}")
    return entry


def find_active(constitution: Constitution, entry_id: str) -> Entry:
    """An active entry. Raises `EditRefused` for an unknown, pruned, merged or split one."""
    entry = find_entry(constitution, entry_id)
    if entry.status == "pruned":
        raise EditRefused(f"entry {entry_id} is pruned; restore it first")
    if entry.status != "active":
        raise EditRefused(
            f"entry {entry_id} was {entry.status} into {' and '.join(entry.into)}; edit that instead"
        )
    return entry


def find_members(entry: Entry, principle_ids: Iterable[str]) -> dict[str, Member]:
    """Members of an entry by principle id. Raises `EditRefused` when one is not its member."""
    members = {member.principle_id: member for member in entry.members}
    strangers = [each for each in principle_ids if each not in members]
    if strangers:
        allowed = some([member.principle_id for member in entry.members]) or "it has none"
        raise EditRefused(
            f"{some(strangers)}: not among the members of entry {entry.entry_id}; they are: {allowed}"
        )
    return {each: members[each] for each in principle_ids}


def find_holder(constitution: Constitution, principle_id: str) -> Entry | None:
    """The active entry that holds a principle, None for an unclustered one. Raises `EditRefused` when the
    principle is unknown or pruned."""
    if principle_id in constitution.unclustered:
        return None
    if principle_id in constitution.pruned:
        raise EditRefused(f"principle {principle_id} is pruned; restore it first")
    if principle_id not in constitution.home:
        raise EditRefused(f"there is no principle {principle_id!r} in this constitution")
    entry = constitution.by_id[constitution.home[principle_id]]
    if entry.status == "pruned":
        raise EditRefused(
            f"principle {principle_id} is in entry {entry.entry_id}, which is pruned; restore that first"
        )
    return entry


def some(ids: Sequence[str]) -> str:
    """The first few of some ids, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more
