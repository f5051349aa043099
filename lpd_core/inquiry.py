"""A question put to a command in a process of its own: what may take long, take much memory or load a model library.

The process is watched: it ends at its time limit, and where a memory limit is set it cannot take more, or is ended
once it has. Its answer is the JSON that the command prints, or one line that says why there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lpd_core.config import PROJECT

SECONDS = 120.0
LOOK_SECONDS = 0.1
"""Between two looks at the memory that a process holds."""
TOLD_BYTES = 64 * 2**20
"""More than this is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the command's JSON and exit code (0 or more), or an error in one line with its problems."""

    value: Any = None
    error: str = ""
    problems: tuple[str, ...] = ()


class Inquiry:
    """A running command of `python -m lpd_core ARGUMENTS --json`; `poll` and `wait` tell its answer.

    `home` becomes its `$LPD_HOME`, `seconds` is its time limit, `memory` the bytes of address space it may take
    (None: any), `resident` the bytes it may hold before it is ended (for what loads a model library, which reserves
    addresses by the hundred gigabytes beside a GPU), `files` are texts by name that it finds in its working folder's
    place: an argument `{name}` is replaced by the path of that file."""

    def __init__(
        self,
        arguments: Sequence[str],
        home: Path,
        seconds: float = SECONDS,
        memory: int | None = None,
        resident: int | None = None,
        files: dict[str, str] | None = None,
    ):
        self.seconds = seconds
        self.resident = resident
        self._answer: Answer | None = None
        self._stopped = False
        self._folder = tempfile.TemporaryDirectory(prefix="lpd-inquiry-")
        paths = {f"{{{name}}}": Path(self._folder.name) / name for name in files or {}}
        for name, text in (files or {}).items():
            paths[f"{{{name}}}"].write_text(text, encoding="utf-8", errors="replace")
        words = [_passable(str(paths.get(word, word))) for word in arguments]
        self._out = tempfile.TemporaryFile()
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lpd_core", *words, "--json"],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._said,
            start_new_session=True,
            env={**os.environ, "LPD_HOME": str(home), "OMP_NUM_THREADS": "1"},
        )
        if memory is not None and hasattr(resource, "prlimit"):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._process.pid, resource.RLIMIT_AS, (memory, memory))
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def poll(self) -> Answer | None:
        """The answer, or None while it is being worked on."""
        return self._answer

    def wait(self) -> Answer:
        """The answer, once it is there."""
        self._watcher.join()
        return self._answer or Answer(error="the question was given up")

    def stop(self) -> None:
        """Give the question up; its process ends."""
        self._stopped = True
        self._kill()

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> None:
        give_up = time.monotonic() + self.seconds
        while True:
            left = give_up - time.monotonic()
            try:
                self._process.wait(left if self.resident is None else max(0.0, min(left, LOOK_SECONDS)))
                self._close(self._read())
                return
            except subprocess.TimeoutExpired:
                broken = self._broken_limit(give_up)
            if broken:
                self._kill()
                self._process.wait()
                self._close(Answer(error=f"{broken}; the process was ended"))
                return

    def _broken_limit(self, give_up: float) -> str:
        if time.monotonic() >= give_up:
            return f"no answer within {self.seconds:.0f} s"
        if self.resident is not None and _held(self._process.pid) > self.resident:
            return f"it took more than {self.resident / 2**30:.1f} GiB of memory"
        return ""

    def _read(self) -> Answer:
        code = self._process.returncode
        if self._stopped:
            return Answer(error="the question was given up")
        if code < 0:
            name = signal.Signals(-code).name
            return Answer(error=f"the process died ({name}), most likely for want of memory")
        self._out.seek(0)
        told = self._out.read(TOLD_BYTES + 1)
        try:
            if len(told) > TOLD_BYTES:
                raise ValueError("too long")
            value = json.loads(told)
        except (ValueError, RecursionError):
            return Answer(error=self._last_words() or f"the process ended with code {code} and no answer")
        if isinstance(value, dict) and "error" in value:
            error = str(value["error"]).replace(f"{self._folder.name}/", "")
            return Answer(error=error, problems=tuple(map(str, value.get("problems", ()))))
        return Answer(value)

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read(2**20).decode("utf-8", "replace").strip().splitlines()
        told = [line for line in lines if line.startswith("error: ")] or lines
        return told[-1].removeprefix("error: ") if told else ""

    def _close(self, answer: Answer) -> None:
        self._out.close()
        self._said.close()
        self._folder.cleanup()
        self._answer = answer


def _held(process_id: int) -> int:
    """The bytes of memory that a process holds; 0 for one that is gone."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process_id).memory_info().rss
    return 0


def _passable(word: str) -> str:
    """The word as an argument of a process can be: no NUL, no half surrogate pair."""
    return word.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
