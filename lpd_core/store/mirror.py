"""What only the database holds, mirrored beside it as Parquet, so that a lost database can be made anew.

Rows that stages commit stand in segments. The others are mirrored whenever they change: a data set and its prompts
under `datasets/<id>/`, a run's own rows (edits, versions, aliases, iterations, ...) under `runs/<id>/kept/`.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpd_core.config import RunConfig, parse_config
from lpd_core.errors import LpdError
from lpd_core.store.run_folder import replacing, rows_of, storage

if TYPE_CHECKING:
    from lpd_core.store import Store

RUN_TABLES = (
    "runs",
    "assignments",
    "iterations",
    "constitution_edits",
    "constitution_versions",
    "constitution_aliases",
    "segments",
)
"""Tables with a run_id whose rows no segment holds; `segments` itself, to know when one went missing."""


def keep_run(store: Store, run_id: str, *tables: str, connection: Any = None) -> None:
    """Mirror a run's rows of some tables, or of all; nothing where the database does not hold the run: a new file in the
    place of a lost one must not empty the mirror that it will be repaired from.

    With the connection of a transaction at work the mirror is written before that is committed: where it cannot be,
    nothing was done, and a kill between the two leaves at most what nobody was told of."""
    folder = store.runs / run_id
    if not folder.is_dir():
        return
    with _reading(store, connection) as within:
        if not within.execute("select 1 from runs where run_id = ?", [run_id]).fetchall():
            return
        for table in tables or _kept_tables(within):
            _copy(
                within,
                f"select * from {table} where run_id = ?",
                run_id,
                folder / "kept" / f"{table}.parquet",
            )


def _kept_tables(connection: Any) -> tuple[str, ...]:
    """The mirrored tables of a run that this database has."""
    rows = connection.execute("select table_name from information_schema.tables").fetchall()
    return tuple(name for name in (*RUN_TABLES, "votes") if (name,) in rows)


def keep_dataset(store: Store, dataset_id: str, connection: Any = None) -> None:
    """Mirror a data set with its prompts, within a transaction at work as `keep_run` does."""
    with _reading(store, connection) as within:
        for table in ("prompts", "datasets"):
            target = store.home / "datasets" / dataset_id / f"{table}.parquet"
            _copy(within, f"select * from {table} where dataset_id = ?", dataset_id, target)


def _reading(store: Store, connection: Any) -> AbstractContextManager:
    # The database's lock keeps writers out for the whole of it, so that who reads first does not write last.
    return store.database.read() if connection is None else nullcontext(connection)


def has_dataset(store: Store, dataset_id: str) -> bool:
    """Whether a data set is mirrored."""
    folder = store.home / "datasets" / dataset_id
    return all((folder / f"{table}.parquet").is_file() for table in ("prompts", "datasets"))


def forget_dataset(store: Store, dataset_id: str) -> None:
    """Remove the mirror of a data set, so that no repair brings it back; whole or not at all."""
    place = store.home / "datasets" / dataset_id
    doomed = store.home / f".deleted-{dataset_id}"
    if doomed.exists():
        shutil.rmtree(doomed, ignore_errors=True)
    if place.is_dir():
        with storage(f"delete {place}"):
            os.rename(place, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _copy(connection: Any, sql: str, value: str, target: Path) -> None:
    """Write a query's rows, whole or not at all."""
    import pyarrow.parquet

    rows = connection.sql(sql, params=[value]).to_arrow_table()
    with storage(f"write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            pyarrow.parquet.write_table(rows, temporary, compression="zstd")


def ingest_mirror(store: Store, folder: Path) -> int:
    """Bring the mirrored rows of a folder back into the database; rows that are there stay. Returns how many."""
    count = 0
    with store.database.write() as connection:
        for path in sorted(folder.glob("*.parquet")):
            if path.stem != "segments":  # said again by the ingestion of the segments themselves
                sql = f"insert or ignore into {path.stem} by name select * from read_parquet(?)"
                count += connection.execute(sql, [str(path)]).fetchone()[0]
    return count


def mirrored_digests(folder: Path) -> dict[int, str]:
    """The digest of each iteration's trained weights, as far as they were mirrored."""
    import pyarrow.parquet

    path = folder / "iterations.parquet"
    if not path.is_file():
        return {}
    rows = pyarrow.parquet.read_table(path, columns=["iteration", "model_out_digest"]).to_pylist()
    return {row["iteration"]: row["model_out_digest"] for row in rows if row["model_out_digest"]}


def mirrored_segments(folder: Path) -> dict[str, int | None]:
    """The names of the segments that the database had ingested of a run, with their rows, as far as they were
    mirrored."""
    import pyarrow.parquet

    path = folder / "segments.parquet"
    if not path.is_file():
        return {}
    rows = pyarrow.parquet.read_table(path, columns=["name", "rows"]).to_pylist()
    return {row["name"]: row["rows"] for row in rows}


def mirrored_config(folder: Path) -> RunConfig | None:
    """The settings a run was created with, as they were mirrored; None where they were not or cannot be read."""
    import pyarrow.parquet

    path = folder / "runs.parquet"
    if rows_of(path) is None:
        return None
    rows = pyarrow.parquet.read_table(path, columns=["config"]).to_pylist()
    try:
        return parse_config(json.loads(rows[0]["config"])) if rows else None
    except (ValueError, LpdError):
        return None
