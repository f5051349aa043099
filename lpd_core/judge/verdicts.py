"""Verdicts and where they are kept: one SQLite file that several processes may write to.

The key is the judge, the digest of the whole prompt, the sampling and the number of the vote. What the judge said
is kept too, also where it held no verdict: asking it again would be another judgement.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lpd_core.errors import Interrupted, UserError

TABLE = """create table if not exists verdicts (
    key text primary key, judge text, prompt_digest text, sampling text, vote integer, value text, said text,
    attempts integer)"""
FILE = "verdicts.sqlite"
KEYS_AT_ONCE = 500
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said to one prompt: `value` is a rating or a choice as text, None where there was none after
    all attempts. `error` tells why the judge could not be asked; such a verdict is not kept."""

    judge: str
    prompt_digest: str
    value: str | None
    said: str
    attempts: int
    error: str | None = None


def verdict_key(judge: str, prompt_digest: str, sampling: Mapping[str, object], vote: int) -> str:
    """The SHA-256 that names a judgement."""
    whole = json.dumps([judge, prompt_digest, dict(sampling), vote], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


class VerdictCache:
    """The kept verdicts of all judges under a home's cache folder."""

    def __init__(self, folder: Path):
        self._path = folder / FILE

    def get(self, keys: Iterable[str]) -> dict[str, Verdict]:
        """The kept verdicts among these keys. Raises `Interrupted` when the file cannot be used, `UserError` when it
        is damaged."""
        wanted, found = list(keys), {}
        if not self._path.exists():
            return found
        with self._connection() as connection:
            for start in range(0, len(wanted), KEYS_AT_ONCE):
                some = wanted[start : start + KEYS_AT_ONCE]
                rows = connection.execute(
                    f"""select key, judge, prompt_digest, value, said, attempts from verdicts
                        where key in ({",".join("?" * len(some))})""",
                    some,
                )
                found |= {key: Verdict(*values) for key, *values in rows}
        return found

    def put(self, rows: Sequence[tuple[str, str, int, Verdict]]) -> None:
        """Keep (key, sampling, vote, verdict) rows; of two processes the first one's stays."""
        if not rows:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executemany(
                "insert or ignore into verdicts values (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, v.judge, v.prompt_digest, sampling, vote, v.value, _storable(v.said), v.attempts)
                    for key, sampling, vote, v in rows
                ],
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as connection, connection:
                connection.execute("pragma journal_mode = wal")
                connection.execute(TABLE)
                yield connection
        except sqlite3.Error as cause:
            if _tells_damage(cause):
                raise UserError(
                    f"the kept verdicts in {self._path} are damaged ({cause}); `python -m lpd_core repair` sets it "
                    "aside, and they are asked for again"
                ) from cause
            raise Interrupted(f"the kept verdicts in {self._path} cannot be used: {cause}") from cause


def problem_of(path: Path) -> str:
    """What is wrong with a file of verdicts, in SQLite's words; empty where it is whole, not there or in use."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (told,) = connection.execute("pragma quick_check(1)").fetchone()
            return "" if told == "ok" else told.splitlines()[-1]
    except sqlite3.Error as cause:
        return str(cause) if _tells_damage(cause) else ""


def _tells_damage(cause: sqlite3.Error) -> bool:
    return (getattr(cause, "sqlite_errorcode", 0) or 0) & 0xFF in DAMAGE  # above are the kinds of each


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
