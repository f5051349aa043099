"""Where a resident process and its askers meet: its socket, its lock, its log."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from lpd_core.errors import UserError
from lpd_core.store.run_folder import storage

IDLE_SECONDS = 300.0
"""How long a resident process stays without being asked anything."""
LONGEST_SOCKET = 100
"""Bytes of a socket's path that every system takes (Linux 107, macOS 103)."""


class Place:
    """The files of one kind of resident process under one home: `<home>/resident/<kind>.sock`, `.lock`, `.log`, and
    `.json` with the models it holds.

    Where the home's path is too long for a socket, that one lies in a folder of this user's under the runtime
    folder, or the temporary one if that path is too long too, named after the home."""

    def __init__(self, home: Path, kind: str):
        self.home = Path(home)
        self.kind = kind
        self.folder = self.home / "resident"
        self.lock = self.folder / f"{kind}.lock"
        self.log = self.folder / f"{kind}.log"
        self.held = self.folder / f"{kind}.json"
        near = self.folder / f"{kind}.sock"
        self.socket = near if len(os.fsencode(near)) <= LONGEST_SOCKET else self._far()

    def _far(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        roots = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()]
        places = [Path(root) / f"lpd-{os.getuid()}-{name}" / f"{self.kind}.sock" for root in roots if root]
        return next((p for p in places if len(os.fsencode(p)) <= LONGEST_SOCKET), places[-1])

    def make(self) -> None:
        """Make the folders, for this user alone. Raises `UserError` where one is somebody else's."""
        with storage(f"create the folder {self.folder}"):
            for folder in (self.folder, self.socket.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder, self.socket.parent):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise UserError(
                    f"{folder} belongs to another user, so it is not used; point $LPD_HOME at a folder of your own"
                )

    def process_id(self) -> int:
        """The PID of the process that holds the lock; 0 where none does."""
        try:
            with open(self.lock, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(self.lock.read_text(encoding="ascii") or 0)
        except OSError:
            return 0
        return 0
