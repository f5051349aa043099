"""The SQL console: one read-only SELECT on the store, without files, extensions or settings."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lpd_core.errors import UserError
from lpd_core.store.database import tells_damage

if TYPE_CHECKING:
    from lpd_core.store import Store


SECONDS = 8.0
"""A query holds the shared lock; it must end before a writer's patience does."""
MEMORY = "512MB"
"""What a query may take; the server stands beside it."""


def read_only_query(store: Store, sql: str, limit: int = 1000) -> list[dict[str, Any]]:
    """At most `limit` rows of one SELECT. Raises `UserError` for anything else, with DuckDB's own words.

    The connection is read-only and external access (files, network, ATTACH, COPY, INSTALL) is switched off and
    locked: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview"""
    import duckdb

    with store.database.read() as connection:
        connection.execute(f"set memory_limit = '{MEMORY}'")
        connection.execute("set temp_directory = ''")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        watchdog = threading.Timer(SECONDS, connection.interrupt)
        watchdog.start()
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UserError("only one SELECT statement is allowed; write nothing after its semicolon")
            cursor = connection.execute(statements[0])
            names = _unique([column[0] for column in cursor.description])
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(limit)]
        except duckdb.InterruptException as cause:
            raise UserError(
                f"the query took longer than {SECONDS:.0f} s and was ended, since nobody can write meanwhile; "
                "narrow it, or export rows and query those"
            ) from cause
        except duckdb.Error as cause:
            if tells_damage(cause):
                raise
            raise UserError(f"the query failed: {str(cause).splitlines()[0]}") from cause
        finally:
            watchdog.cancel()


def _unique(names: list[str]) -> list[str]:
    """Column names with a number where one stands twice."""
    return [name if name not in names[:n] else f"{name}_{n + 1}" for n, name in enumerate(names)]
