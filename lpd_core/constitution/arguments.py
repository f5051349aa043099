"""The arguments of each operation, checked strictly: what the CLI, the pages and a stored log may say.

Knows nothing of the constitution an edit is made on; whether an id exists is for the operation to find out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from lpd_core.errors import EditRefused, suggest


def _writable(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise ValueError("is no valid Unicode: it holds half of a surrogate pair") from cause
    return text.strip()


def _distinct(ids: list[str]) -> list[str]:
    twice = [each for each, times in Counter(ids).items() if times > 1]
    if twice:
        raise ValueError(f"names {', '.join(twice[:3])} twice")
    return ids


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


Text = Annotated[StrictStr, AfterValidator(_writable)]
Note = Annotated[StrictStr, AfterValidator(lambda text: _writable(text) if text.strip() else "")]
Id = Annotated[StrictStr, Field(min_length=1)]
Ids = Annotated[list[Id], Field(min_length=1), AfterValidator(_distinct), BeforeValidator(_as_list)]


class Arguments(BaseModel):
    """Frozen; refuses unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class NoArguments(Arguments):
    """For accept_all, undo and redo."""


class OneEntry(Arguments):
    """For pin and unpin."""

    id: Id
    """The entry."""


class Rename(OneEntry):
    label: Text
    """The new short name."""


class Reword(OneEntry):
    text: Text
    """The new representative, in a person's own words."""


class Annotate(OneEntry):
    note: Note
    """A remark; an empty one removes what stood there."""


class ChooseMedoid(OneEntry):
    principle_id: Id
    """The member whose text is to represent the entry."""


class Merge(Arguments):
    ids: Annotated[Ids, Field(min_length=2)]
    """Two or more entries."""
    label: Text | None = None
    """Short name of the whole; that of the entry with most trajectories if absent."""
    text: Text | None = None
    """Representative of the whole, in a person's own words."""
    medoid_principle_id: Id | None = None
    """The member that represents the whole; without this and `text`, the largest entry's text does."""

    @model_validator(mode="after")
    def _one_text(self) -> Merge:
        if self.text and self.medoid_principle_id:
            raise ValueError("give text or medoid_principle_id, not both")
        return self


class Split(OneEntry):
    groups: Annotated[list[Ids], Field(min_length=2), BeforeValidator(_as_list)]
    """The members of each part, as principle ids: together all members, each once."""
    medoids: Annotated[list[Id | None], BeforeValidator(_as_list)] | None = None
    """The member that represents each part, in the order of the groups. Where absent or null, the entry's
    text stays with the part that holds its medoid (a person's own text with the part of most trajectories),
    and another part is represented by its most frequent member."""

    @model_validator(mode="after")
    def _one_medoid_a_group(self) -> Split:
        if self.medoids is not None and len(self.medoids) != len(self.groups):
            raise ValueError(f"{len(self.medoids)} medoids for {len(self.groups)} groups; give one a group")
        return self


class Move(Arguments):
    principle_ids: Ids
    """Members of other active entries, or unclustered principles."""
    to: Id
    """The entry they join."""


class Prune(Arguments):
    id: Id | None = None
    """An entry to prune as a whole."""
    principle_ids: Ids | None = None
    """Or single principles."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Prune:
        if (self.id is None) == (self.principle_ids is None):
            raise ValueError("give either id or principle_ids")
        return self


class Restore(Prune):
    to: Id | None = None
    """The entry that single principles join; where they came from if absent."""

    @model_validator(mode="after")
    def _whole_entries_stay(self) -> Restore:
        if self.id is not None and self.to is not None:
            raise ValueError("`to` goes with principle_ids; a pruned entry is restored where it was")
        return self


class Add(Arguments):
    text: Text
    """A principle in a person's own words."""
    label: Text | None = None
    """Its short name; the text if absent."""
    note: Note = ""
    """A remark."""
    pinned: bool = False
    """Whether it survives the next iteration's clustering, which would not find it by itself."""
    principle_ids: Ids | None = None
    """Principles that join it from other active entries or from the unclustered ones."""


class Reset(Arguments):
    seq: Annotated[StrictInt, Field(ge=0)]
    """The log entry whose outcome becomes the present state; 0 is the state before any edit."""


ARGUMENTS: Mapping[str, type[Arguments]] = {
    "rename": Rename,
    "reword": Reword,
    "medoid": ChooseMedoid,
    "merge": Merge,
    "split": Split,
    "move": Move,
    "prune": Prune,
    "restore": Restore,
    "pin": OneEntry,
    "unpin": OneEntry,
    "add": Add,
    "note": Annotate,
    "accept_all": NoArguments,
    "undo": NoArguments,
    "redo": NoArguments,
    "reset": Reset,
}
"""Every operation by name. undo, redo and reset act on the log (log.py), all others on the constitution."""


def parse_arguments(op: str, args: Mapping[str, Any]) -> Arguments:
    """Check an operation's arguments. Raises `EditRefused` naming each that is wrong and what is allowed."""
    if op not in ARGUMENTS:
        raise EditRefused(f"unknown operation {op!r}; {suggest(op, ARGUMENTS)}")
    try:
        return ARGUMENTS[op].model_validate(dict(args))
    except ValidationError as cause:
        problems = "; ".join(_explain(op, error) for error in cause.errors())
        raise EditRefused(f"{op}: {problems}") from cause


def plain(arguments: Arguments) -> dict[str, Any]:
    """The arguments as the log keeps them: plain JSON values, without those left out."""
    return arguments.model_dump(exclude_none=True, exclude_defaults=True)


def _explain(op: str, error: Mapping[str, Any]) -> str:
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        allowed = ARGUMENTS[op].model_fields
        return f"unknown argument {path!r}; {suggest(path, allowed) if allowed else 'it takes none'}"
    if error["type"] == "missing":
        return f"{path} is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = f" (given {error['input']!r:.80})" if path and not isinstance(error["input"], dict) else ""
    return f"{path} {message[0].lower()}{message[1:]}{given}" if path else message
