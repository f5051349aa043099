"""The Runs page: right words in every state, every action by click, the queue, and long files that do not hurt."""

from __future__ import annotations

import os
import time

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.conftest import open_page, words
from lpd_core import gate, jobs
from lpd_core.config import load_config
from lpd_core.events import Measured, Progress, ReplicaSeen, StageStarted, StatusChanged, Warned
from lpd_core.housekeeping import clone_run
from lpd_core.queue import Queue, QueueState
from lpd_core.store import RunState, Store
from lpd_core.store import runs as run_table


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def at_work(home, silent: float = 0.0):
    """The home's run as if its E-step were at work in another process; its folder. Hold `driving()` around looks."""
    folder = Store(home).run("last")
    lines = [
        StatusChanged("running", 1, "e_step"),
        StageStarted(1, "e_step", 64, "prompts"),
        Progress(1, "e_step", 16, 64, {"work": 4.0, "tokens": 800}),
        Warned(1, "e_step", "a <b>strange</b> row ![x](http://x)"),
    ]
    (folder.root / "events.jsonl").unlink(missing_ok=True)
    for event in lines:
        folder.emit(event)
    if silent:
        path = folder.root / "events.jsonl"
        path.write_text(path.read_text().replace('"at": ', '"at": -'))
        now = time.time() - silent
        path.write_text(
            "".join(f'{{"at": {now}{line[line.index(",") :]}\n' for line in path.read_text().splitlines())
        )
    folder.write_state(RunState("running", 1, "e_step", pid=os.getpid()))
    return folder


@pytest.fixture
def fresh(home):
    """A home with three runs of the scripted fake, none started."""
    store = Store(home)
    for _ in range(3):
        jobs.create_run(store, load_config("smoke", None, ["iterations=1"]))
    return store


def test_an_empty_installation_is_sent_home(home):
    app = open_page("runs")
    assert "No runs yet" in words(app) and not app.exception


def test_a_finished_run_shows_its_stages_acceptance_and_results(looking):
    looking("finished")
    app = open_page("runs")
    assert "finished" in words(app)
    stages = next(frame.value for frame in app.dataframe if "Progress" in frame.value)
    assert {"E-step", "M-step", "evaluation", "clustering", "relabelling"} <= set(stages["Stage"])
    assert (stages["Progress"] == 1.0).all()
    assert "40 of 40 prompts" in set(stages["Done"])
    assert "Stop" not in labels(app) and not app.progress
    assert all(name in words(app) for name in ("Candidates that gained", "nats a token", "Time at work"))


def test_a_failed_run_shows_cause_last_lines_and_what_to_do(looking):
    looking("failed")
    app = open_page("runs")
    said = words(app)
    assert "no training rows" in said and "What to do." in said and "e_step.margin" in said
    assert "Resume" in labels(app)


def test_a_failed_stage_process_shows_the_end_of_its_log(copied):
    home = copied("failed")
    folder = Store(home).run("last")
    (folder.logs / "001-m_step.log").write_text("".join(f"line {n}\n" for n in range(100)))
    app = open_page("runs")
    shown = app.code[0].value.splitlines()
    assert len(shown) == 30 and shown[-1] == "line 99"


def test_a_run_that_waits_for_review_links_to_its_constitution(looking):
    looking("waiting")
    app = open_page("runs")
    assert "awaiting review" in words(app)
    links = {link.proto.label for link in app.get("page_link")}
    assert "Read and approve the constitution" in links


def test_a_run_approved_by_somebody_who_was_killed_then_has_a_way_on(copied):
    store = Store(copied("waiting"))
    folder = store.run("last")
    gate.approve(store, folder, folder.state().iteration, "ann", "fine")
    app = open_page("runs")
    assert app.button(key="runs.resume").label == "Resume"


