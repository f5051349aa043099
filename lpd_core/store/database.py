"""The DuckDB file, opened for one unit of work under an advisory lock and closed again.

DuckDB lets one process write or many read, never both, so nobody keeps a connection: `Database.read` takes the
sidecar lock shared, `Database.write` exclusive; the kernel releases it even on kill -9. A second lock makes them take
turns. Every value is a
bound parameter; bulk rows come from Arrow. https://duckdb.org/docs/current/connect/concurrency
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lpd_core.errors import Interrupted, UserError
from lpd_core.store.locks import acquire
from lpd_core.store.run_folder import storage
from lpd_core.store.schema import migrate, pending

FILES = ("lpd.duckdb.wal", "lpd.duckdb")
"""What a home's database consists of; the log first, since one beside another file would be replayed into that."""
REPAIRING = "lpd.duckdb.repairing"
"""There from when a repair moves the database away to when the new one holds everything."""
RESTORING = ".restoring"
"""The folder of a home that is there while a backup is restored into it."""
LOCK_SECONDS = 10.0
TURN_SECONDS = 3.0
SETTINGS = {"threads": "1", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class DatabaseBusy(Interrupted):
    """Others have held the lock for too long; nothing is lost, and trying again is right."""


class DatabaseDamaged(UserError):
    """The database file cannot be read any more; it can be made anew from the files beside it."""


class Database:
    """One DuckDB file with its lock. Creating it makes the file and brings its schema up to date."""

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS):
        self.path = Path(path)
        self.lock_seconds = lock_seconds
        self._lock_path = self.path.with_name(self.path.name + ".lock")
        self._turn_path = self.path.with_name(self.path.name + ".turn")
        self._repairing_path = str(self.path.with_name(REPAIRING))
        self._migrated = False
        self._open = threading.local()

    @contextmanager
    def read(self) -> Iterator[Any]:
        """A read-only connection; results must be fetched before the block ends. Reads inside it, through this object,
        share it; one through another would wait for whoever waits to write."""
        shared = getattr(self._open, "connection", None)
        if shared is not None:
            yield shared
            return
        self._ensure()
        with self._locked(fcntl.LOCK_SH), self._connected(read_only=True) as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    @contextmanager
    def write(self) -> Iterator[Any]:
        """A connection inside one transaction: committed at the end of the block, rolled back on an error."""
        self._ensure()
        with self._locked(fcntl.LOCK_EX), self._connected(read_only=False) as connection:
            connection.begin()
            yield connection
            connection.commit()

    def query(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of a read-only query as dictionaries, values in the order of the columns."""
        with self.read() as connection:
            cursor = connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> None:
        """One statement in a transaction of its own."""
        with self.write() as connection:
            connection.execute(sql, values)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody but this thread, through this object, reads or writes the file within the block, so it may be moved
        away and made anew; also where an earlier repair was cut off."""
        with self._held(fcntl.LOCK_EX):
            self._open.alone = True
            try:
                yield
            finally:
                self._open.alone = False

    def create(self) -> None:
        """Make the file and its tables, also where others were before it."""
        with storage(f"create the database {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(fcntl.LOCK_EX):
            self._create_or_upgrade()
        self._migrated = True

    def is_begun(self) -> bool:
        """Whether the home holds a database, or a repair or a restore that was cut off left it without, which any use of
        it tells; a look need not make one."""
        there = (self.path, self._repairing_path, self.path.with_name(RESTORING))
        return any(os.path.exists(path) for path in there)

    def refuse_half_made(self) -> None:
        """Raise `DatabaseDamaged` where a repair was cut off: what it had made holds only part of what the files do."""
        if os.path.exists(self._repairing_path):
            raise DatabaseDamaged(
                f"a repair of the database {self.path} was cut off; run `python -m lpd_core repair` again"
            )

    def refuse_half_restored(self) -> None:
        """Raise `DatabaseDamaged` where a restore has not come to the database, which it brings last."""
        mark = self.path.with_name(RESTORING)
        if mark.exists() and not self.path.exists():
            raise DatabaseDamaged(
                f"a restore into {mark.parent} is at work or was cut off; if it was, `python -m lpd_core restore` the "
                f"backup again, or delete {mark} to use what it left"
            )

    def _end_restore(self) -> None:
        """A restore brings the database last: where it is there, what marks a restore is left of one that is done."""
        mark = self.path.with_name(RESTORING)
        if self.path.exists() and mark.exists():
            shutil.rmtree(mark, ignore_errors=True)

    def _ensure(self) -> None:
        if self._migrated and self.path.exists():
            return
        self._refuse_to_forget()
        self._end_restore()
        with storage(f"create the database {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_current():
            with self._locked(fcntl.LOCK_EX):
                self._create_or_upgrade()
        self._migrated = True

    def _refuse_to_forget(self) -> None:
        """A new, empty file must not take the place of one that is lost while what it held lies beside it."""
        # Of a repair that is at work, or was cut off, the lock and the mark tell.
        if (self.path.is_file() and self.path.stat().st_size) or os.path.exists(self._repairing_path):
            return
        self.refuse_half_restored()
        home = self.path.parent
        beside = next(home.glob("runs/*/kept/*.parquet"), None) or next(
            home.glob("datasets/*/*.parquet"), None
        )
        if beside is not None:
            raise DatabaseDamaged(
                f"the database {self.path} is {'empty' if self.path.exists() else 'gone'}, though {beside.parent} is "
                "there; `python -m lpd_core repair` makes it anew from the files beside it"
            )

    def _create_or_upgrade(self) -> None:
        fresh = not self.path.exists() or (self.path.is_file() and not self.path.stat().st_size)
        if fresh:  # a creation that was killed leaves an empty file
            self.path.unlink(missing_ok=True)
        try:
            with self._connected(read_only=False) as connection:
                migrate(connection)
        except BaseException:
            if fresh:  # nothing half made stays behind, on a full disk for instance
                self.path.unlink(missing_ok=True)
                self.path.with_name(self.path.name + ".wal").unlink(missing_ok=True)
            raise

    def _is_current(self) -> bool:
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        with self._locked(fcntl.LOCK_SH), self._connected(read_only=True) as connection:
            return not pending(connection)

    @contextmanager
    def _connected(self, read_only: bool) -> Iterator[Any]:
        import duckdb

        with _duckdb_errors(self.path):
            connection = duckdb.connect(str(self.path), read_only=read_only, config=SETTINGS)
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        if getattr(self._open, "alone", False):
            yield
            return
        with self._held(kind):
            self.refuse_half_made()  # not before: beside a repair at work it is busy, not damaged
            yield

    @contextmanager
    def _held(self, kind: int) -> Iterator[None]:
        with storage(f"lock the database {self.path}"):
            turn, lock = _opened(self._turn_path), _opened(self._lock_path)
        give_up = time.monotonic() + self.lock_seconds
        with turn, lock:
            while not _has_come(turn, lock, kind, give_up):
                if time.monotonic() > give_up:
                    raise DatabaseBusy(
                        f"the database {self.path} has been busy for {self.lock_seconds:.0f} s; the process with "
                        f"PID {self._holder()} was the last to take its lock; try again"
                    )
                time.sleep(0.1)  # readers that queued behind a patient writer pass
            # For people only; with several readers the last one stands here.
            os.pwrite(lock.fileno(), f"{os.getpid():<12}".encode(), 0)
            os.ftruncate(lock.fileno(), 12)
            yield

    def _holder(self) -> str:
        try:
            return self._lock_path.read_text(encoding="ascii").strip() or "unknown"
        except OSError:
            return "unknown"


def _has_come(turn: IO, lock: IO, kind: int, give_up: float) -> bool:
    """Wait for one's turn and, holding it so that later readers do not keep a writer out, for the lock; not for long,
    lest a slow reader hold up all others through a writer who waits."""
    if not acquire(turn, give_up - time.monotonic()):
        return False
    try:
        return acquire(lock, min(TURN_SECONDS, give_up - time.monotonic()), kind)
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)


def _opened(path: Path) -> IO:
    # Not to append: Linux adds what is written at a place of such a file to its end.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)


DAMAGE = (
    "Corrupt",
    "not a valid DuckDB",
    "Could not read enough",
    "replaying WAL",
    "Serialization Error",
    "INTERNAL",
)
"""What DuckDB says of a file that was torn or overwritten."""


def tells_damage(cause: Exception) -> bool:
    """Whether an error of DuckDB means that its file is damaged, and not that a query is wrong: its words may be the
    query's own (`select error('Corrupt')`)."""
    import duckdb

    asked = isinstance(cause, duckdb.ProgrammingError | duckdb.DataError) and not isinstance(
        cause, duckdb.SerializationException
    )
    return not asked and any(word in str(cause) for word in DAMAGE)


@contextmanager
def _duckdb_errors(path: Path) -> Iterator[None]:
    """Tell a full disk, a folder that cannot be written to or a damaged file in one line; other errors pass."""
    import duckdb

    try:
        yield
    except duckdb.Error as cause:
        text = str(cause)
        doing = f"use the database {path}"
        if "No space left" in text:
            raise Interrupted(f"cannot {doing}: the disk is full: free some space and try again") from cause
        if "Read-only file system" in text or "Permission denied" in text:
            raise UserError(
                f"cannot {doing}: no permission to write: point $LPD_HOME at a folder you may write to"
            ) from cause
        if tells_damage(cause) or isinstance(cause, duckdb.IOException):
            raise DatabaseDamaged(
                f"cannot {doing}: {text.splitlines()[0]}; if it is damaged, `python -m lpd_core repair` makes it anew "
                "from the files beside it and keeps the old one"
            ) from cause
        raise
