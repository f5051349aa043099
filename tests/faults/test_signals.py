"""Signals in every stage and a clock that is set back: the run ends with the rows of one that nobody disturbed."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from conftest import run_inline, small_settings

from lpd_core import driver, jobs, loop
from lpd_core.config import parse_config
from lpd_core.driver import Stopped, drive
from lpd_core.events import Progress, StageStarted
from lpd_core.progress import RunProgress
from lpd_core.store import Store
from tests.faults.kills import compare, snapshot

STAGES = ("e_step", "cluster", "relabel", "m_step", "evaluate")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The data and the rows of an undisturbed run of one iteration."""
    folder = tmp_path_factory.mktemp("whole")
    settings = {**small_settings(folder), "iterations": 1}
    run_inline(Store(folder / "home"), settings)
    return settings, snapshot(folder / "home")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_in_every_stage_stops_the_run_and_a_resume_goes_on(store, whole, monkeypatch, number):
    settings, rows = whole
    left = list(STAGES)

    def disturbed(name, run):
        def work(stage):
            if name in left:
                left.remove(name)
                os.kill(os.getpid(), number)
            run(stage)

        return work

    for name in STAGES:
        work = loop.STAGES[name]
        monkeypatch.setitem(
            loop.STAGES, name, loop.Work(disturbed(name, work.run), work.summarise, work.sharded)
        )
    folder = jobs.create_run(store, parse_config(settings))
    for _ in STAGES:
        with pytest.raises(Stopped):
            drive(store, folder.run_id, inline=True)
        assert folder.state().status == "stopped" and not folder.is_driven()
    drive(store, folder.run_id, inline=True)
    assert left == []
    assert compare(rows, snapshot(store.home)) == []


def test_a_signal_while_the_database_answers_stops_the_run_too(store, whole, monkeypatch):
    """DuckDB ends the query with an error of its own in the place of what the signal's handler raised."""
    settings, rows = whole
    folder = jobs.create_run(store, parse_config(settings))

    def ask_for_long(store, folder):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        store.database.query(
            "select count(*) from range(100000000) a, range(1000) b where a.range % 7 = b.range % 5"
        )

    with monkeypatch.context() as disturbed:
        disturbed.setattr(driver, "_begin", ask_for_long)
        with pytest.raises(Stopped):
            drive(store, folder.run_id, inline=True)
    assert folder.state().status == "stopped" and not folder.state().error
    drive(store, folder.run_id, inline=True)
    assert compare(rows, snapshot(store.home)) == []


def test_a_run_under_a_clock_that_goes_backwards_ends_with_the_same_rows(store, whole, monkeypatch):
    settings, rows = whole
    now = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    folder = jobs.create_run(store, parse_config(settings))
    drive(store, folder.run_id, inline=True)
    assert folder.state().status == "finished"
    assert compare(rows, snapshot(store.home)) == []


def test_the_stage_at_work_and_its_time_left_survive_a_clock_set_back():
    progress = RunProgress()
    progress.take(5000.0, StageStarted(1, "e_step", 10, "prompts"))
    progress.take(5010.0, Progress(1, "e_step", 10, 10, {"work": 9.0}))
    progress.take(1000.0, StageStarted(1, "cluster", 4, "steps"))
    progress.take(1001.0, Progress(1, "cluster", 1, 4, {"work": 1.0}))
    assert progress.latest.stage == "cluster"
    assert progress.latest.eta(900.0) == pytest.approx(3.0)
    assert progress.silent_for(1001.0 + 301) is not None


@pytest.mark.parametrize(
    "error", [None, ValueError("broken")], ids=["after the last stage", "after an error"]
)
def test_a_signal_between_the_loop_and_the_last_word_leaves_a_stopped_run(store, whole, monkeypatch, error):
    settings, rows = whole
    folder = jobs.create_run(store, parse_config(settings))

    def end(*arguments):
        if error:
            raise error
        return loop.Outcome("finished", 1, None)

    def late():
        os.kill(os.getpid(), signal.SIGTERM)
        ignore()

    ignore = driver._ignore_signals
    with monkeypatch.context() as disturbed:
        disturbed.setattr(driver, "_loop", end)
        disturbed.setattr(driver, "_ignore_signals", late)
        with pytest.raises(Stopped):
            drive(store, folder.run_id, inline=True)
    assert folder.state().status == "stopped"
    drive(store, folder.run_id, inline=True)
    assert compare(rows, snapshot(store.home)) == []
