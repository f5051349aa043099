"""A run killed with -9, or whose disk was full, at random moments and then resumed ends with the rows of one that
was not."""

import pytest
import tomli_w
from conftest import small_settings

from tests.faults.disks import NoDisk, mounted
from tests.faults.kills import (
    call,
    compare,
    course,
    moments,
    run_with_full_disks,
    run_with_kills,
    snapshot,
)

KILLS = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The words that start a run, and the home of one that went undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "run.toml"
    config.write_text(tomli_w.dumps({**small_settings(folder), "iterations": 1}))
    start = ["--config", str(config)]
    told = call(folder / "home", "run", *start)
    assert told.returncode == 0, told.stderr
    return start, folder / "home"


@pytest.mark.parametrize("target", ["driver", "stage"])
def test_a_killed_run_resumes_to_the_same_rows(tmp_path, whole, target):
    start, undisturbed = whole
    stages, killed = course(undisturbed), tmp_path / "killed"
    assert run_with_kills(killed, start, target, moments(stages, KILLS, seed=KILLS), stages) >= 1
    assert compare(snapshot(undisturbed), snapshot(killed)) == []


def test_a_run_whose_disk_was_full_resumes_to_the_same_rows(tmp_path, whole):
    start, undisturbed = whole
    stages, home = course(undisturbed), tmp_path / "small disk"
    try:
        with mounted(home, "size=100m"):
            assert run_with_full_disks(home, start, moments(stages, KILLS, seed=KILLS), stages) >= 1
            assert compare(snapshot(undisturbed), snapshot(home)) == []
    except NoDisk as cause:
        pytest.skip(f"no tmpfs can be mounted here: {cause}")
