"""A run's folder: configuration, state, events, logs, segments, checkpoints; everything a resume needs.

Whole files are written under a temporary name and renamed; events are appended line by line, and a torn last
line is ignored. Who drives the run holds the lock file: a run whose state says `running` while the lock is
free has died without a word.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lpd_core.config import PromptsConfig, RunConfig, parse_config, to_toml
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.events import Event, from_line, to_line
from lpd_core.store.locks import acquire, is_held

CONFIG_HEAD, CONFIG_END = "# The settings of this run, down to the line that says end.", "# end"
START_SECONDS = 20.0
"""After this long, a driver that was started and drives nothing has failed to start."""
DEAD_SECONDS = 60.0
LEFTOVER_SECONDS = 24 * 3600.0
"""A temporary file that nobody has written to for this long is a killed writer's, on whatever host."""


@dataclass(frozen=True, slots=True)
class RunState:
    """What the driver last said of itself. `heartbeat` is in seconds since the epoch."""

    status: str = "queued"
    iteration: int = 0
    stage: str = ""
    error: str = ""
    pid: int = 0
    heartbeat: float = 0.0


class RunFolder:
    """Paths and atomic writes of one run."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self.run_id = self.root.name
        self.segments = self.root / "segments"
        self.logs = self.root / "logs"
        self.checkpoints = self.root / "checkpoints"

    def create(self, config: RunConfig, manifest: Mapping[str, Any]) -> None:
        """Make the folder with its configuration and manifest; refuses a folder that exists."""
        with storage(f"create the run folder {self.root}"):
            self.root.mkdir(parents=True)
            for folder in (self.segments, self.logs, self.checkpoints, self.root / "stages"):
                folder.mkdir()
        self.write_config(config)
        write_json(self.root / "manifest.json", manifest)
        self.write_state(RunState())

    def keep_prompts(self, texts: Mapping[str, str]) -> None:
        """Keep the cue texts with the run, so that a later wording changes nothing about it."""
        (self.root / "prompts").mkdir(exist_ok=True)
        for name, text in texts.items():
            write_text(self.root / "prompts" / f"{name}.txt", text + "\n")

    def prompts(self, config: RunConfig) -> PromptsConfig:
        """The prompt settings with the folder that `keep_prompts` filled."""
        kept = self.root / "prompts"
        return config.prompts.model_copy(update={"folder": str(kept)}) if kept.is_dir() else config.prompts

    def write_config(self, config: RunConfig) -> None:
        """Write the settings between two lines that tell a file that was cut: what is left of TOML is TOML, too."""
        write_text(self.root / "config.toml", f"{CONFIG_HEAD}\n{to_toml(config).rstrip()}\n\n{CONFIG_END}\n")

    def config(self) -> RunConfig:
        """The resolved configuration the run was started with. Raises `UserError` when the file is damaged."""
        import tomllib

        path = self.root / "config.toml"
        try:
            text = path.read_text(encoding="utf-8")
            if not text.strip() or (text.startswith(CONFIG_HEAD) and CONFIG_END not in text.splitlines()):
                raise ValueError("its end is missing")
            return parse_config(tomllib.loads(text))
        except (OSError, ValueError) as cause:
            raise UserError(
                f"{path} cannot be read ({cause}); `python -m lpd_core repair` writes it again"
            ) from cause

    def manifest(self) -> dict[str, Any]:
        """Code revision, library versions, seeds, configuration digest; empty when the file is damaged."""
        try:
            return json.loads((self.root / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def state(self) -> RunState:
        """The last written state, as `interrupted` if it claims to run while nobody holds the lock."""
        state = self._written_state()
        if state.status == "running" and not self.is_driven():
            if self._written_state() != state:  # its last, written just before it let go of the lock
                return self.state()
            return replace(state, status="interrupted", error=state.error or "the driver died without a word")
        # The distance either way: a clock set back must not let a dead start look young for hours.
        overdue = state.pid and abs(time.time() - state.heartbeat) > START_SECONDS
        if state.status == "queued" and overdue and not self.is_driven():
            told = "the driver did not start; see logs/driver.log"
            return replace(state, status="interrupted", error=told)
        return state

    def _written_state(self) -> RunState:
        try:
            return RunState(**json.loads((self.root / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return RunState(status="interrupted", error="the state file is missing or damaged")

    def write_state(self, state: RunState) -> None:
        """Replace the state atomically, stamping the heartbeat."""
        write_json(self.root / "state.json", asdict(replace(state, heartbeat=time.time())))

    def is_driven(self) -> bool:
        """Whether a live process holds the run's lock."""
        return is_held(self.root / "driver.lock")

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Hold the run's lock with this process's PID in it; refused while another driver has it (after a second,
        since somebody may be looking), and waits up to 30 s for stages of a dead driver to end."""
        with open(self.root / "driver.lock", "a+", encoding="ascii") as lock:
            if not acquire(lock, seconds=1):
                raise UserError(f"run {self.run_id} is already being driven; see `status {self.run_id}`")
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._wait_for_stages()
            yield

    def driver_pid(self) -> int:
        """The PID of the live process that drives the run; 0 where there is none on this machine.

        What the lock file names counts only while that process has the file open: a driver that has just taken the
        lock has not yet replaced the PID of the one before it, which by now may be anybody's.
        """
        import psutil

        lock = (self.root / "driver.lock").resolve()
        try:
            driver = psutil.Process(int(lock.read_text(encoding="ascii")))
            return driver.pid if str(lock) in (file.path for file in driver.open_files()) else 0
        except (OSError, ValueError, psutil.Error):
            return 0

    @contextmanager
    def staging(self) -> Iterator[None]:
        """Held by each stage process while it works."""
        with open(self.root / "stages.lock", "a+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _wait_for_stages(self) -> None:
        with open(self.root / "stages.lock", "a+", encoding="ascii") as lock:
            if not acquire(lock, seconds=30):
                raise Interrupted(
                    f"a stage of run {self.run_id} from an earlier driver is still at work after 30 s; "
                    "end it and resume again"
                )

    def emit(self, event: Event) -> None:
        """Append one event line; one write call, so that lines of several processes do not mix. After a line that a
        full disk tore, a new one is begun."""
        line = (to_line(event, time.time()) + "\n").encode("utf-8", "replace")
        with storage("write events.jsonl"), open(self.root / "events.jsonl", "ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            torn = end and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write(b"\n" + line if torn else line)

    def events(self, since: int = 0, most: int = -1) -> tuple[list[tuple[float, Event]], int]:
        """The events from byte `since` on, in the next `most` bytes where that is not -1, and the offset to go on
        from; damaged lines are passed over."""
        try:
            with open(self.root / "events.jsonl", "rb") as file:
                file.seek(since)
                data = file.read(most)
        except OSError:
            return [], since
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == most:  # no event is that long
            return [], since + most
        found = []
        for line in whole.splitlines():
            try:
                found.append(from_line(line.decode("utf-8", "replace")))
            except LpdError:
                continue
        return found, since + len(whole)

    def segment_names(self) -> list[str]:
        """The committed segments, in order."""
        if not self.segments.exists():
            return []
        with os.scandir(
            self.segments
        ) as found:  # no look at each: there may be thousands, listed every second
            return sorted(each.name for each in found if each.is_dir() and not each.name.startswith("."))

    def has_segment(self, iteration: int, stage: str, chunk: int) -> bool:
        """Whether a chunk is committed."""
        return (self.segments / segment_name(iteration, stage, chunk)).is_dir()

    def write_segment(
        self, iteration: int, stage: str, chunk: int, tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """Commit a chunk: its tables as Parquet files in a folder that appears by one rename. Who comes second, on
        another machine perhaps, changes nothing."""
        import pyarrow
        import pyarrow.parquet

        target = self.segments / segment_name(iteration, stage, chunk)
        if target.exists():
            return
        temporary = self.segments / f".{target.name}.{socket.gethostname()}.{os.getpid()}"
        with storage(f"write the segment {target.name}"):
            shutil.rmtree(temporary, ignore_errors=True)
            if not self.root.is_dir():  # its segments would make a folder that is no run
                raise UserError(f"run {self.run_id} was deleted meanwhile; {target.name} is not kept")
            self.segments.mkdir(exist_ok=True)
            temporary.mkdir()
            for table, rows in tables.items():
                if rows:
                    pyarrow.parquet.write_table(
                        pyarrow.Table.from_pylist(list(rows)),
                        temporary / f"{table}.parquet",
                        compression="zstd",
                    )
            for written in (*temporary.iterdir(), temporary):
                sync(written)
            try:
                os.replace(temporary, target)
            except OSError:
                if not target.exists():
                    raise
                shutil.rmtree(temporary)
            sync(self.segments)

    def events_size(self) -> int:
        """Bytes of events so far."""
        try:
            return (self.root / "events.jsonl").stat().st_size
        except OSError:
            return 0

    def size(self) -> int:
        """Bytes of all files in the folder; a file that goes away meanwhile is passed over."""
        total = 0
        for place, _, names in os.walk(self.root):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(place, name)).st_size
        return total

    def stage_result(self, iteration: int, stage: str) -> dict[str, Any] | None:
        """The summary of a finished stage, or None while it is not."""
        path = self.root / "stages" / f"{iteration:03d}-{stage}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def finish_stage(self, iteration: int, stage: str, summary: Mapping[str, Any]) -> None:
        """Mark a stage as done, with its summary."""
        write_json(self.root / "stages" / f"{iteration:03d}-{stage}.json", summary)

    def reopen_stage(self, iteration: int, stage: str) -> None:
        """Take a stage's end back, so that a resume does what is missing of it; the run counts as interrupted."""
        path = self.root / "stages" / f"{iteration:03d}-{stage}.json"
        path.unlink(missing_ok=True)
        told = f"the {stage} stage of iteration {iteration} was opened again by a repair"
        self.write_state(RunState("interrupted", iteration, stage, told))

    def checkpoint(self, iteration: int) -> Path:
        """Where M_t of a trained iteration is kept."""
        return self.checkpoints / f"iter-{iteration}"