def test_a_run_at_work_shows_its_bar_with_rates_and_time_left(copied):
    folder = at_work(copied("finished"))
    with folder.driving():
        app = open_page("runs")
    (bar,) = [element for element in app.main if element.type == "progress"] or app.get("progress")
    text = bar.proto.text.replace("\\", "")
    assert "E-step, iteration 1: 16 of 64 prompts (25 %)" in text
    assert "4 prompts/s" in text and "200 tokens/s" in text and "left" in text
    assert "Stop" in labels(app)
    assert any("<b>strange</b>" in element.value for element in app.text)


def test_a_run_on_several_nodes_shows_its_replicas_stragglers_and_what_was_lost(copied):
    folder = at_work(copied("finished"))
    rates = {"refine a1": 900, "refine b2": 1000, "refine c3": 300}
    for n, (name, tokens) in enumerate(rates.items()):
        folder.emit(
            ReplicaSeen(1, "e_step", name, f"10.0.0.{n}", "refine", pieces=3, tokens=tokens, seconds=2.0)
        )
    folder.emit(ReplicaSeen(1, "e_step", "draft <i>d4</i>", "10.0.0.9", "draft", "lost", 1, lost=2))
    folder.emit(ReplicaSeen(1, "e_step", "draft e5", "10.0.0.1", "draft", "idle", 4, redone=2))
    with folder.driving():
        app = open_page("runs")
    said = words(app).replace("\\", "")
    assert "4 replicas on 3 nodes" in said and "chunks: 2 lost, 2 redone" in said and "1 lost" in said
    table = next(frame.value for frame in app.dataframe if "Redone" in frame.value).set_index("Replica")
    assert list(table.loc["refine c3", ["State", "Tokens/s"]]) == ["working, slow", 150]
    assert list(table.loc["draft <i>d4</i>", ["State", "Node", "Lost"]]) == ["lost", "10.0.0.9", 2]
    assert not app.exception


def test_a_run_without_progress_is_flagged(copied):
    folder = at_work(copied("finished"), silent=1200.0)
    with folder.driving():
        app = open_page("runs")
    assert any("No progress for 20 min" in warning.value for warning in app.warning)


def test_a_run_whose_driver_died_is_interrupted_and_says_what_to_do(copied):
    at_work(copied("finished"))
    app = open_page("runs")
    assert "died without a word" in words(app) and "killed from outside" in words(app)
    assert "Resume" in labels(app)


def test_stop_and_resume_by_click(copied):
    home = copied("waiting")
    store = Store(home)
    run = clone_run(store, "last", settings=["sampler.kind=scripted", "cluster.embedder=hash"]).run_id
    app = open_page("runs", run=run)
    press(app, "runs.resume")
    assert store.run(run).state().status in ("queued", "running")
    assert "Stop" in labels(app.run())
    press(app, "runs.stop")
    assert store.run(run).state().status == "stopped"
    assert "Resume" in labels(app) or "Start" in labels(app)


def test_rename_by_click_and_a_bad_name_is_refused_where_it_was_given(copied):
    home = copied("finished")
    app = open_page("runs")
    name = next(box for box in app.text_input if box.label == "Name")
    name.set_value("first try")
    next(button for button in app.button if button.label == "Rename").click().run()
    assert run_table.list_runs(Store(home))[0]["name"] == "first try"
    assert "first try" in words(app)
    next(box for box in app.text_input if box.label == "Name").set_value("a/b")
    next(button for button in app.button if button.label == "Rename").click().run()
    assert any("name" in error.value for error in app.error) and not app.exception
    assert run_table.list_runs(Store(home))[0]["name"] == "first try"


def test_delete_asks_with_the_size_and_then_takes_the_run_away(copied):
    home = copied("finished")
    store = Store(home)
    run = store.run("last").run_id
    app = press(open_page("runs"), "runs.delete")
    assert "freed" in words(app) + " ".join(element.value for element in app.markdown)
    assert store.run_ids() == [run]
    app.button(key="runs.delete").click()  # AppTest runs the whole page where a browser runs the dialog alone
    press(app, "runs.delete.do")
    assert store.run_ids() == [] and run_table.count_rows(store, run) == 0
    assert "No runs yet" in words(app.run())


