"""A full disk and a folder that cannot be written to: one clear line, nothing half written."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from conftest import PROJECT, example_rows, write_jsonl

from tests.faults.disks import NoDisk, mounted


@pytest.fixture
def mount(tmp_path):
    """Mount a small tmpfs; needs root on Linux."""
    with ExitStack() as disks:

        def make(options):
            try:
                return disks.enter_context(mounted(tmp_path / f"mount {options}", options))
            except NoDisk as cause:
                pytest.skip(f"no tmpfs can be mounted here: {cause}")

        yield make


def call(home, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lpd_core", *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(home)},
        capture_output=True,
        text=True,
    )


def the_only_error(told):
    assert "Traceback" not in told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, told.stderr
    return lines[0]


def test_an_import_onto_a_full_disk_leaves_no_row_and_works_once_there_is_room(mount, tmp_path):
    disk = mount("size=600k")
    home = disk / "home"
    told = call(home, "data", "import", write_jsonl(tmp_path / "rows.jsonl", example_rows(50)))
    assert told.returncode == 2
    assert "disk is full" in the_only_error(told)
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    assert json.loads(call(home, "data", "list", "--json").stdout) == []
    again = call(home, "data", "import", tmp_path / "rows.jsonl", "--json")
    assert json.loads(again.stdout)["added"] is True


def test_an_import_that_fills_the_disk_writes_no_row(mount, tmp_path):
    home = mount("size=4m") / "home"
    assert (
        call(home, "data", "import", write_jsonl(tmp_path / "small.jsonl", example_rows(5))).returncode == 0
    )
    generous = [{"prompt": f"question {n}", "gold": os.urandom(2000).hex()} for n in range(2000)]
    told = call(home, "data", "import", write_jsonl(tmp_path / "large.jsonl", generous))
    assert told.returncode == 2
    assert "disk is full" in the_only_error(told)
    listed = call(home, "data", "list", "--json")
    assert '"n_rows": 5' in listed.stdout and '"large"' not in listed.stdout


@pytest.mark.parametrize("command", [["run", "--preset", "smoke"], ["data", "import", "ROWS"]])
def test_a_read_only_home_is_told_with_its_mend(mount, tmp_path, command):
    home = mount("ro,size=8m") / "home"
    rows = str(write_jsonl(tmp_path / "rows.jsonl", example_rows(5)))
    told = call(home, *(rows if word == "ROWS" else word for word in command))
    assert told.returncode == 2
    assert "LPD_HOME" in the_only_error(told)


def test_a_run_that_does_not_fit_the_disk_is_refused_before_it_starts(mount):
    home = mount("size=8m") / "home"
    told = call(home, "run", "--preset", "smoke")
    assert told.returncode == 2
    assert "free" in the_only_error(told)
    assert not home.exists()
