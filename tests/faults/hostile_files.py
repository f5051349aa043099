"""Files made to hurt whoever reads them, each by a function that writes it at a path."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path], object]


def made(place: Path, name: str, make: Make) -> Path:
    """The file's path, after writing it in a folder of its own."""
    folder = (
        place / "files" / str(len(list((place / "files").glob("*"))) if (place / "files").exists() else 0)
    )
    folder.mkdir(parents=True)
    path = folder / name.split(":")[0]
    make(path)
    return path


def text(content: str) -> Make:
    """Writes a text."""
    return lambda path: path.write_text(content, encoding="utf-8")


def data(content: bytes) -> Make:
    """Writes bytes."""
    return lambda path: path.write_bytes(content)


def link(target: str) -> Make:
    """Makes a symbolic link."""
    return lambda path: path.symlink_to(target)


def folder(path: Path) -> None:
    """Makes a folder in place of a file."""
    path.mkdir()


def pipe(path: Path) -> None:
    """Makes a named pipe that nobody writes into."""
    os.mkfifo(path)


def parquet(rows: int, size: int, name: str = "prompt") -> Make:
    """Writes rows of one repeated text: kilobytes on disk that stand for `rows` times `size` bytes."""

    def make(path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        column = pyarrow.DictionaryArray.from_arrays(
            pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array(["x" * size])
        )
        table = pyarrow.table({name: column, "gold": column})
        pyarrow.parquet.write_table(table, path, compression="zstd", row_group_size=rows)

    return make


def torn_parquet(path: Path) -> None:
    """Writes the first half of a Parquet file."""
    parquet(10, 1000)(path)
    path.write_bytes(path.read_bytes()[:-40])


def zipped(path: Path) -> None:
    """Writes a zip archive of 200 MB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", b"0" * (200 * 2**20))


def gzipped(path: Path) -> None:
    """Writes 50 MB of zeros with gzip."""
    path.write_bytes(gzip.compress(bytes(50 * 2**20), 1))


def archive(*members: tuple[str, str], kind: bytes = tarfile.SYMTYPE) -> Make:
    """Writes a tar file with the database a backup needs and other members: name, and where it links to; those that
    link are of a kind."""

    def make(path: Path) -> None:
        with tarfile.open(path, "w") as packed:
            for name, target in (("lpd.duckdb", ""), *members):
                entry = tarfile.TarInfo(name)
                if target:
                    entry.type, entry.linkname = kind, target
                entry.size = 0 if target else 3
                packed.addfile(entry, None if target else io.BytesIO(b"abc"))

    return make


LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
ROW = '{"prompt": "a", "gold": "b"}\n'

CONFIGURATIONS: dict[str, Make] = {
    "deep.toml: 100,000 nested lists": text("name = " + "[" * 100_000),
    "dotted.toml: a key of 20,000 parts": text("a." * 20_000 + "b = 1"),
    "integer.toml: an integer of 5,000 digits": text("seed = " + "9" * 5000),
    "unknown.toml: an unknown setting": text("[e_step]\nsamples = 4\n"),
    "types.toml: a table where a number belongs": text("[iterations]\nx = 1\n"),
    "infinite.toml: inf": text("[m_step]\nlearning_rate = inf\n"),
    "nan.toml: nan": text("[e_step]\nmargin = nan\n"),
    "twice.toml: a key that stands twice": text("seed = 1\nseed = 2\n"),
    "zero.toml: a link to /dev/zero": link("/dev/zero"),
    "pipe.toml: a pipe that says nothing": pipe,
    "folder.toml: a folder": folder,
    "latin.toml: Latin-1": data('name = "caf\xe9"'.encode("latin-1")),
    "large.toml: 5 MB of comments": text("# x\n" * 1_250_000),
    "traversal.toml: a name with ../": text('name = "../../x"\n'),
    "dates.toml: a date that is none": text("seed = 2026-13-45\n"),
}
CORPORA: dict[str, Make] = {
    "bomb.zip: 200 MB of zeros": zipped,
    "bomb.jsonl.gz: 50 MB of zeros": gzipped,
    "bomb.parquet: 500 rows of 20 MB each from one repeated text": parquet(500, 10 * 2**20),
    "torn.parquet: a torn footer": torn_parquet,
    "fields.parquet: no known column": parquet(3, 10, "x"),
    "line.jsonl: one line of 100 MB": lambda path: path.write_bytes(b'{"prompt": "' + b"x" * (100 * 2**20)),
    "deep.jsonl: JSON 100,000 levels deep": text('{"prompt": ' + "[" * 100_000 + "\n"),
    "digits.jsonl: a number of 5,000 digits": text('{"prompt": "a", "gold": "b", "n": ' + "9" * 5000 + "}\n"),
    "nan.jsonl: NaN": text('{"prompt": "a", "gold": NaN}\n'),
    "utf16.jsonl: UTF-16": data(ROW.encode("utf-16")),
    "latin.jsonl: Latin-1": data('{"prompt": "caf\xe9", "gold": "b"}\n'.encode("latin-1")),
    "nul.jsonl: a NUL byte": data(b'{"prompt": "a\0b", "gold": "b"}\n'),
    "escaped.jsonl: an escaped NUL": text('{"prompt": "a\\u0000b", "gold": "b"}\n'),
    "half.jsonl: half a surrogate pair": text('{"prompt": "a\\ud800b", "gold": "b"}\n'),
    "page.html: a web page": text("<!DOCTYPE html><script>alert(1)</script>"),
    "empty.jsonl: nothing": text(""),
    "quote.csv: a quote that never closes": text('prompt,gold\n"a,b\n' + "x,y\n" * 1000),
    "columns.csv: 200,000 columns": text(",".join(f"c{n}" for n in range(200_000)) + "\n"),
    "open.json: a list that never closes": text('[{"prompt": "a", "gold": "b"}'),
    "zero.jsonl: a link to /dev/zero": link("/dev/zero"),
    "version.jsonl: a link to /proc/version": link("/proc/version"),
    "loop.jsonl: a link to itself": link("loop.jsonl"),
    "pipe.jsonl: a pipe that says nothing": pipe,
    "folder.jsonl: a folder": folder,
}
PRINCIPLES: dict[str, Make] = {
    "laughs.yaml: aliases that stand for 16 million texts": text(LAUGHS),
    "object.yaml: a Python object": text("!!python/object/apply:os.system ['true']"),
    "deep.yaml: 100,000 nested lists": text("[" * 100_000),
    "dates.yaml: a date that is none": text("- 2026-13-45\n"),
    "deep.json: JSON 100,000 levels deep": text("[" * 100_000),
    "digits.json: a number of 5,000 digits": text("[" + "9" * 5000 + "]"),
    "deep.jsonl: JSON 100,000 levels deep": text('{"principle": ' + "[" * 100_000 + "\n"),
    "schema.json: a document of a later schema": text('{"schema": "lpd-constitution/99", "entries": []}'),
    "numbers.json: numbers, no texts": text("[1, 2, 3]"),
    "latin.txt: Latin-1": data("caf\xe9\n".encode("latin-1")),
    "large.txt: 65 MB": lambda path: path.write_bytes(b"x" * (65 * 2**20)),
    "zero.txt: a link to /dev/zero": link("/dev/zero"),
    "empty.md: nothing": text(""),
}
RESTORED: dict[str, Make] = {
    "outside.tar: a member ../../outside": archive(("../../outside", "")),
    "absolute.tar: a member /etc/outside is kept inside; a link to /etc": archive(
        ("runs", "/etc"), ("runs/x", "")
    ),
    "up.tar: a link to ../..": archive(("runs", "../.."), ("runs/x", "")),
    "hard.tar: a hard link": archive(("runs", "/etc"), kind=tarfile.LNKTYPE),
    "device.tar: a device": archive(("runs", "null"), kind=tarfile.CHRTYPE),
    "packed.tar.gz: 50 MB of zeros": gzipped,
    "text.tar: no archive": text("hello"),
    "other.tar: an archive without a database": lambda path: tarfile.open(path, "w").close(),
}
