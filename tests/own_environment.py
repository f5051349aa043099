"""A Python environment of its own under `build/`, made when it is first needed: for what the project's does not hold."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SECONDS = 900


@dataclass(frozen=True)
class OwnEnvironment:
    """What is to be installed, where (`$variable` moves it) and how: `steps` gives the commands for the folder and its
    interpreter, after the bare environment is there."""

    what: str
    name: str
    variable: str
    requirements: Path
    free_bytes: int
    steps: Callable[[Path], Sequence[Sequence[str]]]

    @property
    def folder(self) -> Path:
        """Where the environment is, or will be."""
        return Path(os.environ.get(self.variable) or PROJECT / "build" / self.name)

    @property
    def interpreter(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin" / "python"

    def install(self) -> str:
        """Make the environment unless it is there; the reason why that is impossible, or nothing."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(self.folder.with_name(f"{self.folder.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # test workers do not install twice
            marker = self.folder / "installed.sha256"
            wanted = hashlib.sha256(self.requirements.read_bytes()).hexdigest()
            if marker.exists() and marker.read_text() == wanted:
                return ""
            reason = self._no_room() or self._install()
            if not reason:
                marker.write_text(wanted)
            return reason

    def _no_room(self) -> str:
        free = shutil.disk_usage(self.folder.parent).free
        if free >= self.free_bytes:
            return ""
        wanted = f"{self.what}'s environment wants {self.free_bytes / 1e9:.0f} GB"
        return f"{self.folder.parent} has {free / 1e9:.1f} GB free, {wanted}"

    def _install(self) -> str:
        bare = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        for step in (bare, *self.steps(self.interpreter)):
            try:
                told = subprocess.run(step, capture_output=True, text=True, timeout=SECONDS)
            except (OSError, subprocess.TimeoutExpired) as cause:
                return f"{self.what}'s environment could not be made: {cause}"
            if told.returncode:
                last = (told.stderr.strip() or told.stdout.strip() or "no output").splitlines()[-1]
                return f"{self.what}'s environment could not be made ({' '.join(step[-3:])}): {last}"
        return ""


def pip(interpreter: Path, *arguments: str) -> list[str]:
    """A quiet pip command of an environment."""
    command, *rest = arguments
    return [str(interpreter), "-m", "pip", "--disable-pip-version-check", command, "--quiet", *rest]
