"""The append-only log of edits and the states it leads to. Undo, redo and reset are lines of the log too.

Nothing is ever taken out of the log: an edit after an undo only makes the undone ones unreachable for redo,
and `reset` still finds the state after any line. States share what they have in common, so all are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lpd_core.constitution.arguments import parse_arguments, plain
from lpd_core.constitution.edits import Edit, apply
from lpd_core.constitution.state import Constitution, free_prefix
from lpd_core.errors import DataError, EditRefused


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Step:
    """A state and the step that an undo goes back to."""

    state: Any
    before: _Step | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class History:
    """A log with its states. `edits` is the whole log; `current` the constitution it leads to."""

    edits: tuple[Edit, ...]
    _position: _Step
    _undone: tuple[_Step, ...]
    _positions: tuple[_Step, ...]

    @property
    def base(self) -> Constitution:
        """The constitution before any edit."""
        return self._positions[0].state

    @property
    def current(self) -> Constitution:
        """The constitution after the whole log."""
        return self._position.state

    def after(self, seq: int) -> Constitution:
        """The constitution after the first `seq` lines of the log; 0 is as found."""
        return self._positions[seq].state

    @property
    def can_undo(self) -> bool:
        """Whether an undo would find an edit."""
        return self._position.before is not None

    @property
    def can_redo(self) -> bool:
        """Whether a redo would find an undone edit."""
        return bool(self._undone)


def start(base: Constitution, prefix: str = "e") -> History:
    """An empty log on a constitution, whose new entries will get ids that it does not have yet. They begin with
    the prefix, best one that names the iteration (`edit_prefix`); where an entry has such an id already, with
    "e" and the prefix."""
    return _start(replace(base, prefix=free_prefix(base.by_id, prefix)))


def record(
    history: History, op: str, args: Mapping[str, Any], *, author: str, at: str, reason: str = ""
) -> History:
    """The history after one more edit, undo, redo or reset. Its line of the log is `record(...).edits[-1]`.

    Raises `EditRefused` when it is impossible; the history given is unchanged either way."""
    if not author.strip():
        raise EditRefused("an edit needs an author; the log says who changed what")
    edit = Edit(
        len(history.edits) + 1, op, plain(parse_arguments(op, args)), author.strip(), reason.strip(), at
    )
    return _extend(history, edit, apply)


def replay_log(base: Constitution, edits: Iterable[Edit], prefix: str = "e") -> History:
    """The history that a stored log leads to, given the prefix that it was begun with (see `start`). Raises
    `DataError` naming the line that does not fit."""
    return go_on(start(base, prefix), edits)


def go_on(history: History, edits: Iterable[Edit]) -> History:
    """The history after some more lines of a stored log. Raises `DataError` naming the line that does not fit."""
    for edit in edits:
        expected = len(history.edits) + 1
        if edit.seq != expected:
            raise DataError(f"the log of edits is broken: number {edit.seq} stands where {expected} belongs")
        try:
            history = _extend(history, edit, apply)
        except EditRefused as cause:
            raise DataError(
                f"the log does not fit this clustering: edit {edit.seq} ({edit.op}): {cause}"
            ) from cause
    return history


def effective_edits(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits that led to the present state, in order: undone ones left out, undo, redo and reset
    resolved."""
    history = _start(())
    for edit in edits:
        history = _extend(history, edit, lambda done, edit: (edit, done))
    done, newest_first = history.current, []
    while done:
        edit, done = done
        newest_first.append(edit)
    return tuple(reversed(newest_first))


def _start(state: Any) -> History:
    step = _Step(state, None)
    return History((), step, (), (step,))


def _extend(history: History, edit: Edit, apply_to: Callable[[Any, Edit], Any]) -> History:
    position, undone = history._position, history._undone
    if edit.op == "undo":
        if position.before is None:
            raise EditRefused("there is nothing to undo")
        position, undone = position.before, (position, *undone)
    elif edit.op == "redo":
        if not undone:
            raise EditRefused("there is nothing to redo; an edit after an undo drops what was undone")
        position, undone = undone[0], undone[1:]
    else:
        position, undone = _Step(_next_state(history, edit, apply_to), position), ()
    return History((*history.edits, edit), position, undone, (*history._positions, position))


def _next_state(history: History, edit: Edit, apply_to: Callable[[Any, Edit], Any]) -> Any:
    if edit.op != "reset":
        return apply_to(history._position.state, edit)
    seq = parse_arguments("reset", edit.args).seq
    if seq >= len(history._positions):
        raise EditRefused(f"the log has no edit {seq}; it ends with {len(history.edits)}")
    return history._positions[seq].state
