"""The constitution as a document: the schema `lpd-constitution/1`, as canonical JSON or as YAML, and back.

A document is one mapping: `schema`, `prefix` (how the ids of entries made by edits begin), `entries`,
`pruned_principles` and `unclustered`. An entry has its `id`, `label`, `text` (what replaces its members'
principles), `status` (active, pruned, merged, split), `members`, `medoid` (the member whose text it is, or
null), `pinned`, `accepted`, `note`, `into` (what took the members of a merged or split entry) and
`provenance` (origin, sources, number of the edit and, for an entry that an edit made, the label, text, pin and
note that it was `made` with). A member has its principle's `id` and `text`, its `count` in trajectories and its
`distance` to the mean of the cluster in which it was found. A pruned principle also names the `entry` it was
taken from and, if it was the medoid there, the `stand_in` that took its place. Reading back gives an equal
constitution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lpd_core.constitution.persistent import PersistentMap
from lpd_core.constitution.state import (
    Constitution,
    Entry,
    Made,
    Origin,
    Provenance,
    Pruned,
    Status,
    assemble,
)
from lpd_core.errors import DataError
from lpd_core.types import Member

SCHEMA = "lpd-constitution/1"
DEEPEST = 50
"""Levels of a YAML document; a constitution's deepest value has five."""
PROBLEMS_SHOWN = 5


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _MemberPart(_Part):
    id: str = Field(min_length=1)
    text: str
    count: int = Field(1, ge=0)
    distance: float = 0.0


class _MadePart(_Part):
    label: str
    text: str = Field(min_length=1)
    pinned: bool = False
    note: str = ""


class _ProvenancePart(_Part):
    origin: Origin = "clustered"
    sources: list[str] = []
    seq: int | None = None
    made: _MadePart | None = None


class _EntryPart(_Part):
    id: str = Field(min_length=1)
    label: str
    text: str = Field(min_length=1)
    status: Status = "active"
    medoid: str | None = None
    pinned: bool = False
    accepted: bool = False
    note: str = ""
    into: list[str] = []
    provenance: _ProvenancePart = _ProvenancePart()
    members: list[_MemberPart] = []


class _PrunedPart(_MemberPart):
    entry: str | None = None
    stand_in: str | None = None


class _Document(_Part):
    schema_: Literal["lpd-constitution/1"] = Field(alias="schema")
    prefix: str = "e"
    entries: list[_EntryPart]
    pruned_principles: list[_PrunedPart] = []
    unclustered: list[_MemberPart] = []


def entries_json(constitution: Constitution) -> str:
    """The canonical JSON of a constitution: equal constitutions give equal text, on any machine."""
    document = to_document(constitution)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(constitution: Constitution) -> str:
    """SHA-256 of the canonical JSON: the name of a version."""
    return hashlib.sha256(entries_json(constitution).encode()).hexdigest()


def from_json(text: str) -> Constitution:
    """The constitution that a JSON document holds. Raises `DataError` naming the line or the place."""
    return from_document(load_json(text))


def load_json(text: str) -> Any:
    """Plain values from JSON. Raises `DataError` naming the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as cause:
        raise DataError(f"line {cause.lineno}: not JSON: {cause.msg}") from cause
    except RecursionError as cause:
        raise DataError("nested too deeply; flatten it") from cause
    except ValueError as cause:
        raise DataError("a number with thousands of digits; write it as a text") from cause


def to_yaml(constitution: Constitution) -> str:
    """The document as YAML, for people who edit text files."""
    import yaml

    # The C versions write and read the same text in less than half the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(to_document(constitution), Dumper=dumper, allow_unicode=True, sort_keys=False, width=110)


def from_yaml(text: str) -> Constitution:
    """The constitution that a YAML document holds. Raises `DataError` naming the line or the place."""
    return from_document(load_yaml(text))


def load_yaml(text: str) -> Any:
    """Plain values from YAML. Raises `DataError` naming the line."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_bombs(yaml.parse(text, Loader=loader))
        return yaml.load(text, Loader=loader)  # noqa: S506 (both loaders are the safe ones)
    except (ValueError, RecursionError) as cause:  # dates that are none, numbers with thousands of digits
        raise DataError(f"not YAML: {cause}") from cause
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise DataError(f"{where}not YAML: {getattr(cause, 'problem', None) or cause}") from cause


