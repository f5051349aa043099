"""The queue and what keeps runs: nothing lost on a kill, one run after the other, refusals in one line."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import run_inline

from lpd_core import jobs
from lpd_core.config import parse_config
from lpd_core.driver import drive
from lpd_core.errors import ConfigError, LpdError, UserError
from lpd_core.housekeeping import clone_run, delete_run, plan_deletion, rename_run
from lpd_core.queue import Queue, QueueState, place_of
from lpd_core.store import RunState
from lpd_core.store import runs as run_table


@pytest.fixture
def small(scripted_settings) -> dict:
    """A run of one iteration."""
    scripted_settings["iterations"] = 1
    scripted_settings["data"]["prompts_per_iteration"] = [4]
    return scripted_settings


@pytest.fixture
def queue(store):
    """The queue of a fresh home; a worker that a test leaves behind is ended."""
    made = Queue(store)
    yield made
    for pid in _workers(store.home):
        os.kill(pid, signal.SIGKILL)


def _workers(home: Path) -> list[int]:
    """The processes that work this home's queue."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if b"work-queue" in (entry / "cmdline").read_bytes():
                environment = (entry / "environ").read_bytes().split(b"\0")
                if f"LPD_HOME={home}".encode() in environment:
                    found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def new_runs(store, settings: dict, count: int, **changes) -> list[str]:
    """Runs just created."""
    return [jobs.create_run(store, parse_config({**settings, **changes})).run_id for _ in range(count)]


def short_runs(store, settings: dict, count: int, **changes) -> list[str]:
    """Stopped runs whose stages are all there, so that their drivers are through at once."""
    made = new_runs(store, settings, count, **changes)
    for run in made:
        with suppress(LpdError):
            drive(store, run, inline=True)
        store.run(run).write_state(RunState("stopped"))
    return made


def wait_until(condition, seconds: float = 300.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.1)


def test_queued_runs_run_one_after_the_other_and_the_worker_ends(store, queue, small):
    runs = short_runs(store, small, 2)
    for place, run in enumerate(runs, start=1):
        assert queue.add(run) <= place
    assert queue.is_worked()
    wait_until(lambda: not queue.is_worked())
    rows = {row["run_id"]: row for row in run_table.list_runs(store)}
    assert [rows[run]["status"] for run in runs] == ["finished", "finished"]
    first, second = (store.run(run).events()[0] for run in runs)
    assert first[-1][0] <= [at for at, event in second if getattr(event, "status", "") == "running"][-1]
    assert queue.read() == QueueState()


def test_a_killed_worker_loses_no_run_and_another_goes_on(store, queue, small):
    runs = short_runs(store, small, 3)
    for run in runs:
        queue.add(run)
    wait_until(lambda: queue.read().current)
    at = runs.index(queue.read().current)
    for pid in _workers(store.home):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not queue.is_worked())
    left = queue.read()
    assert {left.current, *left.waiting} >= {*runs[at + 1 :]}
    assert queue.is_stalled()
    queue.go_on()
    wait_until(lambda: not queue.is_worked() and not queue.read().waiting)
    assert {store.run(run).state().status for run in runs} == {"finished"}


def test_a_run_given_its_turn_but_never_started_is_started_by_the_next_worker(store, queue, small):
    (run,) = short_runs(store, small, 1)
    queue._write(QueueState(current=run))  # as a kill between the two leaves it
    assert queue.is_stalled()
    queue.work()
    assert store.run(run).state().status == "finished"


def test_the_queue_halts_after_a_failure_and_says_why(store, queue, small):
    bad = short_runs(store, small, 1, e_step={**small["e_step"], "margin": 0.99})
    good = short_runs(store, small, 1)
    queue._write(QueueState(waiting=(*bad, *good)))
    queue.work()
    state = queue.read()
    assert state.waiting == tuple(good)
    assert bad[0] in state.halted and "training rows" in state.halted
    assert not queue.is_stalled()


def test_with_continue_on_error_the_next_run_follows_a_failure(store, queue, small):
    bad = short_runs(store, small, 1, e_step={**small["e_step"], "margin": 0.99})
    good = short_runs(store, small, 1)
    queue._write(QueueState(waiting=(*bad, *good)))
    queue.set_continue_on_error(True)
    queue.work()
    assert store.run(bad[0]).state().status == "failed"
    assert store.run(good[0]).state().status == "finished"


def test_a_run_that_waits_for_review_lets_the_next_one_start_and_queues_again_when_approved(
    store, queue, small
):
    from lpd_core import gate

    reviewed = short_runs(store, small, 1, review=True)[0]
    other = short_runs(store, small, 1)[0]
    queue._write(QueueState(waiting=(reviewed, other)))
    queue.work()
    assert store.run(reviewed).state().status == "awaiting_review"
    assert store.run(other).state().status == "finished"
    with pytest.raises(UserError, match="waits for a review"):
        queue.add(reviewed)
    gate.approve(store, store.run(reviewed), 1, author="tester", message="fine")
    jobs.release(store, store.run(reviewed))
    queue.add(reviewed)
    wait_until(lambda: not queue.is_worked())
    assert store.run(reviewed).state().status == "finished"


