"""Which reader turns a file of each kind (see `reading.file_kind`) into rows; the reader of annotated pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lpd_core.corpus.reading import check_size, json_lines, json_list, parse_object, shown
from lpd_core.corpus.rows import Place, RawRow, RowError
from lpd_core.corpus.tables import csv_rows, parquet_rows
from lpd_core.errors import DataError


def annotated_pairs(path: Path, limit: int) -> Iterator[RawRow]:
    """The comparisons of an annotated-pairs file (Feedback Forensics, version 2), each with what its default
    annotator prefers as `preferred`. Raises `DataError` for a file that is not whole."""
    try:
        whole = parse_object(path.read_bytes(), 1, 0)
    except RowError as error:
        raise DataError(f"{shown(path)} is no file of annotated pairs: {error.reason}") from error
    comparisons = whole.get("comparisons")
    if not isinstance(comparisons, list):
        raise DataError(f"{shown(path)} is no file of annotated pairs: it has no list 'comparisons'")
    metadata = whole.get("metadata")
    annotator = metadata.get("default_annotator") if isinstance(metadata, dict) else None
    for number, comparison in enumerate(comparisons, 1):
        yield _pair(comparison, annotator, number, limit)


def _pair(comparison: Any, annotator: Any, number: int, limit: int) -> RawRow:
    place = Place(number, f"row{number}", f"comparison {number}")
    try:
        if not isinstance(comparison, dict):
            raise RowError("not_object", "the comparison must be an object with fields")
        check_size(len(json.dumps(comparison)), limit)
    except RowError as error:
        return RawRow(place, error=error)
    annotations = comparison.get("annotations")
    chosen = (
        annotations.get(annotator) if isinstance(annotations, dict) and isinstance(annotator, str) else None
    )
    preferred = chosen.get("pref") if isinstance(chosen, dict) else None
    return RawRow(place, {**comparison, "preferred": preferred})


READERS = {
    "lines": json_lines,
    "list": json_list,
    "csv": csv_rows,
    "parquet": parquet_rows,
    "pairs": annotated_pairs,
}
