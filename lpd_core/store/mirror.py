"""What only the database holds, mirrored beside it as Parquet, so that a lost database can be made anew.

Rows that stages commit stand in segments. The others are mirrored whenever they change: a data set and its prompts
under `datasets/<id>/`, a run's own rows (edits, versions, aliases, iterations, ...) under `runs/<id>/kept/`.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lpd_core.config import RunConfig, parse_config
from lpd_core.errors import LpdError
from lpd_core.store.run_folder import replacing, rows_of

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


def kept_tables(store: Store) -> tuple[str, ...]:
    """The mirrored tables of a run that this database has."""
    rows = store.database.query("select table_name as name from information_schema.tables")
    there = {row["name"] for row in rows}
    return tuple(name for name in (*RUN_TABLES, "votes") if name in there)


def keep_run(store: Store, run_id: str, *tables: str) -> None:
    """Mirror a run's rows of some tables, or of all; nothing where the database does not hold the run: a new file in the
    place of a lost one must not empty the mirror that it will be repaired from."""
    folder = store.runs / run_id
    known = store.database.query("select 1 from runs where run_id = ?", [run_id])
    if not known or not folder.is_dir():
        return
    with open(folder / "kept.lock", "a+", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who reads first must not write last
        for table in tables or kept_tables(store):
            _copy(
                store, f"select * from {table} where run_id = ?", run_id, folder / "kept" / f"{table}.parquet"
            )


def keep_dataset(store: Store, dataset_id: str) -> None:
    """Mirror a data set with its prompts."""
    for table in ("prompts", "datasets"):
        target = store.home / "datasets" / dataset_id / f"{table}.parquet"
        _copy(store, f"select * from {table} where dataset_id = ?", dataset_id, target)


def has_dataset(store: Store, dataset_id: str) -> bool:
    """Whether a data set is mirrored."""
    folder = store.home / "datasets" / dataset_id
    return all((folder / f"{table}.parquet").is_file() for table in ("prompts", "datasets"))


def forget_dataset(store: Store, dataset_id: str) -> None:
    """Remove the mirror of a data set, so that no repair brings it back."""
    shutil.rmtree(store.home / "datasets" / dataset_id, ignore_errors=True)


def _copy(store: Store, sql: str, value: str, target: Path) -> None:
    """Write a query's rows, whole or not at all."""
    import pyarrow.parquet

    with store.database.read() as connection:
        rows = connection.sql(sql, params=[value]).to_arrow_table()
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
