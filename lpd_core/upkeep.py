"""Repair of a home: the database made anew from the files beside it, damaged files set aside and done again.

What the old database still holds goes into those files first, as far as it can be read.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lpd_core.config import config_digest
from lpd_core.errors import LpdError, UserError
from lpd_core.judge import verdicts
from lpd_core.loop import STAGES
from lpd_core.model_files import check_model_folder, model_digest
from lpd_core.store import RunFolder, Store, mirror
from lpd_core.store import runs as run_table
from lpd_core.store.database import FILES, REPAIRING
from lpd_core.store.run_folder import is_whole_segment, rows_of, storage, sync_names, write_text


@dataclass
class Repaired:
    """What a repair found: rows brought back, the old database's new name, and each damage with its mend."""

    datasets: int = 0
    runs: int = 0
    segments: int = 0
    moved: str = ""
    damages: list[str] = field(default_factory=list)


def repair(store: Store) -> Repaired:
    """Make the database anew from data sets, kept rows and segments; the old file is moved aside, not deleted.

    Damaged segments and checkpoints are moved into the run's `damaged/` folder and their stages opened again, so
    that a resume redoes exactly those. Others who want the database meanwhile are told that it is busy, and after a
    repair that was cut off, that another is needed. Raises `UserError` while a run is being driven."""
    with storage(f"make the folder {store.home}"):
        store.home.mkdir(parents=True, exist_ok=True)
    with store.database.alone():
        driven = [run for run in store.run_ids() if store.run(run).is_driven()]
        if driven:
            raise UserError(
                f"{', '.join(driven)} is running; stop it first: a repair needs the home for itself"
            )
        store.database.refuse_half_restored()
        return _made_anew(store)


def _made_anew(store: Store) -> Repaired:
    mark = store.home / REPAIRING
    if not mark.exists():  # else the files know all, and the database may hold but part of it
        _mirror_all(store)
    done = Repaired()
    _set_aside_verdicts(store, done)
    for path in (*store.home.glob("datasets/*/*.parquet"), *store.home.glob("runs/*/kept/*.parquet")):
        _set_aside_torn_mirror(path, done)
    for root in sorted(store.runs.glob("[!.]*/")):
        _write_settings_anew(RunFolder(root), done)
    done.moved = _move_aside(store, _marked(mark))
    _tell_older(store, done)
    store.database.create()
    for place in sorted((store.home / "datasets").glob("*/")):
        if mirror.ingest_mirror(store, place):
            done.datasets += 1
    for run in store.run_ids():
        _repair_run(store, store.run(run), done)
    mark.unlink()
    sync_names(store.home)
    return done


def _marked(mark: Path) -> str:
    """Mark the repair as begun, with the time that names what it moves aside; one that was cut off is gone on with."""
    with suppress(OSError, ValueError):
        stamp = mark.read_text(encoding="ascii")
        if re.fullmatch(r"\d{8}T\d+", stamp):
            return stamp
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    write_text(mark, stamp)
    sync_names(mark.parent)
    return stamp


def _mirror_all(store: Store) -> None:
    """Bring the files up to date with what the database holds, where it can be read and holds anything."""
    with suppress(LpdError):
        if not store.database.path.is_file() or not store.database.path.stat().st_size:
            return
        for row in store.database.query("select dataset_id from datasets"):
            mirror.keep_dataset(store, row["dataset_id"])
        for run in store.run_ids():
            mirror.keep_run(store, run)


def _set_aside_torn_mirror(path: Path, done: Repaired) -> None:
    if rows_of(path) is None:
        with storage(f"move {path} aside"):
            os.replace(path, path.with_name(f"{path.name}.damaged"))
        done.damages.append(f"{path} is damaged; it was set aside, and its rows are lost but for a backup's")


def _write_settings_anew(folder: RunFolder, done: Repaired) -> None:
    """Write a run's settings again from the database's copy, where its own file is damaged or gone."""
    kept = mirror.mirrored_config(folder.root / "kept")
    if kept is None:
        return  # what is wrong is told where the run is repaired
    try:
        folder.config()
    except UserError as cause:
        folder.write_config(kept)
        told = str(cause).partition("; `python -m lpd_core repair`")[0]
        done.damages.append(f"{told}; it was written again with the settings that the run was created with")


def _move_aside(store: Store, stamp: str) -> str:
    """Move the old database aside; what a repair that was cut off made after it is deleted, the files hold it all."""
    moved = f"{FILES[-1]}.before-repair-{stamp}"
    if (store.home / moved).exists():
        for name in FILES:
            (store.home / name).unlink(missing_ok=True)
        return moved
    moved = ""
    for name in FILES:
        path = store.home / name
        if path.exists():
            target = path.with_name(f"{name}.before-repair-{stamp}")
            with storage(f"move {path} aside"):
                os.replace(path, target)
            moved = target.name
    sync_names(store.home)
    return moved


