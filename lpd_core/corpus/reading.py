"""Files into rows: finds out what a file is and reads JSON lines and JSON lists, one bounded row at a time.

A damaged row comes out as a `RawRow` with an error; only a file that is no data file at all raises. Knows
nothing of the fields of a row.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lpd_core.corpus.rows import Place, RawRow, RowError, describe, printable
from lpd_core.errors import DataError

MAX_ROW_BYTES = 2 * 2**20
BOM = b"\xef\xbb\xbf"
SKIP_BYTES = 2**20
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}
LINE_HINT = "; every line must be one JSON object, or the whole file one JSON list, named .json"
PAIRS_MARK = re.compile(rb'"(?:annotators|comparisons)"\s*:')

# A whole string or one structural sign; possessive, so that a long string can neither backtrack nor overflow.
TOKEN = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"|["\[\]{},]')


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line: number from 1, byte offset, true size, and its bytes (cut if longer than allowed)."""

    number: int
    offset: int
    size: int
    data: bytes


def file_kind(path: Path) -> str:
    """What the file is, by content first, then by name: parquet, csv, list (one JSON list), pairs (one object of
    annotated pairs) or lines.

    Raises `DataError` for a path that is no readable, non-empty file, and for packed or UTF-16 files."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        if not regular:
            hint = "is a folder; give a file in it" if path.is_dir() else "is not a regular file"
            raise DataError(f"{shown(path)} {hint}")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError as cause:
        raise DataError(f"{shown(path)} does not exist; give a JSONL, JSON, CSV or Parquet file") from cause
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or str(cause)
        message = f"{shown(path)} cannot be read: {reason}; check the path and its permissions"
        raise DataError(message) from cause
    return _kind_of_content(path, head)


def shown(path: Path) -> str:
    """The path for a one-line message."""
    return printable(str(path), limit=4096)


def _kind_of_content(path: Path, head: bytes) -> str:
    if not head:
        raise DataError(f"{shown(path)} is empty")
    for magic, packer in PACKED.items():
        if head.startswith(magic):
            raise DataError(f"{shown(path)} is packed with {packer}; unpack it first")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{shown(path)} is UTF-16; save it as UTF-8")
    if head.startswith(b"PAR1"):
        return "parquet"
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        raise DataError(f"{shown(path)} ends in .parquet but is no Parquet file; rename or rebuild it")
    if suffix == ".csv":
        return "csv"
    start = head.removeprefix(BOM).lstrip()
    if suffix in (".jsonl", ".ndjson"):
        return "lines"
    if start.startswith(b"{") and PAIRS_MARK.search(start):
        return "pairs"
    return "list" if start.startswith(b"[") else "lines"


def bounded_lines(file: BinaryIO, limit: int) -> Iterator[Line]:
    """The lines of a file, holding no more than `limit` bytes of any; a BOM at the start is dropped."""
    offset, number = 0, 0
    while data := file.readline(limit + 1):
        number += 1
        size, part = len(data), data
        while size > limit and part and not part.endswith(b"\n"):
            part = file.readline(SKIP_BYTES)
            size += len(part)
        kept = data.removeprefix(BOM) if offset == 0 else data
        yield Line(number, offset + len(data) - len(kept), size, kept)
        offset += size


def check_size(size: int, limit: int) -> None:
    """Raises `RowError` for a row of more than `limit` bytes (its line end not counted)."""
    if size > limit + 1:
        reason = f"{size} bytes, more than the limit of {limit}; shorten it or raise --max-row-bytes"
        raise RowError("too_long", reason)


def json_lines(path: Path, limit: int) -> Iterator[RawRow]:
    """The rows of a file with one JSON value a line; blank lines are passed over."""
    with path.open("rb") as file:
        for line in bounded_lines(file, limit):
            if not line.data.strip():
                continue
            place = Place(line.number, f"line{line.number}", f"line {line.number}")
            try:
                check_size(line.size, limit)
                yield RawRow(place, parse_object(line.data.rstrip(b"\r\n"), line.number, line.offset))
            except RowError as error:
                hint = LINE_HINT if error.kind == "not_json" and line.number == 1 else ""
                yield RawRow(place, error=RowError(error.kind, error.reason + hint))


def json_list(path: Path, limit: int) -> Iterator[RawRow]:
    """The rows of a file that is one JSON list. A list that breaks off yields the rows before the break."""
    data = path.read_bytes()
    start = data.index(b"[") + 1
    line, row, depth = 1 + data.count(b"\n", 0, start), 0, 0
    for match in TOKEN.finditer(data, start - 1):
        token = match.group()
        if token == b'"':
            break
        depth += (token in (b"[", b"{")) - (token in (b"]", b"}"))
        if not (depth == 0 or (depth == 1 and token == b",")):
            continue
        end = match.start()
        blank = not data[start:end].strip()
        if not (blank and row == 0 and token == b"]"):
            row += 1
            yield _list_item(data, start, end, line, row, limit)
        line += data.count(b"\n", start, end)
        start = end + 1
        if depth == 0:
            break
    yield from _list_end(data, start, line, row + 1, closed=depth == 0)


def _list_item(data: bytes, start: int, end: int, line: int, row: int, limit: int) -> RawRow:
    item = data[start:end]
    body = item.lstrip()
    offset = end - len(body)
    line += data.count(b"\n", start, offset)
    place = Place(line, f"row{row}", f"row {row} (line {line})")
    try:
        check_size(len(body), limit)
        return RawRow(place, parse_object(body.rstrip(), line, offset))
    except RowError as error:
        return RawRow(place, error=error)


def _list_end(data: bytes, start: int, line: int, row: int, closed: bool) -> Iterator[RawRow]:
    place = Place(line, f"row{row}", f"row {row} (line {line})")
    if not closed:
        reason = "not JSON: the list breaks off here; nothing after it was read"
        yield RawRow(place, error=RowError("not_json", reason))
    elif data[start:].strip():
        reason = "not JSON: something follows the end of the list; it was not read"
        yield RawRow(place, error=RowError("not_json", reason))


def parse_object(data: bytes, line: int, offset: int) -> dict[str, Any]:
    """The JSON object in `data`, which begins at this line and byte of its file. Raises `RowError`."""
    if b"\0" in data:
        where = offset + data.index(b"\0")
        reason = f"a NUL byte at byte {where}; is the file UTF-16 or binary? save it as UTF-8"
        raise RowError("bad_text", reason)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        reason = f"invalid UTF-8 at byte {offset + cause.start}; save the file as UTF-8"
        raise RowError("not_utf8", reason) from cause
    value = parse_json(text, line)
    if not isinstance(value, dict):
        raise RowError("not_object", f"{describe(value)}, must be an object with fields")
    return value


def parse_json(text: str, line: int = 1) -> Any:
    """Strict JSON: refuses NaN, infinities and numbers no tool can hold. Raises `RowError`."""
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except json.JSONDecodeError as cause:
        where = f"line {line + cause.lineno - 1}, column {cause.colno}"
        raise RowError("not_json", f"not JSON: {cause.msg[0].lower()}{cause.msg[1:]} at {where}") from cause
    except RecursionError as cause:
        raise RowError("too_deep", "nested too deeply; flatten it") from cause
    except ValueError as cause:  # an integer of more digits than Python reads
        raise RowError("bad_number", "an integer with thousands of digits; write it as a string") from cause


def parse_cell(text: str, name: str) -> Any:
    """The JSON that a text field holds. Raises `RowError` naming the field."""
    try:
        return parse_json(text)
    except RowError as error:
        raise RowError(error.kind, f"{name!r} is a string: {error.reason}") from error


def _refuse_number(name: str) -> float:
    raise RowError("bad_number", f"{name} is no JSON number; write null or leave the field out")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse_number(printable(digits))
