"""Edits of a constitution: small operations with author, time and reason, each a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lpd_core.constitution import entry_edits, group_edits
from lpd_core.constitution.arguments import parse_arguments
from lpd_core.constitution.state import Constitution
from lpd_core.errors import EditRefused


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of the append-only log. `seq` counts from 1, `args` are plain JSON, `at` is an ISO 8601
    time."""

    seq: int
    op: str
    args: Mapping[str, Any]
    author: str
    reason: str
    at: str


CHANGING: Mapping[str, Callable[[Constitution, Any], Constitution]] = {
    "rename": entry_edits.rename,
    "reword": entry_edits.reword,
    "medoid": entry_edits.medoid,
    "move": group_edits.move,
    "prune": group_edits.prune,
    "restore": group_edits.restore,
    "pin": entry_edits.pin,
    "unpin": entry_edits.unpin,
    "note": entry_edits.note,
    "accept_all": entry_edits.accept_all,
}
MAKING: Mapping[str, Callable[[Constitution, Any, int], Constitution]] = {
    "merge": group_edits.merge,
    "split": group_edits.split,
    "add": group_edits.add,
}
"""Operations that make entries, whose ids come from the edit's number."""


def apply(constitution: Constitution, edit: Edit) -> Constitution:
    """The constitution after one edit. Raises `EditRefused` with the reason when it is impossible."""
    args = parse_arguments(edit.op, edit.args)
    if edit.op in MAKING:
        return MAKING[edit.op](constitution, args, edit.seq)
    if edit.op in CHANGING:
        return CHANGING[edit.op](constitution, args)
    raise EditRefused(f"{edit.op} is an operation on the log; it needs the edits before it")
