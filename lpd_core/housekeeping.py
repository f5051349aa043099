"""Runs as things to keep: rename, clone, delete, and what a deletion would free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from lpd_core import jobs
from lpd_core.config import override, parse_config
from lpd_core.errors import UserError
from lpd_core.queue import Queue
from lpd_core.store import RunFolder, Store, corpora, mirror
from lpd_core.store import runs as run_table
from lpd_core.store.run_folder import storage


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting a run takes away: bytes of its folder, rows of the database, and the runs whose model is one of
    its checkpoints."""

    run_id: str
    size: int
    rows: int
    builds_on_it: tuple[str, ...]


def rename_run(store: Store, run_id: str, name: str) -> str:
    """Give a run another name for people; its id and its configuration file stay. Raises `ConfigError`."""
    folder = store.run(run_id)
    name = parse_config({"name": name.strip()}).name
    run_table.set_name(store, folder.run_id, name)
    mirror.keep_run(store, folder.run_id, "runs")
    return name


def clone_run(store: Store, run_id: str, name: str = "", settings: Iterable[str] = ()) -> RunFolder:
    """A new run, not yet started, with the configuration of an earlier one, `a.b=value` settings laid over it."""
    config = override(store.run(run_id).config(), settings)
    named = parse_config({"name": name.strip()}).name if name else config.name
    return jobs.create_run(store, config.model_copy(update={"name": named}))


def plan_deletion(store: Store, run_id: str) -> Deletion:
    """What `delete_run` would take away."""
    folder = store.run(run_id)
    inside = str(folder.root.absolute()) + os.sep
    models = run_table.models(store)
    return Deletion(
        run_id=folder.run_id,
        size=folder.size(),
        rows=run_table.count_rows(store, folder.run_id),
        builds_on_it=tuple(run for run, model in models.items() if model.startswith(inside)),
    )


def delete_run(store: Store, run_id: str) -> int:
    """Delete a run's rows in one transaction, then its folder; returns the bytes freed on disk.

    Raises `UserError` while the run is driven. Killed in between, it leaves a folder that can be deleted again. The
    database file keeps its size: the room of the rows is used again by later ones."""
    folder = store.run(run_id)
    if folder.is_driven():
        raise UserError(f"run {folder.run_id} is running: stop it first")
    with folder.driving():  # so that nobody starts it meanwhile
        size = folder.size()
        Queue(store).drop(folder.run_id)  # a later run may get the same id
        run_table.delete_rows(store, folder.run_id)
        doomed = folder.root.with_name(f".{folder.run_id}.deleted")
        with storage(f"delete the run folder {folder.root}"):
            if doomed.exists():
                shutil.rmtree(doomed, ignore_errors=True)
            os.rename(folder.root, doomed)
            with suppress(FileNotFoundError):
                shutil.rmtree(doomed)
    return size


def delete_dataset(store: Store, dataset_id: str) -> int:
    """Delete a data set that no run uses, nor one that is just being made; returns the prompts deleted.

    Raises `DataError` naming the runs that use it."""
    with jobs.creating(store):
        told = {row["run_id"] for row in store.database.query("select distinct run_id from assignments")}
        for run in store.run_ids():
            if run not in told:  # its creation was killed before the database knew of its prompts
                run_table.ingest(store, store.run(run))
        return corpora.delete_dataset(store, dataset_id)
