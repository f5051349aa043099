"""Principles from files that others wrote: a text, a list, or the result of an Inverse Constitutional AI run.

Read by their ending: .jsonl (objects with `principle`), .json and .yaml (see `_from_values`), .md (the items
of its lists), any other as text, a principle a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from lpd_core.constitution.document import SCHEMA, from_document, load_json, load_yaml
from lpd_core.constitution.markdown import PRUNED, unescape
from lpd_core.constitution.state import Constitution
from lpd_core.errors import DataError

PROBLEMS_SHOWN = 3
MOST_BYTES = 64 * 2**20
"""Largest file of principles that is read."""
_NUMBERING = re.compile(r"^(?:\d+[.)]|[-*•])\s+")
_SHAPES = (
    "a list of principles, a mapping from id to principle, principle lists by version, votes by id, "
    f"numbered lines in one string, or a {SCHEMA} document"
)


@dataclass(frozen=True, slots=True)
class ImportedPrinciple:
    """A principle as the file states it, with the name and the remark it has there, and whether it is pinned
    there."""

    text: str
    label: str = ""
    note: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file holds, in its order, repeats included; `notices` say what a person should know about it."""

    principles: tuple[ImportedPrinciple, ...]
    notices: tuple[str, ...] = ()


def read_principles(path: Path) -> Imported:
    """The principles of a file. Raises `DataError` naming the file and the line (in a list: the item) at
    fault."""
    readers: dict[str, Callable[[str, Path], Imported]] = {
        ".jsonl": lambda text, _: _from_json_lines(text),
        ".json": lambda text, path: _from_values(load_json(text), path),
        ".yaml": lambda text, path: _from_values(load_yaml(text), path),
        ".yml": lambda text, path: _from_values(load_yaml(text), path),
        ".md": lambda text, _: _from_markdown(text),
    }
    try:
        found = readers.get(path.suffix.lower(), lambda text, _: _from_lines(text))(_text(path), path)
    except DataError as cause:
        raise DataError(f"{path}: {cause}", cause.problems) from cause
    if not found.principles:
        raise DataError(f"{path}: holds no principles")
    return found


def additions(imported: Imported) -> list[dict[str, Any]]:
    """Arguments of the `add` edits that make entries of imported principles, each text once; `pinned` is there
    only where it is true."""
    once = {principle.text: principle for principle in reversed(imported.principles)}
    return [
        {name: value for name, value in asdict(principle).items() if value}
        for principle in reversed(once.values())
    ]


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise DataError("not a file; name a file of principles")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as cause:
        raise DataError(f"cannot be read: {getattr(cause, 'strerror', None) or cause}") from cause
    if len(content) > MOST_BYTES:
        raise DataError(f"larger than {MOST_BYTES >> 20} MB; import the principles in parts")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise DataError(f"line {line}: not UTF-8; save the file as UTF-8") from cause


def _from_lines(text: str) -> Imported:
    lines = (_NUMBERING.sub("", line.strip()) for line in text.splitlines())
    return Imported(tuple(ImportedPrinciple(line) for line in lines if line))


def _from_markdown(text: str) -> Imported:
    """The items of the outermost lists, up to those under the heading Pruned; headings, paragraphs and details
    are for people."""
    lines = takewhile(lambda line: line.strip() != PRUNED, text.splitlines())
    items = (_NUMBERING.sub("", line).strip() for line in lines if _NUMBERING.match(line))
    return Imported(tuple(ImportedPrinciple(unescape(item)) for item in items if item))


