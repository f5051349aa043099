"""Runs a command and ends it, children included, when the process that started this one is gone, even by kill -9.

`python -m lpd_core.samplers.keeper COMMAND ...`: its standard input is a pipe whose other end the parent holds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_SECONDS = 10.0


def keep(command: list[str]) -> int:
    """Run the command until it ends or standard input does; its exit code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        while os.read(0, 4096):  # not through sys.stdin, whose lock would outlive this thread
            pass
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)

    threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    with suppress(ProcessLookupError):  # what the command itself left behind
        os.killpg(process.pid, signal.SIGKILL)
    return code


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
