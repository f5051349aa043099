"""Committed segments read where they lie, without a database: a home's own, or copies on a shared path or in a bucket.

A copy has Hive's layout, `run_id=RUN/iteration=T/TABLE/SEGMENT.parquet`, so that a query of one run or iteration reads no
other's rows. Buckets are reached through fsspec, by the scheme of their address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lpd_core.errors import UserError
from lpd_core.store.database import SETTINGS
from lpd_core.store.run_folder import RunFolder

LAID_OUT = "{location}/run_id=*/iteration=*/{table}/*.parquet"
OF_A_HOME = "{location}/runs/*/segments/[0-9]*-*/{table}.parquet"
ONCE = {"principles": "principle_id"}
"""Tables whose rows several segments hold, and what tells them apart."""


def publish_segments(folder: RunFolder, location: str) -> int:
    """Copy a run's committed segments to a location in Hive's layout, those that are not there yet; how many files.

    A file is named after its segment, so a copy that was cut short is begun again by copying again."""
    files, root = _filesystem(location)
    copied = 0
    for name in folder.segment_names():
        iteration = int(name.split("-", 1)[0])
        for path in sorted((folder.segments / name).glob("*.parquet")):
            target = (
                f"{root}/run_id={folder.run_id}/iteration={iteration}/{path.stem}/{path.parent.name}.parquet"
            )
            if files.exists(target) and files.size(target) == path.stat().st_size:
                continue
            files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            files.put_file(str(path), target)
            copied += 1
    return copied


@contextmanager
def reading(location: str) -> Iterator[Any]:
    """A connection with a view of each table that the segments at a location hold; nothing is copied into it.

    Raises `UserError` where there are no segments."""
    import duckdb

    files, root = _filesystem(location)
    is_home = files.isdir(f"{root}/runs")
    pattern = OF_A_HOME if is_home else LAID_OUT
    found = files.glob(pattern.format(location=root, table="*"))
    tables = sorted({Path(path).stem if is_home else path.rsplit("/", 2)[-2] for path in found})
    if not tables:
        raise UserError(
            f"there are no segments at {location}: name a home ($LPD_HOME) or where `export segments` copied them"
        )
    with duckdb.connect(config=SETTINGS) as connection:
        if "://" in location:
            connection.register_filesystem(files)
        prefix = location.rstrip("/") if "://" in location else root
        for table in tables:
            if table.isidentifier():
                _create_view(connection, table, pattern.format(location=prefix, table=table), not is_home)
        yield connection


def _create_view(connection: Any, table: str, files: str, is_laid_out: bool) -> None:
    once = f"distinct on ({ONCE[table]}) " if table in ONCE else ""
    path = files.replace("'", "''")  # a view holds no bound values
    connection.execute(
        f"create view {table} as select {once}* from read_parquet('{path}', union_by_name = true, "
        f"hive_partitioning = {str(is_laid_out).lower()})"
    )


def _filesystem(location: str) -> tuple[Any, str]:
    """fsspec's file system of a location, and the location's path in it. Raises `UserError` where its package is
    missing or it cannot be reached."""
    import fsspec

    if "://" not in location:
        return fsspec.filesystem("file"), str(Path(location).absolute())
    try:
        files, root = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError, OSError) as cause:
        raise UserError(f"cannot reach {location}: {cause}") from cause
    return files, root.rstrip("/")
