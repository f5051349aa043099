"""Bulk rows into DuckDB through Arrow: hundreds of times faster than `executemany`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def insert(connection, table: str, rows: Sequence[Mapping[str, Any]], keep: bool = False) -> None:
    """Insert rows by column name. `keep` leaves a row that is there already as it is.

    `table` is always a name written in this package, never a user's text."""
    if not rows:
        return
    import pyarrow

    batch = pyarrow.Table.from_pylist([dict(row) for row in rows])
    connection.register("incoming_rows", batch)
    verb = "insert or ignore into" if keep else "insert into"
    connection.execute(f"{verb} {table} by name select * from incoming_rows")
    connection.unregister("incoming_rows")