def _refuse_bombs(events: Iterable[Any]) -> None:
    """A few lines of aliases can stand for gigabytes, and deep nesting can end the process."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1
            raise DataError(f"line {line}: an alias (*{event.anchor}); write out what it stands for")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise DataError(
                f"line {event.start_mark.line + 1}: nested more than {DEEPEST} levels deep; flatten it"
            )


def to_document(constitution: Constitution) -> dict[str, Any]:
    """The document as plain values, entries in natural order of their ids and members as the entry has
    them."""
    texts = constitution.texts
    return {
        "schema": SCHEMA,
        "prefix": constitution.prefix,
        "entries": [_entry_values(entry, texts) for entry in constitution.entries],
        "pruned_principles": [
            _pruned_values(pruned, texts) for _, pruned in sorted(constitution.pruned.items())
        ],
        "unclustered": [
            _member_values(member, texts) for _, member in sorted(constitution.unclustered.items())
        ],
    }


def _entry_values(entry: Entry, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": entry.entry_id,
        "label": entry.label,
        "text": entry.text,
        "status": entry.status,
        "medoid": entry.medoid_principle_id,
        "pinned": entry.pinned,
        "accepted": entry.accepted,
        "note": entry.note,
        "into": list(entry.into),
        "provenance": _provenance_values(entry.provenance),
        "members": [_member_values(member, texts) for member in entry.members],
    }


def _provenance_values(source: Provenance) -> dict[str, Any]:
    values = {"origin": source.origin, "sources": list(source.sources), "seq": source.seq}
    return {**values, "made": asdict(source.made)} if source.made else values


def _pruned_values(pruned: Pruned, texts: Mapping[str, str]) -> dict[str, Any]:
    values = {**_member_values(pruned.member, texts), "entry": pruned.entry_id}
    return {**values, "stand_in": pruned.stand_in} if pruned.stand_in else values


def _member_values(member: Member, texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": member.principle_id,
        "text": texts[member.principle_id],
        "count": member.count,
        "distance": float(member.distance),
    }


def from_document(values: Any) -> Constitution:
    """The constitution of a document given as plain values.

    Raises `DataError` naming the places that break the schema or contradict each other."""
    try:
        document = _Document.model_validate(values)
    except ValidationError as cause:
        problems = [_explain(error) for error in cause.errors()]
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise DataError(
            f"no {SCHEMA} document: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}", problems
        ) from cause
    pruned = [Pruned(_member(part), part.entry, part.stand_in) for part in document.pruned_principles]
    constitution = assemble(
        [_entry(part) for part in document.entries],
        pruned,
        [_member(part) for part in document.unclustered],
        _texts(document),
        document.prefix,
    )
    _check_references(constitution)
    return constitution


def _entry(part: _EntryPart) -> Entry:
    return Entry(
        entry_id=part.id,
        label=part.label,
        text=part.text,
        members=tuple(_member(each) for each in part.members),
        medoid_principle_id=part.medoid,
        status=part.status,
        pinned=part.pinned,
        accepted=part.accepted,
        note=part.note,
        into=tuple(part.into),
        provenance=_provenance(part.provenance),
    )


def _provenance(part: _ProvenancePart) -> Provenance:
    made = Made(**part.made.model_dump()) if part.made else None
    return Provenance(part.origin, tuple(part.sources), part.seq, made)


def _member(part: _MemberPart) -> Member:
    return Member(part.id, part.count, part.distance)


def _texts(document: _Document) -> dict[str, str]:
    texts: dict[str, str] = {}
    parts = [part for entry in document.entries for part in entry.members]
    for part in (*parts, *document.pruned_principles, *document.unclustered):
        if texts.setdefault(part.id, part.text) != part.text:
            raise DataError(f"principle {part.id} has two texts: {texts[part.id]!r} and {part.text!r}")
    return texts


def _check_references(constitution: Constitution) -> None:
    by_id, texts = constitution.by_id, constitution.texts
    for entry in by_id.values():
        where, medoid = f"entry {entry.entry_id}", entry.medoid_principle_id
        if bool(entry.into) == entry.holds_members:
            raise DataError(
                f"{where}: merged and split entries name what took their members `into`, no others do"
            )
        _check_known(where, (*entry.into, *entry.provenance.sources), by_id)
        _check_known(where, [member.principle_id for member in entry.members], texts)
        if medoid and texts[medoid] != entry.text:
            raise DataError(
                f"{where}: its text is not that of its medoid {medoid}; set `medoid` to null to reword it"
            )
    pruned = constitution.pruned.values()
    _check_known("pruned_principles", [each.entry_id for each in pruned if each.entry_id], by_id)
    _check_known("pruned_principles", [each.stand_in for each in pruned if each.stand_in], texts)


def _check_known(where: str, ids: Iterable[str], known: PersistentMap[Any] | Mapping[str, Any]) -> None:
    for each in ids:
        if each not in known:
            raise DataError(f"{where} refers to {each}, which the document does not hold")


def _explain(error: Mapping[str, Any]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    given = "" if isinstance(error["input"], dict | list) else f" (given {error['input']!r:.60})"
    return f"{path or 'document'}: {error['msg'][0].lower()}{error['msg'][1:]}{given}"
