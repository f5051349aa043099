"""Home: what waits, what works, the best gain; one button on an empty installation."""

from __future__ import annotations

import shutil

from dashboard.conftest import open_page, words
from dashboard.test_runs import at_work
from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.queue import Queue, QueueState
from lpd_core.store import RunFolder, Store
from lpd_core.store import runs as run_table


def test_an_empty_installation_explains_itself_and_offers_one_button(home):
    app = open_page("home")
    said = words(app)
    for word in ("drafts", "proposes", "refines", "constitution", "trained"):
        assert word in said
    assert [button.label for button in app.main.button] == ["Start the demo run"]
    assert not home.exists()  # a look creates nothing


def test_one_click_starts_the_demo_and_lands_on_runs_watching_it(home, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start", lambda store, run: started.append(run))
    app = open_page("home")
    app.button(key="home.demo").click().run()
    assert started == ["demo-1"]
    assert Store(home).run("demo-1").config().review
    assert app.title[0].value == "Runs" and app.query_params["run"] in ("demo-1", ["demo-1"])
    assert "demo-1" in words(app)


def test_who_may_only_look_starts_nothing(home, monkeypatch):
    monkeypatch.setenv("LPD_EDIT_NEEDS_LOGIN", "1")
    app = open_page("home")
    app.button(key="home.demo").click().run()
    assert any("editing needs a login" in error.value for error in app.error)
    assert not home.exists()


def test_a_finished_run_is_listed_with_its_gain_and_interval(looking):
    looking("finished")
    app = open_page("home")
    row = app.dataframe[0].value.iloc[0]
    assert row["State"] == "finished" and row["Iterations"] == "2 of 2"
    assert "n = 24" in row["Gain over base [95 %]"] and "[" in row["Gain over base [95 %]"]
    assert app.metric[0].label == "Best held-out gain" and app.metric[0].value != "–"
    assert {"CPU", "Memory in use", "Disk free"} <= {metric.label for metric in app.metric}


def test_what_waits_for_review_stands_above_everything(looking):
    looking("waiting")
    app = open_page("home")
    assert "Waits for your review" in words(app) and "constitution of iteration 1" in words(app)
    assert app.dataframe[0].value.iloc[0]["State"] == "awaiting review"


def test_a_run_at_work_is_shown_with_its_bar(copied):
    folder = at_work(copied("finished"))
    with folder.driving():
        app = open_page("home")
    assert "At work" in words(app)
    assert "16 of 64 prompts" in app.get("progress")[0].proto.text.replace("\\", "")
    assert app.dataframe[0].value.iloc[0]["State"] == "running, iteration 1, E-step"


def test_a_halted_queue_is_told(home):
    store = Store(home)
    run = jobs.create_run(store, load_config("smoke")).run_id
    Queue(store)._write(QueueState(waiting=(run,), halted="run x failed: for a test"))
    app = open_page("home")
    assert "The queue has halted: run x failed" in words(app)


def test_each_run_is_read_once_however_many_there_are(home, monkeypatch):
    store = Store(home)
    first = jobs.create_run(store, load_config("smoke"))
    for number in range(2, 26):
        folder = store.runs / f"smoke-{number}"
        shutil.copytree(first.root, folder)
        run_table.add_run(store, folder.name, first.config(), {})
    open_page("home")
    reads = []
    state = RunFolder.state
    monkeypatch.setattr(RunFolder, "state", lambda self: reads.append(self.run_id) or state(self))
    app = open_page("home")
    assert len(app.dataframe[0].value) == 25
    assert sorted(reads) == sorted(set(reads)) and len(reads) == 25