def segment_name(iteration: int, stage: str, chunk: int) -> str:
    """The name a chunk is committed under."""
    return f"{iteration:03d}-{stage}-{chunk:05d}"


def is_whole_segment(segment: Path, rows: int | None = None) -> bool:
    """Whether every Parquet file of a segment can be read to its end, and all have so many rows together, if known."""
    found = [rows_of(path) for path in segment.glob("*.parquet")]
    return None not in found and rows in (None, sum(found))


def rows_of(path: Path) -> int | None:
    """The rows of a Parquet file; None where it cannot be read to its end."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).num_rows
    except (OSError, pyarrow.ArrowException):
        return None


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place at the end of the block, or is removed; those of writers
    that were killed are removed, too."""
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
    try:
        with storage(f"write {path}"):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
    finally:
        if temporary.is_file():
            temporary.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of a target whose writers are dead: on this host by their PID, on others, which may share
    the file system, by their age."""
    import psutil

    name = re.compile(rf"\.{re.escape(path.name)}\.((?P<host>.+)\.)?(?P<pid>\d{{1,7}})\.\d+")
    with suppress(OSError), os.scandir(path.parent) as found:
        for each, match in ((each, name.fullmatch(each.name)) for each in found):
            if match is None or not each.is_file(follow_symlinks=False):
                continue
            dead = match["host"] == socket.gethostname() and not psutil.pid_exists(int(match["pid"]))
            with suppress(FileNotFoundError):  # another writer was quicker
                # Two containers may share a host's name and a folder, but no PIDs.
                if time.time() - each.stat().st_mtime > (DEAD_SECONDS if dead else LEFTOVER_SECONDS):
                    os.unlink(each)


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's names, before going on: a commit outlives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """Have the disk hold every file and folder under `root`, and `root` itself."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder) / name)
        sync_names(Path(folder))


def sync_names(folder: Path) -> None:
    """Have the disk hold a folder's names where it can: some shared file systems refuse that of folders."""
    with suppress(OSError):
        sync(folder)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str))


@contextmanager
def storage(doing: str) -> Iterator[None]:
    """Tell a full disk, a read-only folder or a missing permission in one line with its mend."""
    try:
        yield
    except OSError as cause:
        mend = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EROFS: "the file system is read-only: point $LPD_HOME at a folder you may write to",
            errno.EACCES: "no permission: point $LPD_HOME at a folder you may write to",
            errno.EPERM: "no permission: point $LPD_HOME at a folder you may write to",
            errno.EEXIST: "it exists already: choose another name",
            errno.ENOENT: "make its folder first",
            errno.EISDIR: "it is a folder: name a file in it",
        }.get(cause.errno, "check the path")
        kind = Interrupted if cause.errno == errno.ENOSPC else UserError
        raise kind(f"cannot {doing}: {cause.strerror or cause}; {mend}") from cause
