"""Hostile inputs get the answers that docs/reliability.md tells, in bounded time and memory."""

import subprocess
import sys

from conftest import PROJECT


def test_every_hostile_input_gets_the_line_that_the_document_tells():
    told = subprocess.run(
        [sys.executable, "-m", "tests.faults.hostile_inputs", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert int(told.stdout.split()[0]) >= 60