def _from_json_lines(text: str) -> Imported:
    rows = [(f"line {n}", line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return _from_items((where, lambda line=line: _json_line(line)) for where, line in rows)


def _json_line(line: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError as cause:
        raise ValueError("nested too deeply; flatten it") from cause


def _from_values(values: Any, path: Path) -> Imported:
    if isinstance(values, str):
        return _from_lines(values)
    if isinstance(values, list):
        return _from_items((f"item {n}", lambda v=v: v) for n, v in enumerate(values, start=1))
    if not isinstance(values, Mapping) or not values:
        raise DataError(f"holds {type(values).__name__}; what can be imported is {_SHAPES}")
    if "schema" in values:
        return _from_constitution(from_document(values))
    if all(isinstance(value, Mapping) and "for" in value for value in values.values()):
        return _from_votes(values, path)
    if all(isinstance(value, list) for value in values.values()):
        return _from_versions(values)
    return _from_items(
        (f"key {key}", lambda k=key, v=v: {"principle": v, "name": str(k)}) for key, v in values.items()
    )


def _from_constitution(document: Constitution) -> Imported:
    """The active entries, with a notice of what an added principle does not have."""
    entries = document.active
    left = len(document.entries) - len(entries)
    notices = [
        f"the members of {sum(bool(entry.members) for entry in entries)} entries are not taken over, their "
        "texts, labels, notes and pins are",
        f"{left} entries that are not active (pruned, merged or split) are left out" if left else "",
        "which entries were accepted is not taken over" if any(e.accepted for e in entries) else "",
    ]
    principles = tuple(ImportedPrinciple(e.text, e.label, e.note, e.pinned) for e in entries)
    return Imported(principles, tuple(filter(None, notices)))


def _from_items(items: Iterable[tuple[str, Callable[[], Any]]]) -> Imported:
    """Strings, or objects with `principle` (or `text`) and perhaps `name` (or `label`) and `note`."""
    principles, problems = [], []
    for where, read in items:
        try:
            principles.append(_principle(read()))
        except ValueError as cause:
            problems.append(f"{where}: {cause}")
    if problems:
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise DataError("; ".join(problems[:PROBLEMS_SHOWN]) + more, problems)
    return Imported(tuple(principles))


def _principle(value: Any) -> ImportedPrinciple:
    if isinstance(value, Mapping):
        fields = [value.get("principle", value.get("text")), value.get("name", value.get("label", ""))]
        text, label, note = (*fields, value.get("note", ""))
    else:
        text, label, note = value, "", ""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no principle in {value!r:.60}; give a text, or an object with `principle`")
    return ImportedPrinciple(text.strip(), str(label or "").strip(), str(note or "").strip())


def _from_versions(values: Mapping[str, list[Any]]) -> Imported:
    """{version: [{info, principles_short_version: [...]}, ...]}, as Inverse Constitutional AI ships its
    own."""
    items = []
    for version, groups in values.items():
        for group in groups:
            if not isinstance(group, Mapping) or not isinstance(group.get("principles_short_version"), list):
                raise DataError(
                    f"key {version}: no list `principles_short_version`; what can be imported is {_SHAPES}"
                )
            note = f"{version}: {group.get('info', '')}".strip(": ")
            items += [
                (version, {"principle": text, "note": note}) for text in group["principles_short_version"]
            ]
    return _from_items((f"key {version}", lambda v=v: v) for version, v in items)


def _from_votes(values: Mapping[str, Mapping[str, Any]], path: Path) -> Imported:
    """Votes by cluster id. The principles stand in another file of the same run, looked for beside this
    one."""
    sibling = path.with_name(path.name.replace("041_votes", "030_distilled_principles"))
    texts = load_json(_text(sibling)) if sibling != path and sibling.is_file() else {}
    nameless = [key for key in values if not isinstance(texts.get(key), str)]
    principles = [
        ImportedPrinciple(
            text=f"principle {key}" if key in nameless else texts[key].strip(),
            label=str(key),
            note="votes: " + ", ".join(f"{number} {vote}" for vote, number in votes.items()),
        )
        for key, votes in values.items()
    ]
    if not nameless:
        return Imported(tuple(principles), (f"votes only; the texts come from {sibling.name} beside it",))
    notice = f"votes only, and no text for {len(nameless)} ids, which stand in its place"
    return Imported(tuple(principles), (f"{notice}; put {sibling.name} beside it",))
