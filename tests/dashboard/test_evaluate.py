"""The page that says whether the model got better."""

from __future__ import annotations

import time

import pytest

from dashboard.conftest import open_page, words
from dashboard.test_trajectories import address, run_of
from lpd_core.statistics import compare_scores
from lpd_core.store import Store, evaluating


@pytest.fixture
def finished(looking):
    home = looking("finished")
    return Store(home), run_of(home)


def scores(store, run, iteration):
    rows = evaluating.final_scores(store, run, "test")
    return {row["prompt_id"]: row["score"] for row in rows if row["iteration"] == iteration}


def steps(app):
    return next(each.value for each in app.dataframe if "Comparison" in each.value.columns)


def test_the_steps_are_the_paired_comparisons_with_n_and_interval(finished):
    store, run = finished
    app = open_page("evaluate", run=run)
    assert not app.exception
    shown = steps(app)
    assert list(shown["Comparison"]) == ["M_1 over M_0", "M_2 over M_1"]
    found = compare_scores(scores(store, run, 2), scores(store, run, 1), 1000)
    last = shown.iloc[1]
    assert (last["Wins"], last["Ties"], last["Losses"]) == (found.wins, found.ties, found.losses)
    assert f"{found.win_rate.mean:.3f} [{found.win_rate.low:.3f}" in last["Win rate"]
    assert f"n = {found.win_rate.n}" in last["Win rate"]


def test_the_comparison_with_the_base_model_has_an_address(finished):
    _, run = finished
    app = open_page("evaluate", run=run)
    app.segmented_control(key="evaluate.against").set_value("base").run()
    assert address(app)["against"] == "base"
    again = open_page("evaluate", **address(app))
    assert list(steps(again)["Comparison"]) == ["M_1 over M_0", "M_2 over M_0"]


def test_without_a_judge_the_page_says_how_to_ask_one(finished):
    _, run = finished
    app = open_page("evaluate", run=run, view="judged")
    assert any(f"evaluate {run} --judge" in each.value for each in app.code)


def test_principles_are_measured_in_a_process_when_asked_for(finished):
    _, run = finished
    app = open_page("evaluate", run=run, view="principles")
    app.button(key="evaluate.measure").click().run()
    assert address(app)["principles"] == "1"
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and not any("principle" in each.value.columns for each in app.dataframe):
        time.sleep(1)
        app.run()
    shown = next(each.value for each in app.dataframe if "effect on f" in each.value.columns)
    assert len(shown) > 0
    assert not app.exception
    app.session_state["evaluate.strengths"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    links = {each.proto.label: each.proto.query_string for each in app.get("page_link")}
    assert f"cluster={shown['id'].iloc[0]}" in links["The candidates that state it"]
    assert f"entry={shown['id'].iloc[0]}" in links["Its entry and members"]


def test_an_empty_home_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LPD_HOME", str(tmp_path / "home"))
    app = open_page("evaluate")
    assert not app.exception
    assert "nothing to evaluate yet" in words(app)


def test_categories_too_small_for_an_interval_are_left_out_and_counted():
    from pages.components.measured import by_category

    rows = [
        {"iteration": t, "prompt_id": f"{name}{n}", "category": name, "score": 0.1 * t + 0.01 * n}
        for t in (0, 1)
        for name, size in (("large", 8), ("small", 2))
        for n in range(size)
    ]
    drawn, left_out = by_category(rows, "previous")
    assert [row["name"] for row in drawn] == ["large (n = 8)"]
    assert drawn[0]["mean"] == pytest.approx(0.1)
    assert left_out == 1