def _tell_older(store: Store, done: Repaired) -> None:
    """Name the databases that earlier repairs kept: nobody else ever deletes them."""
    now = done.moved.rpartition("-")[2]
    older = [
        path
        for path in sorted(store.home.glob("lpd.duckdb*.before-repair-*"))
        if not now or now not in path.name
    ]
    if older:
        sizes = ", ".join(f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)" for path in older)
        done.damages.append(f"earlier repairs kept {sizes}; delete what nobody needs any more")


def _set_aside_verdicts(store: Store, done: Repaired) -> None:
    path = store.cache / verdicts.FILE
    problem = verdicts.problem_of(path)
    if not problem:
        return
    with storage(f"move {path} aside"):
        for log in ("-wal", "-shm"):  # first, since one beside another file would be read into that
            path.with_name(f"{path.name}{log}").unlink(missing_ok=True)
        os.replace(path, path.with_name(f"{path.name}.damaged"))
    done.damages.append(
        f"{path} is damaged ({problem}); it was set aside, and its verdicts are asked for again"
    )


def _repair_run(store: Store, folder: RunFolder, done: Repaired) -> None:
    try:
        config = folder.config()
    except UserError as cause:
        done.damages.append(str(cause))
        return
    _set_aside_damage(folder, done)
    done.segments += run_table.ingest(store, folder)
    # The run's row comes last: killed before it, the next repair still takes the files' word and not the database's.
    mirror.ingest_mirror(store, folder.root / "kept")
    if not (folder.root / "kept" / "runs.parquet").is_file():
        manifest = folder.manifest() or {"config_digest": config_digest(config)}
        run_table.add_run(store, folder.run_id, config, manifest)
    if folder.state().status == "interrupted":
        run_table.set_status(store, folder.run_id, "interrupted", folder.state().error)
    mirror.keep_run(store, folder.run_id)
    done.runs += 1


def _set_aside_damage(folder: RunFolder, done: Repaired) -> None:
    """Move torn segments and checkpoints away and open their stages again."""
    known, there = mirror.mirrored_segments(folder.root / "kept"), folder.segment_names()
    lost = sorted(set(known) - set(there))
    torn = [name for name in there if not is_whole_segment(folder.segments / name, known.get(name))]
    for name in (*lost, *torn):
        iteration, stage, _ = name.split("-", 2)
        mend = _mend_of(folder, stage)
        what = "is missing" if name in lost else "is damaged"
        done.damages.append(f"{folder.run_id}: segment {name} {what}; {mend}")
        if stage in STAGES:
            folder.reopen_stage(int(iteration), stage)
        if name in torn:  # last: killed before it, the next repair finds it again
            _shelve(folder, folder.segments / name)
    _set_aside_weights(folder, done)


def _mend_of(folder: RunFolder, stage: str) -> str:
    """What becomes of a segment that is gone."""
    if stage == "assign":
        return "it says which prompts are mined when and cannot be made again; restore a backup"
    if stage not in STAGES:
        return "measure it again"
    config = folder.config()
    told = "a resume does its prompts again"
    if config.sampler.kind == "scripted" or (
        config.sampler.kind == "transformers" and config.model.device == "cpu"
    ):
        return told
    return (
        f"{told}; with {config.sampler.kind} on {config.model.device} the rows may differ from those that later stages "
        "used, which `check --run` tells"
    )


def _set_aside_weights(folder: RunFolder, done: Repaired) -> None:
    """Move checkpoints away that are torn or not the ones that were trained. Of a finished run, missing weights are
    only told: a backup may have left them out."""
    digests = mirror.mirrored_digests(folder.root / "kept")
    names = (re.fullmatch(r"iter-(\d+)", path.name) for path in folder.checkpoints.glob("iter-*"))
    there = {int(name[1]) for name in names if name}
    for iteration in sorted(there | set(digests)):
        path = folder.checkpoint(iteration)
        problem = _problem_of(path, digests.get(iteration, ""))
        if not problem or (path / "scripted.json").is_file():
            continue
        if not path.exists() and folder.state().status == "finished":
            done.damages.append(f"{folder.run_id}: {problem}; what it was measured at is kept")
            continue
        folder.reopen_stage(iteration, "m_step")
        if path.exists():
            _shelve(folder, path)
        done.damages.append(f"{folder.run_id}: {problem}; a resume trains it again")


def _problem_of(checkpoint: Path, digest: str = "") -> str:
    """What is wrong with a checkpoint, of which the digest may be known; empty where it is whole."""
    try:
        check_model_folder(checkpoint)
        if digest and model_digest(checkpoint) != digest:
            return f"the weights in {checkpoint} are not the ones that were trained"
    except LpdError as cause:
        return str(cause)
    return ""


def _shelve(folder: RunFolder, path: Path) -> None:
    target = folder.root / "damaged" / path.name
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    with storage(f"move {path} aside"):
        os.replace(path, target)
