"""The SQL console: one read-only SELECT on the store, without files, extensions or settings, in a process of its own.

DuckDB heeds an interruption and its own memory limit between the pieces of its work only: a single call of a function
can take gigabytes and minutes. The process has a limit on its address space, and the kernel ends it when its time is
over; either frees the lock that it holds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpd_core.config import PROJECT
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.store.database import DatabaseBusy, DatabaseDamaged, tells_damage

if TYPE_CHECKING:
    from lpd_core.store import Store


SECONDS = 8.0
"""A query holds the shared lock; it must end before a writer's patience does."""
SECONDS_IN_PLACE = 120.0
"""A query of segments in place, which locks nothing."""
GRACE_SECONDS = 1.0
"""How long after that the process is killed."""
MEMORY = "512MB"
"""What a query may take; the server stands beside it."""
ADDRESSES = 2 * 2**30
"""Bytes of address space of its process: DuckDB's libraries, what a query takes, and its rows as text."""
KINDS = {kind.__name__: kind for kind in (DatabaseDamaged, DatabaseBusy, Interrupted)}
"""The errors beside `UserError` that keep their kind on the way out of the process."""


def read_only_query(store: Store, sql: str, limit: int = 1000, at: str = "") -> list[dict[str, Any]]:
    """At most `limit` rows of one SELECT; values that JSON has no word for come as text. Raises `UserError` for
    anything else, with DuckDB's own words. `at` names a home or a copy of segments that is read in place, and nothing
    else, instead of the database.

    The connection is read-only and external access (files, network, ATTACH, COPY, INSTALL) is switched off and
    locked: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview"""
    asked = {
        "home": str(store.home),
        "sql": sql,
        "limit": limit,
        "at": at,
        "seconds": SECONDS_IN_PLACE if at else SECONDS,
        "patience": store.database.lock_seconds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "lpd_core.store.console"],
        input=json.dumps(asked).encode(),
        capture_output=True,
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode == -signal.SIGALRM:
        raise UserError(_too_long(asked["seconds"]))
    try:
        told = json.loads(done.stdout)
    except ValueError as cause:
        raise UserError("the query failed: its process ended without an answer") from cause
    if "error" in told:
        raise KINDS.get(told["kind"], UserError)(told["error"])
    return told["rows"]


def _too_long(seconds: float) -> str:
    return (
        f"the query took longer than {seconds:.0f} s and was ended, since nobody can write meanwhile; "
        "narrow it, or export rows and query those"
    )


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """The rows, or what went wrong by the name of its error."""
    from lpd_core.store import Store

    store = Store(Path(asked["home"]))
    store.database.lock_seconds = asked["patience"]
    try:
        with _connection(store, asked["at"]) as connection:
            return {"rows": _rows(connection, asked["sql"], asked["limit"], asked["seconds"])}
    except LpdError as cause:
        return {"error": str(cause), "kind": type(cause).__name__}
    except MemoryError:
        return {"error": f"the query failed: its rows take more than {MEMORY}", "kind": "UserError"}


@contextmanager
def _connection(store: Store, at: str) -> Iterator[Any]:
    """The database, or views of the segments at a location, beside which no file can be opened."""
    if not at:
        with store.database.read() as connection:
            yield connection
        return
    from lpd_core.store.in_place import reading

    with reading(at) as connection:
        folder = (at if "://" in at else str(Path(at).absolute())).replace("'", "''")
        connection.execute(f"set allowed_directories = ['{folder}']")
        yield connection


def _rows(connection: Any, sql: str, limit: int, seconds: float) -> list[dict[str, Any]]:
    import duckdb

    connection.execute(f"set memory_limit = '{MEMORY}'")
    connection.execute("set temp_directory = ''")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    watchdog = threading.Timer(seconds, connection.interrupt)
    watchdog.start()
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UserError("only one SELECT statement is allowed; write nothing after its semicolon")
        cursor = connection.execute(statements[0])
        names = _unique([column[0] for column in cursor.description])
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(limit)]
    except duckdb.InterruptException as cause:
        raise UserError(_too_long(seconds)) from cause
    except duckdb.Error as cause:
        if tells_damage(cause):
            raise
        raise UserError(f"the query failed: {str(cause).splitlines()[0]}") from cause
    finally:
        watchdog.cancel()


def _unique(names: list[str]) -> list[str]:
    """Column names with a number where one stands twice."""
    return [name if name not in names[:n] else f"{name}_{n + 1}" for n, name in enumerate(names)]


def main() -> None:
    """The process of one query: asked on its input, answered on its output."""
    with suppress(ValueError, OSError):  # not on every system
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    print(json.dumps(_answer(json.load(sys.stdin)), default=str))


if __name__ == "__main__":
    main()
