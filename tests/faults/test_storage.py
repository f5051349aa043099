"""A full disk and a folder that cannot be written to: one clear line, nothing half written."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import PROJECT, example_rows, write_jsonl


@pytest.fixture
def mount(tmp_path):
    """Mount a small tmpfs; needs root on Linux."""
    mounted = []

    def make(options):
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        told = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if told.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {told.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


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


def test_a_disk_that_fills_up_during_a_run_interrupts_it_and_resume_goes_on(mount, tmp_path):
    folder = mount("size=40m")
    home = folder / "home"
    started = call(home, "run", "--preset", "smoke", "--set", "iterations=1", "--detach")
    assert started.returncode == 0, started.stderr
    ballast = folder / "ballast"
    with open(ballast, "wb") as file:
        try:
            while True:
                file.write(b"0" * 65536)
                file.flush()
        except OSError:
            pass
    give_up = time.monotonic() + 120
    while '"status": "interrupted"' not in call(home, "status", "last", "--json").stdout:
        assert time.monotonic() < give_up
        time.sleep(0.3)
    assert json.loads(call(home, "status", "last", "--json").stdout)["status"] == "interrupted"
    ballast.unlink()
    resumed = call(home, "resume", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert call(home, "check", "--run", "last").returncode == 0