def test_a_run_at_work_offers_no_deletion(copied):
    folder = at_work(copied("finished"))
    with folder.driving():
        app = open_page("runs")
        assert app.button(key="runs.delete").disabled


def test_the_queue_is_reordered_cancelled_and_switched_by_click(fresh):
    queue = Queue(fresh)
    first, second, third = fresh.run_ids()
    queue._write(QueueState(waiting=(first, second, third), halted="run x failed: for a test"))
    app = open_page("runs", run=first)
    assert any("run x failed" in warning.value.replace("\\", "") for warning in app.warning)
    assert app.button(key=f"queue.Up.{first}").disabled and app.button(key=f"queue.Down.{third}").disabled
    press(app, f"queue.Up.{third}")
    assert queue.read().waiting == (first, third, second)
    press(app, f"queue.Down.{first}")
    assert queue.read().waiting == (third, first, second)
    press(app, f"queue.cancel.{first}")
    assert queue.read().waiting == (third, second)
    app.toggle[0].set_value(True).run()
    assert queue.read().continue_on_error
    frame = next(frame.value for frame in app.dataframe if "State" in frame.value)
    assert "queued, place 1 in the queue" in set(frame["State"])


def test_an_unattended_queue_is_noticed_and_started_again_by_click(fresh, monkeypatch):
    run = fresh.run_ids()[0]
    Queue(fresh)._write(QueueState(waiting=(run,)))
    started = []
    monkeypatch.setattr(Queue, "attend", lambda self: started.append(self.read().waiting))
    app = open_page("runs", run=run)
    assert any("Nobody works the queue" in warning.value for warning in app.warning)
    press(app, "queue.restart")
    assert started == [(run,)]


def test_add_to_the_queue_by_click(fresh, monkeypatch):
    monkeypatch.setattr(Queue, "attend", lambda self: None)
    run = fresh.run_ids()[1]
    app = press(open_page("runs", run=run), "runs.enqueue")
    assert Queue(fresh).read().waiting == (run,)
    assert "place 1 in the queue" in words(app)


def test_who_may_only_look_changes_nothing(fresh, monkeypatch):
    monkeypatch.setenv("LPD_EDIT_NEEDS_LOGIN", "1")
    run = fresh.run_ids()[0]
    app = press(open_page("runs", run=run), "runs.resume")
    assert any("editing needs a login" in error.value for error in app.error)
    assert not fresh.run(run).state().pid


def test_a_log_is_searched_and_a_huge_one_costs_little(copied):
    home = copied("finished")
    folder = Store(home).run("last")
    with open(folder.logs / "driver.log", "wb") as file:
        file.truncate(200_000_000)
        file.seek(0, 2)
        file.write(b"\nneedle 1\nhay\nneedle 2\n")
    app = open_page("runs")
    app.selectbox(key=f"runs.log.{folder.run_id}").select("driver.log").run()
    app.text_input(key=f"runs.search.{folder.run_id}").set_value("NEEDLE").run()
    assert app.code[-1].value == "needle 1\nneedle 2"
    started = time.process_time()
    app.run()
    assert time.process_time() - started < 2.0


def test_events_of_a_hundred_megabytes_are_read_a_little_at_a_time(copied):
    home = copied("finished")
    folder = Store(home).run("last")
    path = folder.root / "events.jsonl"
    folder.emit(Measured(2, "m_step", 1, "loss", 1.0))
    line = path.read_bytes().splitlines(keepends=True)[-1]
    with open(path, "ab") as file:
        for _ in range(100):
            file.write(line * (1_000_000 // len(line)))
    open_page("runs")
    started = time.process_time()
    app = open_page("runs")
    assert time.process_time() - started < 6.0  # without the cap: half a minute
    assert any("Reading its events" in caption.value for caption in app.caption)
