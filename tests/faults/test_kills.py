"""A run killed with -9 at random moments and resumed ends with the rows of one that was not."""

import os

import pytest
import tomli_w

from tests.faults.kills import call, compare, course, moments, run_with_kills, snapshot

KILLS = int(os.environ.get("LPD_FAULT_KILLS", "3"))


@pytest.mark.parametrize("target", ["driver", "stage"])
def test_a_killed_run_resumes_to_the_same_rows(tmp_path, scripted_settings, target):
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps({**scripted_settings, "iterations": 1}))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    told = call(whole, "run", "--config", str(config))
    assert told.returncode == 0, told.stderr
    stages = course(whole)
    done = run_with_kills(
        killed, ["--config", str(config)], target, moments(stages, KILLS, seed=KILLS), stages
    )
    assert done >= 1
    assert compare(snapshot(whole), snapshot(killed)) == []
