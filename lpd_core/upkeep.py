"""Repair, backup and restore of a home: the database made anew from files, a consistent copy while runs go on.

A backup is one tar file: the database (copied under the shared lock, so that nobody writes meanwhile), then the run
folders, whose committed parts never change. What was being written at that moment is not in it, and a resume does it
again.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lpd_core.config import config_digest
from lpd_core.errors import LpdError, UserError
from lpd_core.model_files import check_model_folder, model_digest
from lpd_core.store import RunFolder, Store, mirror
from lpd_core.store import runs as run_table
from lpd_core.store.run_folder import is_whole_segment, replacing, storage

DATABASE_FILES = ("lpd.duckdb", "lpd.duckdb.wal")
LEFT_OUT = {"driver.lock", "stages.lock"}


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
    that a resume redoes exactly those. Raises `UserError` while a run is being driven."""
    folders = [RunFolder(store.runs / run) for run in store.run_ids()]
    driven = [folder.run_id for folder in folders if folder.is_driven()]
    if driven:
        raise UserError(f"{', '.join(driven)} is running; stop it first: a repair needs the home for itself")
    done = Repaired(moved=_move_aside(store))
    for place in sorted((store.home / "datasets").glob("*/")):
        if mirror.ingest_mirror(store, place):
            done.datasets += 1
    for folder in folders:
        _repair_run(store, folder, done)
    return done


def _move_aside(store: Store) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    moved = ""
    for name in DATABASE_FILES:
        path = store.home / name
        if path.exists():
            target = path.with_name(f"{name}.before-repair-{stamp}")
            with storage(f"move {path} aside"):
                os.replace(path, target)
            moved = moved or target.name
    return moved


def _repair_run(store: Store, folder: RunFolder, done: Repaired) -> None:
    try:
        config = folder.config()
    except UserError as cause:
        done.damages.append(str(cause))
        return
    _set_aside_damage(folder, done)
    done.segments += run_table.ingest(store, folder)
    if not (folder.root / "kept" / "runs.parquet").is_file():
        manifest = folder.manifest() or {"config_digest": config_digest(config)}
        run_table.add_run(store, folder.run_id, config, manifest)
    mirror.ingest_mirror(store, folder.root / "kept")
    if folder.state().status == "interrupted":
        run_table.set_status(store, folder.run_id, "interrupted", folder.state().error)
    mirror.keep_run(store, folder.run_id)
    done.runs += 1


def _set_aside_damage(folder: RunFolder, done: Repaired) -> None:
    """Move torn segments and checkpoints away and open their stages again."""
    lost = mirror.mirrored_segments(folder.root / "kept") - set(folder.segment_names())
    for name in sorted(lost):
        done.damages.append(f"{folder.run_id}: segment {name} is missing; a resume does its prompts again")
    torn = [name for name in folder.segment_names() if not is_whole_segment(folder.segments / name)]
    for name in torn:
        _shelve(folder, folder.segments / name)
        done.damages.append(f"{folder.run_id}: segment {name} is damaged; a resume does its prompts again")
    for name in (*lost, *torn):
        iteration, stage, _ = name.split("-", 2)
        folder.reopen_stage(int(iteration), stage)
    _set_aside_weights(folder, done)


def _set_aside_weights(folder: RunFolder, done: Repaired) -> None:
    """Move checkpoints away that are torn or not the ones that were trained. Of a finished run, missing weights are
    only told: a backup may have left them out."""
    digests = mirror.mirrored_digests(folder.root / "kept")
    there = {int(path.name.removeprefix("iter-")) for path in folder.checkpoints.glob("iter-*")}
    for iteration in sorted(there | set(digests)):
        path = folder.checkpoint(iteration)
        problem = _problem_of(path, digests.get(iteration, ""))
        if not problem or (path / "scripted.json").is_file():
            continue
        if path.exists():
            _shelve(folder, path)
        elif folder.state().status == "finished":
            done.damages.append(f"{folder.run_id}: {problem}; what it was measured at is kept")
            continue
        folder.reopen_stage(iteration, "m_step")
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


def backup(store: Store, target: Path, checkpoints: bool = True) -> int:
    """Write the home into one tar file, also while runs go on; returns its size in bytes.

    Without `checkpoints` the trained weights stay out. Raises `UserError` when there is nothing to back up or the
    file exists already."""
    if not store.database.path.exists():
        raise UserError(f"there is nothing to back up under {store.home}")
    if target.exists():
        raise UserError(f"{target} exists already; name another file")
    with storage(f"make the folder {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, tarfile.open(temporary, "w", dereference=True) as archive:
        with store.database.read():  # the lock keeps writers out while the file is copied
            for name in DATABASE_FILES:
                if (store.home / name).exists():
                    archive.add(store.home / name, name)
        for path in _files(store, checkpoints):
            _add(archive, path, str(path.relative_to(store.home)))
    return target.stat().st_size


def _files(store: Store, checkpoints: bool) -> Iterator[Path]:
    """The files of data sets and runs that are whole: nothing under a temporary name, no torn checkpoint."""
    for root in (store.home / "datasets", *(store.runs / run for run in store.run_ids())):
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") for part in parts) or path.name in LEFT_OUT
            if hidden or parts[0] == "training" or path.is_symlink() or not path.is_file():
                continue
            if parts[0] != "checkpoints" or (checkpoints and _is_kept(root / "checkpoints" / parts[1])):
                yield path


def _is_kept(checkpoint: Path) -> bool:
    return (checkpoint / "scripted.json").is_file() or not _problem_of(checkpoint)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file as long as it is now; one that grows meanwhile (events, logs) is cut there."""
    try:
        with open(path, "rb") as file:
            entry = archive.gettarinfo(str(path), name, fileobj=file)
            archive.addfile(entry, file)
    except FileNotFoundError:
        return


def restore(archive: Path, home: Path) -> list[str]:
    """Unpack a backup into an empty home; the ids of its runs. A run that was going on is then `interrupted`.

    Raises `UserError` when the home holds anything or the file is no backup."""
    if any((home / name).exists() for name in ("lpd.duckdb", "runs", "datasets")):
        raise UserError(f"{home} is in use already; restore into a new folder and point $LPD_HOME there")
    try:
        with tarfile.open(archive, "r:") as packed:  # a packed one may unpack to more than the disk holds
            if "lpd.duckdb" not in packed.getnames():
                raise UserError(f"{archive} is no backup: it holds no database")
            for (
                member
            ) in packed:  # links are how archives get out of a folder past every filter (CVE-2025-4517)
                if not (member.isreg() or member.isdir()):
                    raise UserError(
                        f"{archive} cannot be unpacked: {member.name!r} is neither a file nor a folder"
                    )
            packed.extractall(home, filter="data")
    except (tarfile.TarError, OSError, EOFError) as cause:
        raise UserError(f"{archive} cannot be unpacked: {str(cause).splitlines()[0].rstrip(':')}") from cause
    return Store(home).run_ids()
