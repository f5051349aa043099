"""A data file looked at before its import: its columns, first rows, bad rows, splits and lengths. Writes nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lpd_core.corpus.importing import Corpus, read_file
from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, shown
from lpd_core.corpus.rows import printable
from lpd_core.corpus.splits import SPLITS
from lpd_core.errors import DataError

LOOKED_AT = 50
"""Rows at the beginning of a file whose fields become columns."""
COLUMNS = 200
CELL = 400
"""Characters shown of a cell."""
COUNTED = 5000
"""Prompts whose lengths are counted."""
Count = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Head:
    """How a file begins: its kind, the names of its fields and its first rows as text, cut where they are long."""

    kind: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]


def read_head(path: str | os.PathLike[str], rows: int = 5, max_row_bytes: int = MAX_ROW_BYTES) -> Head:
    """The beginning of a JSONL, JSON, CSV or Parquet file. A damaged row is shown with its reason.

    Raises `DataError` for an unusable file."""
    path = Path(path)
    kind = file_kind(path)
    try:
        first = list(islice(READERS[kind](path, max_row_bytes), LOOKED_AT))
    except OSError as cause:
        raise DataError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from cause
    names = dict.fromkeys(name for row in first if row.error is None for name in row.value)
    shown_rows = tuple(
        {"line": str(row.place.line), "unusable": row.error.reason}
        if row.error
        else {"line": str(row.place.line), **{str(k): _cell(v) for k, v in row.value.items()}}
        for row in first[:rows]
    )
    return Head(kind, tuple(printable(str(name)) for name in islice(names, COLUMNS)), shown_rows)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are: a histogram over lengths that double from bin to bin, as (label, texts), and quantiles."""

    bins: tuple[tuple[str, int], ...]
    n: int
    median: int
    p95: int
    longest: int


def measure_lengths(counts: Sequence[int]) -> Lengths:
    """The distribution of lengths; empty of bins where there are no texts."""
    ordered = sorted(counts)
    if not ordered:
        return Lengths((), 0, 0, 0, 0)
    by_bits = Counter(length.bit_length() for length in ordered)
    bins = tuple((_label(bits), by_bits[bits]) for bits in range(min(by_bits), max(by_bits) + 1))
    last = len(ordered) - 1
    return Lengths(bins, len(ordered), ordered[last // 2], ordered[round(0.95 * last)], ordered[-1])


def _label(bits: int) -> str:
    low, high = (1 << bits) >> 1, (1 << bits) - 1
    return str(low) if low >= high else f"{low:,}–{high:,}"


def count_words(texts: Sequence[str]) -> list[int]:
    """Words of each text, as white space parts them."""
    return [len(text.split()) for text in texts]


def token_counter(model: Path) -> Count:
    """Counts tokens with a checkpoint's tokenizer.json, no model library loaded. Raises `DataError` without one."""
    from tokenizers import Tokenizer

    path = model / "tokenizer.json" if model.is_dir() else model
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as cause:  # tokenizers raises bare Exceptions
        raise DataError(f"{shown(path)} is no tokenizer: {printable(str(cause), 200)}") from cause
    tokenizer.no_truncation()
    return lambda texts: [
        len(each.ids) for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def inspect_file(
    path: str | os.PathLike[str], rows: int = 5, count: Count = count_words, **how: Any
) -> tuple[Head, Corpus, dict[str, Lengths]]:
    """A file's beginning, the corpus it would become with its bad rows (see `read_file` for `how`), and the lengths
    of its prompts and golds as `count` counts them, of at most COUNTED rows.

    Raises `DataError` for an unusable file or setting."""
    head = read_head(path, rows, how.get("max_row_bytes", MAX_ROW_BYTES))
    corpus = read_file(path, **how)
    step = max(1, -(-len(corpus.examples) // COUNTED))
    some = corpus.examples[::step]
    prompts = ["\n\n".join(message["content"] for message in e.messages) for e in some]
    lengths = {
        "prompt": measure_lengths(count(prompts)),
        "gold": measure_lengths(count([e.gold for e in some])),
    }
    return head, corpus, lengths


def split_counts(corpus: Corpus) -> dict[str, int]:
    """Rows by split."""
    counts = Counter(example.split for example in corpus.examples)
    return {split: counts[split] for split in SPLITS}
