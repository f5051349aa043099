"""What is the environment's failure, what a mistake, what a bug: exit codes and words."""

import errno
import sys

import pytest

from lpd_core import execution, jobs
from lpd_core.cli import main
from lpd_core.config import parse_config
from lpd_core.driver import drive
from lpd_core.errors import Interrupted, StageFailed, UserError, boundary
from lpd_core.store import RunState


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free some space"),
        (ValueError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3"), "the disk is full"),
        (
            RuntimeError("CUDA error: device-side assert\nmore"),
            r"the GPU gave way \(CUDA error: device-side assert\)",
        ),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_failure_of_the_environment_interrupts_and_can_be_resumed(cause, told):
    with (
        pytest.raises(Interrupted, match=f"could not train it: {told}") as caught,
        boundary(StageFailed, "train it"),
    ):
        try:
            raise cause
        except Exception as inner:
            raise RuntimeError("the library's own words") from inner
    assert "\n" not in str(caught.value)


def test_any_other_failure_is_the_stages_own():
    with (
        pytest.raises(StageFailed, match="could not train it: RuntimeError: shapes"),
        boundary(StageFailed, "train it"),
    ):
        raise RuntimeError("shapes")


def test_a_process_that_dies_before_its_first_word_is_told_by_the_last_line_that_says_something(
    store, scripted_settings, tmp_path, monkeypatch
):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho Fatal: no memory\necho\nexit 1\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(execution, "stage_python", lambda config, name: str(interpreter))
    run = jobs.create_run(store, parse_config(scripted_settings)).run_id
    with pytest.raises(StageFailed, match="stage evaluate of iteration 0 failed: Fatal: no memory; see /"):
        drive(store, run)


def run(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    """The exit code and what stands on stderr."""
    monkeypatch.setattr(sys, "argv", ["lpd_core", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_named_in_one_line(monkeypatch, capsys, tmp_path, home):
    taken = tmp_path / "a file"
    taken.write_text("x")
    words = ("cluster-files", "--for", "slurm", "--preset", "paper", "--out", str(taken))
    code, told = run(monkeypatch, capsys, *words)
    assert code == 2 and told == f"error: cannot use {taken}: File exists\n"


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        ("awaiting_review", UserError, r"waits for a person at iteration 1: `approve \S+-1`"),
        ("interrupted", Interrupted, "the same command goes on"),
        ("failed", StageFailed, "the same command goes on"),
    ],
)
def test_a_line_of_the_table_that_waits_or_broke_off_says_how_it_goes_on(
    monkeypatch, store, scripted_settings, status, error, told
):
    from lpd_core import jobs, lines
    from lpd_core.cli import evaluate, follow
    from lpd_core.config import parse_config

    run = lines.planned(store, parse_config(scripted_settings), [1])[0]
    monkeypatch.setattr(jobs, "start", lambda store, run_id: 1)
    monkeypatch.setattr(jobs, "wait_for_driver", lambda folder, pid: None)
    monkeypatch.setattr(
        follow, "follow", lambda folder, since: RunState(status, 1, "cluster", "for a reason")
    )
    with pytest.raises(error, match=told):
        evaluate._bring_to_end(store, run, "1 of 4")
