"""The runs and iterations tables, and the ingestion of segments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpd_core.config import RunConfig, config_digest
from lpd_core.errors import UserError
from lpd_core.store.arrow import insert
from lpd_core.store.run_folder import is_whole_segment

if TYPE_CHECKING:
    from lpd_core.store import Store
    from lpd_core.store.run_folder import RunFolder

SEGMENTS_AT_ONCE = 256  # in one statement


def add_run(store: Store, run_id: str, config: RunConfig, manifest: Mapping[str, Any]) -> None:
    """The run's row, status queued; a row without a folder, left by a kill in between, gives way."""
    store.database.execute(
        """insert or replace into runs (run_id, name, status, config, config_digest, created_at, manifest)
           values (?, ?, 'queued', ?, ?, now(), ?)""",
        [
            run_id,
            config.name,
            config.model_dump_json(),
            config_digest(config),
            json.dumps(manifest, default=str),
        ],
    )


def require(store: Store, folder: RunFolder) -> None:
    """Make sure that the database holds the run and every prompt assigned to it.

    Raises `UserError` when the file was deleted or replaced: going on would commit empty results."""
    found = store.database.query(
        """select (select count(*) from runs where run_id = $run) runs, count(*) assigned, count(p.prompt_id) there
           from assignments a left join prompts p using (prompt_id) where a.run_id = $run""",
        {"run": folder.run_id},
    )[0]
    if not found["runs"] or not found["assigned"] or found["assigned"] != found["there"]:
        raise UserError(
            f"{store.database.path} does not hold run {folder.run_id} and its {found['assigned']} prompts "
            f"({found['there']} are there); `python -m lpd_core repair` makes the database anew from the files beside it"
        )


def set_status(store: Store, run_id: str, status: str, error: str = "") -> None:
    """Record a run's status; the first `running` stamps its start, an end its finish."""
    store.database.execute(
        """update runs set status = $status, error = nullif($error, ''),
              started_at = case when $status = 'running' then coalesce(started_at, now()) else started_at end,
              finished_at = case when $status in ('finished', 'failed', 'stopped') then now() end
           where run_id = $run""",
        {"status": status, "error": error, "run": run_id},
    )


def set_name(store: Store, run_id: str, name: str) -> None:
    """Record the name that people see."""
    store.database.execute("update runs set name = ? where run_id = ?", [name, run_id])


def models(store: Store) -> dict[str, str]:
    """The path or hub name of every run's base model, by run."""
    rows = store.database.query("select run_id, config->>'$.model.path' model from runs")
    return {row["run_id"]: row["model"] or "" for row in rows}


def count_rows(store: Store, run_id: str) -> int:
    """How many rows of all tables belong to a run."""
    with store.database.read() as connection:
        return sum(
            connection.execute(f"select count(*) from {table} where run_id = ?", [run_id]).fetchone()[0]
            for table in _tables_of_runs(connection)
        )


def delete_rows(store: Store, run_id: str) -> None:
    """Delete every row of a run from every table in one transaction; what runs share (data sets, prompts, embedded
    principles) stays."""
    with store.database.write() as connection:
        for table in _tables_of_runs(connection):
            connection.execute(f"delete from {table} where run_id = ?", [run_id])


def _tables_of_runs(connection: Any) -> list[str]:
    """The tables with a run_id, those of later schemas too."""
    found = connection.execute(
        """select table_name from information_schema.columns join information_schema.tables using (table_name)
           where column_name = 'run_id' and table_type = 'BASE TABLE' order by table_name"""
    )
    return [table for (table,) in found.fetchall()]


def set_iteration(store: Store, run_id: str, iteration: int, values: Mapping[str, Any]) -> None:
    """Write some columns of an iteration's row, making the row if need be."""
    names = list(values)
    with store.database.write() as connection:
        connection.execute(
            "insert or ignore into iterations (run_id, iteration, started_at) values (?, ?, now())",
            [run_id, iteration],
        )
        connection.execute(
            f"update iterations set {', '.join(f'{name} = ?' for name in names)} where run_id = ? and iteration = ?",
            [*values.values(), run_id, iteration],
        )


def ingest(store: Store, folder: RunFolder) -> int:
    """Bring committed segments that the database lacks into it, in one transaction; returns how many.

    Keyed by the segment's name, so that ingesting twice is a no-op and a crash between the two loses nothing."""
    names = folder.segment_names()
    with store.database.read() as connection:  # every second, of thousands: no dictionary a row
        told = connection.execute("select name from segments where run_id = ?", [folder.run_id]).fetchall()
    known = {name for (name,) in told}
    new = [name for name in names if name not in known]
    if not new:
        return 0
    with store.database.write() as connection:
        for start in range(0, len(new), SEGMENTS_AT_ONCE):
            _take_segments(connection, folder, new[start : start + SEGMENTS_AT_ONCE])
    return len(new)


def _take_segments(connection: Any, folder: RunFolder, names: list[str]) -> None:
    """Insert the rows of some segments, a statement a table: twice as fast as one a file. Raises `UserError` when a
    segment is torn, so that nothing half read is kept."""
    import duckdb

    files: dict[str, list[str]] = {}
    for name in names:
        for path in sorted((folder.segments / name).glob("*.parquet")):
            files.setdefault(path.stem, []).append(str(path))
    try:
        for table, paths in files.items():
            connection.execute(
                f"insert or ignore into {table} by name select * from read_parquet(?, union_by_name = true)",
                [paths],
            )
        rows = _rows_of_segments(connection, [path for paths in files.values() for path in paths])
    except duckdb.Error as cause:
        torn = next((name for name in names if not is_whole_segment(folder.segments / name)), None)
        if torn is None:
            raise
        raise UserError(
            f"segment {torn} of run {folder.run_id} is damaged ({str(cause).splitlines()[0]}); `python -m lpd_core "
            "repair` sets it aside, and a resume does its prompts again"
        ) from cause
    now = datetime.now(UTC)
    counted = [
        {"run_id": folder.run_id, "name": n, "ingested_at": now, "rows": rows.get(n, 0)} for n in names
    ]
    insert(connection, "segments", counted, keep=True)


def _rows_of_segments(connection: Any, paths: list[str]) -> dict[str, int]:
    """How many rows the files of each segment hold."""
    if not paths:
        return {}
    told = connection.execute("select file_name, num_rows from parquet_file_metadata(?)", [paths]).fetchall()
    rows: Counter[str] = Counter()
    for path, count in told:
        rows[Path(path).parent.name] += count
    return dict(rows)


def list_runs(store: Store) -> list[dict[str, Any]]:
    """Every run's row, oldest first."""
    return store.database.query("select * from runs order by created_at, run_id")


def list_iterations(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The iterations of a run, the base model's (0) first, `summary` decoded."""
    rows = store.database.query("select * from iterations where run_id = ? order by iteration", [run_id])
    return [{**row, "summary": json.loads(row["summary"] or "{}")} for row in rows]