def test_an_approved_run_starts_at_once_or_waits_behind_what_is_at_work(store, queue, small, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "resume", lambda store, run: started.append(run) or 0)
    monkeypatch.setattr(Queue, "attend", lambda self: None)
    other, approved = new_runs(store, small, 2)
    with store.run(other).driving():
        assert queue.start_or_add(approved) == 1
    assert queue.read().waiting == (approved,) and not started
    queue.cancel(approved)
    assert queue.start_or_add(approved) == 0
    assert started == [approved] and queue.read() == QueueState()


def test_waiting_runs_are_moved_and_cancelled_and_each_refusal_says_why(store, queue, small):
    runs = new_runs(store, small, 3)
    queue._write(QueueState(waiting=tuple(runs), halted="a failure", continue_on_error=True))
    queue.move(runs[2], 1)
    assert queue.read().waiting == (runs[2], runs[0], runs[1])
    queue.move(runs[2], 99)
    assert queue.read().waiting == tuple(runs)
    queue.cancel(runs[1])
    state = queue.read()
    assert state.waiting == (runs[0], runs[2]) and state.continue_on_error
    assert place_of(state, runs[2]) == 2 and place_of(state, runs[1]) is None
    with pytest.raises(UserError, match="does not wait"):
        queue.cancel(runs[1])
    with pytest.raises(UserError, match="already"):
        queue.add(runs[0])


def test_a_deleted_run_leaves_the_queue_and_a_damaged_queue_file_is_an_empty_queue(store, queue, small):
    runs = new_runs(store, small, 2)
    queue._write(QueueState(waiting=tuple(runs)))
    delete_run(store, runs[0])
    assert queue.read().waiting == (runs[1],)
    queue.path.write_text('{"waiting": 7')
    assert queue.read() == QueueState()


def test_a_damaged_queue_file_is_kept_when_the_queue_changes(store, queue, small):
    new_runs(store, small, 1)
    queue.path.write_text('{"waiting": ["small-1"')
    queue.set_continue_on_error(True)
    assert queue.read() == QueueState(continue_on_error=True)
    assert queue.path.with_name("queue.json.damaged").read_text() == '{"waiting": ["small-1"'


def test_looking_at_the_queue_of_an_empty_installation_creates_nothing(store):
    queue = Queue(store)
    assert not queue.is_stalled() and queue.read() == QueueState()
    assert not store.home.exists()


def test_a_run_is_renamed_in_the_database_and_keeps_its_id(store, small):
    (run,) = new_runs(store, small, 1)
    assert rename_run(store, run, "  first try ") == "first try"
    assert run_table.list_runs(store)[0]["name"] == "first try"
    with pytest.raises(ConfigError, match="name"):
        rename_run(store, run, "a/b")


def test_a_clone_has_the_settings_of_its_source_and_those_laid_over_it(store, small):
    (run,) = new_runs(store, small, 1)
    clone = clone_run(store, run, name="again", settings=["seed=7", "e_step.n=2"])
    before, after = store.run(run).config(), clone.config()
    assert (after.name, after.seed, after.e_step.n) == ("again", 7, 2)
    assert after.data == before.data and after.cluster == before.cluster
    assert clone.state().status == "queued" and not clone.is_driven()


def test_deleting_a_run_takes_its_folder_and_every_row_and_nothing_of_others(store, small):
    gone, kept = (run_inline(store, small).run_id for _ in range(2))
    plan = plan_deletion(store, gone)
    assert plan.size == store.run(gone).size() > 1000 and plan.rows > 20
    before = plan_deletion(store, kept).rows
    assert delete_run(store, gone) == plan.size
    assert store.run_ids() == [kept] and not list(store.runs.glob(f"*{gone}*"))
    assert run_table.count_rows(store, gone) == 0
    assert plan_deletion(store, kept).rows == before
    assert jobs.create_run(store, parse_config(small)).run_id == gone  # the id is free again


def test_a_run_at_work_is_not_deleted(store, small):
    (run,) = new_runs(store, small, 1)
    folder = store.run(run)
    with folder.driving(), pytest.raises(UserError, match="stop it first"):
        delete_run(store, run)
    folder.write_state(RunState("stopped"))
    delete_run(store, run)
    assert store.run_ids() == []


def test_a_plan_names_the_runs_that_build_on_a_checkpoint(store, small, tmp_path):
    (run,) = new_runs(store, small, 1)
    model = store.run(run).checkpoint(1)
    model.mkdir(parents=True)
    (other,) = new_runs(store, small, 1, model={"path": str(model)})
    assert plan_deletion(store, run).builds_on_it == (other,)


def test_the_id_of_a_deleted_run_is_taken_again_without_its_place_in_the_queue(store, small):
    queue = Queue(store)
    kept, gone = new_runs(store, small, 2)
    queue._write(QueueState(waiting=(kept, gone), halted="a failure"))
    delete_run(store, gone)
    assert new_runs(store, small, 1) == [gone]
    assert queue.read().waiting == (kept,)


def test_a_run_that_is_deleted_while_the_queue_looks_is_no_run_at_work(store, small, monkeypatch):
    (run,) = new_runs(store, small, 1)
    monkeypatch.setattr(type(store), "run_ids", lambda self: [run, "deleted-1"])
    assert not Queue(store)._is_busy()
