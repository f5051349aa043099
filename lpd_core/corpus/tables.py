"""Tables into rows: CSV (with a header line) and Parquet. Knows nothing of the fields of a row."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lpd_core.corpus.reading import bounded_lines, check_size, shown
from lpd_core.corpus.rows import Place, RawRow, RowError, listed, printable
from lpd_core.errors import DataError

PARQUET_BATCH = 64


class RowLines:
    """Feeds `csv.reader` decoded lines and knows where the row in progress began and whether it is sound."""

    def __init__(self, file: BinaryIO, limit: int):
        self._lines = bounded_lines(file, limit)
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        """Forget the row before."""
        self.first = 0
        self._size = 0
        self.broken: RowError | None = None

    def __iter__(self) -> RowLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.first = self.first or line.number
        self._size += line.size
        check_size(self._size, self._limit)
        try:
            return line.data.decode("utf-8")
        except UnicodeDecodeError as cause:
            where = line.offset + cause.start
            self.broken = RowError("not_utf8", f"invalid UTF-8 at byte {where}; save the file as UTF-8")
            return line.data.decode("utf-8", "replace")  # keeps the quotes, so that the row still ends


def csv_rows(path: Path, limit: int) -> Iterator[RawRow]:
    """The rows of a comma-separated file by its header's names; a row's line is the one it begins on.

    Raises `DataError` for a header that cannot name columns."""
    previous = csv.field_size_limit(limit + 1)
    try:
        with path.open("rb") as file:
            lines = RowLines(file, limit)
            reader = csv.reader(lines, strict=True)
            header: list[str] | None = None
            while True:
                lines.begin()
                cells, error = _next_cells(reader, lines)
                if cells is None and error is None:
                    return
                if header is None and (cells or error):
                    header = _checked_header(path, cells, error)
                elif cells or error:
                    yield _csv_row(lines.first, header or [], cells, error)
    finally:
        csv.field_size_limit(previous)


def _next_cells(reader: Iterator[list[str]], lines: RowLines) -> tuple[list[str] | None, RowError | None]:
    """The next row's cells or its error; neither at the end of the file."""
    try:
        return next(reader), lines.broken
    except StopIteration:
        return None, None
    except csv.Error as cause:
        return None, RowError("not_csv", f"not CSV: {cause}; check the quotes")
    except RowError as error:
        return None, error


def _checked_header(path: Path, cells: list[str] | None, error: RowError | None) -> list[str]:
    if error or cells is None:
        raise DataError(f"{shown(path)}: the header line cannot be read: {error}") from error
    names = [name for name in cells if name]
    twice = {name for name, count in Counter(names).items() if count > 1}
    if twice or not names:
        wrong = f"names {listed(sorted(twice))} twice" if twice else "names no column"
        raise DataError(f"{shown(path)}: the header line {wrong}; every column needs a name of its own")
    return cells


def _csv_row(line: int, header: list[str], cells: list[str] | None, error: RowError | None) -> RawRow:
    place = Place(line, f"line{line}", f"line {line}")
    if error is None and cells is not None and len(cells) != len(header):
        reason = f"{len(cells)} cells, the header has {len(header)}; check commas and quotes"
        error = RowError("not_csv", reason)
    if error or cells is None:
        return RawRow(place, error=error)
    return RawRow(place, {name: cell for name, cell in zip(header, cells, strict=True) if name})


def parquet_rows(path: Path, limit: int) -> Iterator[RawRow]:
    """The rows of a Parquet file, numbered from 1. Raises `DataError` if the file is damaged."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        schema = pyarrow.parquet.read_schema(path)
        texts = [field.name for field in schema if field.type in (pyarrow.string(), pyarrow.large_string())]
        # As dictionaries, a text that is repeated a million times is held once, and too long a one is never copied.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                longest = _text_bytes(batch)
                for index in range(batch.num_rows):
                    number += 1
                    yield _parquet_row(batch, index, number, limit, longest[index])
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as cause:  # the last: in a column's name
        reason = printable(str(cause), limit=200)
        raise DataError(f"{shown(path)} is a damaged Parquet file: {reason}; rebuild it") from cause


def _text_bytes(batch) -> list[int]:
    """The bytes that each row's text columns have together."""
    import pyarrow
    from pyarrow import compute

    total = pyarrow.array([0] * batch.num_rows, pyarrow.int64())
    for column in batch.columns:
        if pyarrow.types.is_dictionary(column.type) and len(column.dictionary):
            sizes = compute.binary_length(column.dictionary).cast(pyarrow.int64()).take(column.indices)
            total = compute.add(total, compute.fill_null(sizes, 0))
    return total.to_pylist()


def _parquet_row(batch, index: int, number: int, limit: int, text_bytes: int) -> RawRow:
    place = Place(number, f"row{number}", f"row {number}")
    try:
        check_size(text_bytes, limit)
        value = batch.slice(index, 1).to_pylist()[0]
        check_size(len(json.dumps(value, default=str)), limit)
    except UnicodeDecodeError:
        return RawRow(place, error=RowError("not_utf8", "invalid UTF-8 in a text column; rebuild the file"))
    except RowError as error:
        return RawRow(place, error=error)
    return RawRow(place, value)
