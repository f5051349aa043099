"""From a file to a corpus: every row checked, bad ones listed with their line, nothing written.

A row with the prompt and the gold of an earlier one is a duplicate: left out, listed and counted, but no
ground for refusing the file; nor are rows that the wanted filters leave out. The same prompt with another gold
is a second example. A prompt that stands in two splits is a bad row (what is held out must not be mined).
`dataset_id` names the content and how it was read: the first 12 hex digits of a SHA-256 over name, file
digest, format, mapping, split and filters. `prompt_id` is "<dataset_id>:<id>", with the row's own id or,
without one, its place ("line7" in lines and CSV, "row7" in lists and Parquet).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lpd_core.corpus.benchmarks import read_references, refuse_answers, refuse_benchmark
from lpd_core.corpus.chats import check_order
from lpd_core.corpus.contamination import BenchmarkPrompt
from lpd_core.corpus.filtering import DROPPED, Limits, find_drops
from lpd_core.corpus.formats import EVALUATION_FORMATS, FORMATS, Format, recognise
from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, parse_cell, shown
from lpd_core.corpus.rows import (
    Parsed,
    Place,
    Problem,
    RawRow,
    RowError,
    checked_meta,
    describe,
    listed,
    printable,
)
from lpd_core.corpus.splits import SHARES, SPLITS, content_key, split_of
from lpd_core.errors import DataError, suggest
from lpd_core.types import Example, Message

FIELDS = ("prompt", "messages", "gold", "id", "split", "meta")
"""The fields a mapping can fill from others."""
NAME = re.compile(r"[^/\\\x00-\x1f\ud800-\udfff]{1,80}")
MAX_ID_LENGTH = 200
DUPLICATE = "duplicate"
HARMLESS = (DUPLICATE, *DROPPED)
"""Reasons for which a row is left out without being bad."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a file holds: its valid examples in file order, the rows left out, and their number by reason."""

    dataset_id: str
    name: str
    format: str
    sha256: str
    license: str | None
    examples: tuple[Example, ...]
    skipped: tuple[Problem, ...]
    counts: Mapping[str, int]
    evaluation: bool = False
    limits: Mapping[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file's rows are understood and which are left out. `evaluation` lets benchmarks in and puts every
    row in the test split; `references` are MT-Bench's answers by question id."""

    format: str = "auto"
    split: str = "auto"
    mapping: Mapping[str, str] = field(default_factory=dict)
    evaluation: bool = False
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    benchmarks: Sequence[BenchmarkPrompt] = ()
    shares: Sequence[float] = SHARES

    def identity(self) -> list[Any]:
        """What of it decides the examples, as JSON values; only what is set beyond the first three."""
        prompts = [[p.benchmark, p.key, p.text] for p in self.benchmarks]
        more = [self.evaluation, dict(self.references), self.limits.described(), prompts]
        shares = [] if self.shares == SHARES else [list(self.shares)]
        return [
            self.format,
            sorted(self.mapping.items()),
            self.split,
            *([more] if any(more) else []),
            *shares,
        ]


def read_corpus(path: str | os.PathLike[str], *, skip_bad: bool = False, **how: Any) -> Corpus:
    """Read a file as `read_file` does. Raises `DataError` for any bad row too unless `skip_bad`, and if no row is
    left; its `problems` lists every bad row."""
    corpus = read_file(path, **how)
    _refuse(Path(path), corpus, skip_bad)
    return corpus


def read_file(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    name: str | None = None,
    split: str = "auto",
    shares: Sequence[float] = SHARES,
    mapping: Mapping[str, str] | None = None,
    max_row_bytes: int = MAX_ROW_BYTES,
    license: str | None = None,
    evaluation: bool = False,
    references: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    benchmarks: Sequence[BenchmarkPrompt] = (),
) -> Corpus:
    """Read a JSONL, JSON, CSV or Parquet file, bad rows listed. `format` names the row format ("auto": by the first
    row that fits one), `split` puts every row in one split ("auto": the row's own, else by a hash of the prompt,
    train, dev and test with these `shares`), and `mapping` fills a field from another ({"gold": "answer"}).
    `evaluation` reads benchmarks too, all as test; `references` is MT-Bench's file of reference answers. Rows
    outside the `limits`, and those that repeat a prompt of the `benchmarks`, are left out and counted.

    Raises `DataError` for an unusable file or setting."""
    path = Path(path)
    mapping = dict(mapping or {})
    _check_settings(format, split, mapping, max_row_bytes, evaluation)
    _check_shares(shares)
    kind = file_kind(path)
    name = _checked_name(path.stem if name is None else name)
    reading = Reading(
        format,
        "test" if evaluation else split,
        mapping,
        evaluation,
        read_references(references) if references else {},
        limits or Limits(),
        benchmarks,
        tuple(shares),
    )
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if format == "auto":
            reading = replace(reading, format=_detect(READERS[kind](path, max_row_bytes), reading))
        identity = json.dumps([name, sha256, *reading.identity()])
        dataset_id = hashlib.sha256(identity.encode()).hexdigest()[:12]
        collection = Collection(dataset_id, reading)
        for row in READERS[kind](path, max_row_bytes):
            collection.add(row)
    except OSError as cause:
        raise DataError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from cause
    collection.filter()
    problems = tuple(collection.problems)
    counts = Counter(problem.kind for problem in problems)
    examples = tuple(collection.examples)
    return Corpus(
        dataset_id=dataset_id,
        name=name,
        format=reading.format,
        sha256=sha256,
        license=license,
        examples=examples,
        skipped=problems,
        counts=counts,
        evaluation=evaluation,
        limits=reading.limits.described(),
    )


def _check_settings(
    format: str, split: str, mapping: Mapping[str, str], max_row_bytes: int, evaluation: bool
) -> None:
    if format in EVALUATION_FORMATS and not evaluation:
        raise DataError(f"format {format!r} is a benchmark's: for evaluation only; import it with --eval")
    formats = {**FORMATS, **(EVALUATION_FORMATS if evaluation else {})}
    if format != "auto" and format not in formats:
        raise DataError(f"unknown format {format!r}; {suggest(format, ('auto', *formats))}")
    if evaluation and split not in ("auto", "test"):
        raise DataError(f"evaluation data is always test, split {split!r} cannot be; drop --split or --eval")
    if split != "auto" and split not in SPLITS:
        raise DataError(f"unknown split {split!r}; {suggest(split, ('auto', *SPLITS))}")
    for target in mapping:
        if target not in FIELDS:
            raise DataError(f"--map cannot fill {target!r}; {suggest(target, FIELDS)}")
    if max_row_bytes < 1:
        raise DataError(f"--max-row-bytes is {max_row_bytes}, must be at least 1")


def _check_shares(shares: Sequence[float]) -> None:
    if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise DataError(f"the shares {list(shares)} must be three, of train, dev and test, that add up to 1")


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        rule = "a name has 1 to 80 characters, no slashes and no control characters"
        raise DataError(f"{printable(name)!r} cannot name a data set: {rule}; give one with --name")
    return name


def _detect(rows: Iterator[RawRow], reading: Reading) -> str:
    """The format of the first row that fits one; generic if none does: then each row says what it lacks."""
    for row in rows:
        try:
            fields = _fields(row, reading)
        except RowError:
            continue
        found = recognise(fields, reading.evaluation)
        if found:
            return found
    return "generic"


def _fields(row: RawRow, reading: Reading) -> dict[str, Any]:
    """The row's fields under the names the formats know."""
    if row.error:
        raise row.error
    mapping = reading.mapping
    (refuse_answers if reading.evaluation else refuse_benchmark)(row.value)
    for target, source in mapping.items():
        if source not in row.value:
            reason = f"no {printable(source)!r} (mapped to {target}); the row has: {listed(row.value)}"
            raise RowError("missing_field", f"{reason}; name the right field with --map {target}=FIELD")
    kept = {name: value for name, value in row.value.items() if name not in mapping.values()}
    reference = reading.references.get(str(row.value.get("question_id")))
    kept |= {"reference": reference} if reference else {}
    return kept | {target: row.value[source] for target, source in mapping.items()}


def _refuse(path: Path, corpus: Corpus, skip_bad: bool) -> None:
    """Raise the one line that says what is wrong, if anything that matters is."""
    good = len(corpus.examples)
    problems = [problem for problem in corpus.skipped if problem.kind not in HARMLESS]
    if not good and corpus.skipped and not problems:
        reasons = Counter(problem.kind for problem in corpus.skipped)
        told = ", ".join(f"{count} {kind}" for kind, count in reasons.items())
        raise DataError(f"{shown(path)}: every row is left out ({told}); loosen the filters")
    if not good and not problems:
        raise DataError(f"{shown(path)} holds no rows, only blank lines, a header or an empty list")
    if not problems or (skip_bad and good):
        return
    first, total = problems[0], good + len(corpus.skipped)
    if good:
        advice = "mend or remove such rows, or import the rest with --skip-bad"
        message = f"{len(problems)} of {total} rows cannot be used; {first}; {advice}"
    else:
        message = f"none of its {total} rows can be used; {first}" if total > 1 else str(first)
    raise DataError(f"{shown(path)}: {message}", map(str, problems))


@dataclass(slots=True)
class Collection:
    """The examples and problems gathered so far, and what is needed to notice repetitions."""

    dataset_id: str
    reading: Reading
    examples: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _ids: dict[str, Place] = field(default_factory=dict)  # in the order of the examples
    _prompts: dict[str, tuple[str, dict[str, Place]]] = field(default_factory=dict)  # split, place by gold

    def add(self, row: RawRow) -> None:
        """Take the row in as an example, or list it as a problem."""
        try:
            self.examples.append(self._example(row))
        except RowError as error:
            self.problems.append(Problem(row.place.line, error.reason, error.kind, row.place.text))

    def filter(self) -> None:
        """Leave out what the limits and benchmarks forbid, listed with the problems in file order."""
        drops = find_drops(self.examples, self.reading.limits, self.reading.benchmarks)
        places = dict(zip((e.prompt_id for e in self.examples), self._ids.values(), strict=True))
        for prompt_id, drop in drops.items():
            place = places[prompt_id]
            self.problems.append(Problem(place.line, drop.reason, drop.kind, place.text))
        self.problems.sort(key=lambda problem: problem.line)
        self.examples = [e for e in self.examples if e.prompt_id not in drops]

    def _example(self, row: RawRow) -> Example:
        fields = _fields(row, self.reading)
        parsed = self._format.parse(fields)
        check_order(parsed.messages)
        key = _row_id(fields, row.place, parsed.key)
        split = self._split(fields, parsed.messages)
        meta = _meta(fields, parsed)
        self._refuse_repetition(row.place, key, parsed, split)
        return Example(self.dataset_id, f"{self.dataset_id}:{key}", parsed.messages, parsed.gold, split, meta)

    @property
    def _format(self) -> Format:
        return FORMATS.get(self.reading.format) or EVALUATION_FORMATS[self.reading.format]

    def _split(self, fields: Mapping[str, Any], messages: tuple[Message, ...]) -> str:
        if self.reading.split != "auto":
            return self.reading.split
        own = fields.get("split") if self._format.own_split else None
        if own in (None, ""):
            return split_of(messages, self.reading.shares)
        if own not in SPLITS:
            given = printable(own) if isinstance(own, str) else describe(own)
            raise RowError("bad_split", f"'split' is {given}; {suggest(given, SPLITS)}")
        return own

    def _refuse_repetition(self, place: Place, key: str, parsed: Parsed, split: str) -> None:
        """Note the row. Raises `RowError` if its id or content repeats, or its prompt has another split."""
        if key in self._ids:
            reason = f"id {key!r} is taken by {self._ids[key].text}; ids must be unique"
            raise RowError("duplicate_id", reason)
        known_split, golds = self._prompts.setdefault(content_key(parsed.messages), (split, {}))
        if known_split != split:
            first = next(iter(golds.values())).text
            reason = f"the prompt of {first} ({known_split}) again, now in split {split}"
            raise RowError("split_leak", f"{reason}; a prompt belongs to one split")
        if parsed.gold in golds:
            earlier = golds[parsed.gold].text
            raise RowError(DUPLICATE, f"duplicate of {earlier} (same prompt, same gold)")
        self._ids[key] = golds[parsed.gold] = place


def _row_id(fields: Mapping[str, Any], place: Place, own: Any) -> str:
    """The row's id: the format's `own`, else a field id or _id, else its place."""
    if own is None:
        own = next((fields[name] for name in ("id", "_id") if fields.get(name) not in (None, "")), None)
    if own is None:
        return place.key
    if isinstance(own, bool) or not isinstance(own, str | int):
        raise RowError("wrong_type", f"'id' is {describe(own)}, must be a string or a whole number")
    key = str(own)
    if len(key) > MAX_ID_LENGTH or not key.isprintable():
        rule = f"at most {MAX_ID_LENGTH} characters, all of them printable"
        raise RowError("bad_text", f"'id' is {printable(key)!r}, must have {rule}")
    return key


def _meta(fields: Mapping[str, Any], parsed: Parsed) -> dict[str, Any]:
    own = fields.get("meta")
    if isinstance(own, str) and own:  # a table's cell
        own = parse_cell(own, "meta")
    return checked_meta(parsed.meta) | checked_meta({} if own in (None, "") else own)
