"""Rows on their way in: where one stands in its file, what is wrong with it, and checks of single values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lpd_core.types import Message

MAX_META_DEPTH = 32
KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


class RowError(Exception):
    """One row cannot be used. `kind` is the reason it is counted under."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: `line` for an editor (the row number in Parquet), `key` as the id of a row without
    one, `text` for people."""

    line: int
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the file has it, or the error that stands in its place."""

    place: Place
    value: Any = None
    error: RowError | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that was not imported: its line, its place in words, why, and the reason it is counted under."""

    line: int
    reason: str
    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A row's prompt and gold, what the format knows beyond them, and its id if the format has its own."""

    messages: tuple[Message, ...]
    gold: str
    meta: dict[str, Any] = field(default_factory=dict)
    key: Any = None


def one_turn(*texts: str) -> tuple[Message, ...]:
    """One user turn: the texts, a blank line between."""
    return ({"role": "user", "content": "\n\n".join(texts)},)


def kept(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the fields that say something: neither null nor blank."""
    values = {name: row.get(name) for name in names}
    return {name: value for name, value in values.items() if value is not None and str(value).strip()}


def printable(text: str, limit: int = 60) -> str:
    """The text for a one-line message: cut at `limit`, escaped if it holds control or broken characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else ascii(cut)


def listed(names: Iterable[Any]) -> str:
    """At most twelve field names, for a message."""
    every = [printable(str(name)) for name in names]
    more = f" and {len(every) - 12} more" if len(every) > 12 else ""
    return (", ".join(every[:12]) or "nothing") + more


def describe(value: Any) -> str:
    """A value's kind in JSON's words."""
    if isinstance(value, list):
        return f"a list that begins with {KINDS.get(type(value[0]), 'a value')}" if value else "an empty list"
    return KINDS.get(type(value), f"a {type(value).__name__}")


def given(row: Mapping[str, Any], names: tuple[str, ...], fills: str | None = None) -> str:
    """The first of `names` that the row fills. Raises `RowError` saying what is missing or empty, and how to
    map another field where the field it `fills` can be mapped."""
    for name in names:
        if row.get(name) not in (None, ""):
            return name
    for name in names:
        if name in row:
            raise RowError("empty", f"{name!r} is {'null' if row[name] is None else 'empty'}")
    aliases = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
    mend = f"; name the right field with --map {fills}=FIELD" if fills else ""
    raise RowError("missing_field", f"no {names[0]!r}{aliases}; the row has: {listed(row)}{mend}")


def listing(row: Mapping[str, Any], name: str) -> list[Any]:
    """The row's non-empty list of that name. Raises `RowError`."""
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise RowError("wrong_type", f"{name!r} is {describe(value)}, must be a list that holds something")
    return value


def checked_text(value: Any, what: str) -> str:
    """The text itself. Raises `RowError` if it is no string, blank, or cannot be stored as UTF-8."""
    if not isinstance(value, str):
        raise RowError("wrong_type", f"{what} is {describe(value)}, must be a string")
    if not value.strip():
        raise RowError("empty", f"{what} is empty")
    _check_storable(value, what)
    return value


def _check_storable(text: str, what: str) -> None:
    if "\0" in text:
        where = text.index("\0")
        raise RowError("bad_text", f"{what} holds a NUL character at position {where}; remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as cause:
        broken = f"\\u{ord(text[cause.start]):04x} at position {cause.start}"
        raise RowError("bad_text", f"{what} holds half a surrogate pair ({broken}); remove it") from cause


def checked_meta(value: Any) -> dict[str, Any]:
    """The row's free-form data as it is. Raises `RowError` if it is no object or JSON cannot hold it."""
    if not isinstance(value, dict):
        raise RowError("wrong_type", f"'meta' is {describe(value)}, must be an object")
    _check_json(value, "meta", 0)
    return value


def _check_json(value: Any, what: str, depth: int) -> None:
    if depth > MAX_META_DEPTH:
        raise RowError("too_deep", f"'meta' is nested more than {MAX_META_DEPTH} deep; flatten it")
    match value:
        case None | bool():
            return
        case str():
            _check_storable(value, what)
        case int() if -(2**63) <= value < 2**63:
            return
        case float() if math.isfinite(value):
            return
        case list():
            for item in value:
                _check_json(item, what, depth + 1)
        case dict():
            for name, item in value.items():
                _check_json(name, f"a name in {what}", depth + 1)
                _check_json(item, f"{what}.{printable(str(name))}", depth + 1)
        case int() | float():
            reason = f"{what} is a number that JSON tools cannot hold; write it as a string"
            raise RowError("bad_number", reason)
        case _:
            raise RowError("wrong_type", f"{what} is {describe(value)}, which JSON cannot hold")
