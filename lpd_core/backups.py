"""Backup and restore of a home: one tar file, taken while runs go on, that is whole or refused.

What says that something is done (the ends of stages, the state, the queue) is read first, then the database is copied
under the shared lock, then what stages committed: so whatever the marks call done, the database and the segments of the
archive hold, and a resume does the rest again. The last member tells every other's size and digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lpd_core.errors import LpdError, UserError
from lpd_core.model_files import check_model_folder
from lpd_core.store import Store
from lpd_core.store.database import FILES, REPAIRING, RESTORING
from lpd_core.store.run_folder import replacing, storage, sync_names, sync_tree

CONTENTS = "contents.json"
BROUGHT = ("datasets", "queue.json", "runs")
"""What a backup holds beside the database, in the order of a restore: no run is there before its data set."""
LEFT_OUT = {"driver.lock", "stages.lock", "kept.lock"}


class _Reader:
    """A file of which what is read is digested."""

    def __init__(self, file: Any):
        self.file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


def backup(store: Store, target: Path, checkpoints: bool = True) -> int:
    """Write the home into one tar file, also while runs go on; returns its size in bytes.

    Without `checkpoints` the trained weights stay out. Raises `UserError` when there is nothing to back up or the
    file exists already."""
    if not store.database.is_begun():
        raise UserError(f"there is nothing to back up under {store.home}")
    if target.exists():
        raise UserError(f"{target} exists already; name another file")
    with storage(f"make the folder {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    contents: dict[str, list[Any]] = {}
    with replacing(target) as temporary, tarfile.open(temporary, "w", dereference=True) as archive:
        marks = _marks(store)
        with store.database.read():  # the lock keeps writers out while the file is copied
            for name in FILES:
                _add(archive, store.home / name, name, contents)
        for name, data in marks.items():
            _add_bytes(archive, name, data, contents)
        for path in _files(store, checkpoints):
            _add(archive, path, str(path.relative_to(store.home)), contents)
        _add_bytes(archive, CONTENTS, json.dumps(contents).encode(), {})
    sync_names(target.parent)
    return target.stat().st_size


def _is_mark(parts: tuple[str, ...]) -> bool:
    return parts[0] in ("stages", "state.json")


def _marks(store: Store) -> dict[str, bytes]:
    """The files that say what is done, as they are now."""
    paths = [store.home / "queue.json"]
    for run in store.run_ids():
        root = store.runs / run
        paths += [root / "state.json", *sorted((root / "stages").glob("[!.]*.json"))]
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[str(path.relative_to(store.home))] = path.read_bytes()
    return found


def _files(store: Store, checkpoints: bool) -> Iterator[Path]:
    """The files of data sets and runs that are whole: nothing under a temporary name, no torn checkpoint, no mark."""
    for root in (store.home / "datasets", *(store.runs / run for run in store.run_ids())):
        for path in _walk(root):
            parts = path.relative_to(root).parts
            if path.name in LEFT_OUT or _is_mark(parts) or path.is_symlink() or not path.is_file():
                continue
            if parts[0] != "checkpoints" or (checkpoints and _is_kept(root / "checkpoints" / parts[1])):
                yield path


def _walk(root: Path) -> Iterator[Path]:
    """The files of a folder in order, without temporary ones and unfinished trainings; what goes away meanwhile, as these
    do beside a run at work, is passed over."""
    for folder, inner, files in os.walk(root):
        left_out = {"training"} if Path(folder) == root else set()
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in left_out)
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _is_kept(checkpoint: Path) -> bool:
    if (checkpoint / "scripted.json").is_file():
        return True
    try:
        check_model_folder(checkpoint)
    except LpdError:
        return False
    return True


def _add(archive: tarfile.TarFile, path: Path, name: str, contents: dict[str, list[Any]]) -> None:
    """Add a file as long as it is now; one that grows meanwhile (events, logs) is cut there, one that is gone is
    passed over."""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        entry = archive.gettarinfo(str(path), name, fileobj=file)
        reader = _Reader(file)
        archive.addfile(entry, reader)
    contents[name] = [entry.size, reader.digest.hexdigest()]


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes, contents: dict[str, list[Any]]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    contents[name] = [len(data), hashlib.sha256(data).hexdigest()]


def restore(archive: Path, home: Path) -> list[str]:
    """Unpack a backup into an empty home; the ids of its runs. A run that was going on is then `interrupted`.

    One that was cut off is begun again. Raises `UserError` when the home holds anything else, or the file is no backup,
    damaged or cut short; then nothing is left behind that was not there."""
    place, made = home / RESTORING, not home.exists()
    refused = (FILES[-1], REPAIRING) if place.exists() else (*FILES, REPAIRING, *BROUGHT)
    if any((home / name).exists() for name in refused):
        raise UserError(f"{home} is in use already; restore into a new folder and point $LPD_HOME there")
    try:
        for path in place.glob("*"):  # not the folder: it says that what lies beside it is no home yet
            _remove(path)
        _unpack(archive, place)
        sync_tree(place)
        _bring(place, home)
    except (tarfile.TarError, OSError, EOFError, ValueError) as cause:
        told = str(cause).splitlines()[0].rstrip(":").replace(str(place), str(home))
        raise UserError(f"{archive} cannot be unpacked: {told}") from cause
    finally:
        _end_restore(home)
        if made:
            with suppress(OSError):
                home.rmdir()  # where nothing came of it
    return Store(home).run_ids()


def _bring(place: Path, home: Path) -> None:
    """Move what was unpacked into the home, the database last: without it no run is shown, and the restore is begun
    again."""
    for name in (*BROUGHT, *FILES):  # of one that was cut off
        _remove(home / name)
    there = set(os.listdir(place))
    for names in ((*BROUGHT, *sorted(there - {*BROUGHT, *FILES})), FILES):
        for name in names:
            if name in there:
                os.replace(place / name, home / name)
        sync_names(home)
    sync_names(home.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _end_restore(home: Path) -> None:
    """Take the mark of a restore away, unless part of a home is there without its database."""
    there = [name for name in (*BROUGHT, *FILES) if (home / name).exists()]
    if not there or FILES[-1] in there:
        shutil.rmtree(home / RESTORING, ignore_errors=True)


def _unpack(archive: Path, place: Path) -> None:
    with tarfile.open(archive, "r:") as packed:  # a packed one may unpack to more than the disk holds
        if "lpd.duckdb" not in packed.getnames():
            raise UserError(f"{archive} is no backup: it holds no database")
        for member in packed:  # links are how archives get out of a folder past every filter (CVE-2025-4517)
            if not (member.isreg() or member.isdir()):
                raise UserError(
                    f"{archive} cannot be unpacked: {member.name!r} is neither a file nor a folder"
                )
        packed.extractall(place, filter="data")
    try:
        contents = json.loads((place / CONTENTS).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{archive} is cut short: it lacks the list of its contents; copy it again") from None
    (place / CONTENTS).unlink()
    found = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    damaged = set(found) ^ set(contents)
    damaged |= {name for name in set(found) - damaged if _measure(found[name]) != contents[name]}
    if damaged:
        raise UserError(
            f"{archive} is damaged: {sorted(damaged)[0]!r} is not what was backed up; copy it again"
        )


def _measure(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
