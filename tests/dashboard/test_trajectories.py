"""The page of trajectories: filters kept in the address, the card of one prompt, its neighbours, hostile texts."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.conftest import open_page, words
from dashboard.hostile import LONG, dangers, hostile  # noqa: F401
from lpd_core.store import Store, exploring
from lpd_core.store.exploring import Filter


def frame(app, key: str):
    """The table of that key."""
    return next(each for each in app.dataframe if each.key == key).value


def address(app) -> dict[str, str]:
    """The page's address, each value as one text (AppTest gives those set by the page as texts, others as lists)."""
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def text_of(app) -> str:
    """All text boxes, tags taken out."""
    return " ".join(re.sub("<[^>]*>", "", each.proto.body) for each in app.main if each.type == "html")


def run_of(home) -> str:
    return Store(home).run_ids()[-1]


@pytest.fixture
def finished(looking):
    home = looking("finished")
    return Store(home), run_of(home)


def test_the_list_counts_its_candidates_and_shows_a_page_of_them(finished):
    store, run = finished
    found = exploring.listing(store, Filter(run, 1))
    app = open_page("trajectories", run=run, iteration="1")
    assert not app.exception
    assert f"{found.total:,} candidates" in words(app)
    assert len(frame(app, "trajectories.table")) == 50


def test_filters_in_the_address_narrow_the_list_and_are_shown_in_the_bar(finished):
    store, run = finished
    app = open_page("trajectories", run=run, iteration="1", status="accepted", gain="0.2..", order="loss")
    expected = exploring.listing(store, Filter(run, 1, statuses=("accepted",), gain=(0.2, None)), "loss")
    assert f"{expected.total:,} candidate" in words(app)
    gains = list(frame(app, "trajectories.table")["Gain"])
    assert gains == sorted(gains) and min(gains) >= 0.2
    assert app.multiselect(key="trajectories.status").value == ["accepted"]
    assert app.slider(key="trajectories.gain").value == (0.2, 1.0)


def test_changing_a_filter_writes_it_to_the_address_and_goes_back_to_page_one(finished):
    _, run = finished
    app = open_page("trajectories", run=run, iteration="1", page="2")
    app.multiselect(key="trajectories.status").set_value(["no_gain"]).run()
    assert address(app)["status"] == "no_gain" and "page" not in app.query_params
    assert set(frame(app, "trajectories.table")["Outcome"]) == {"no gain"}


def test_a_filter_that_nothing_passes_says_so_and_can_be_cleared(finished):
    _, run = finished
    app = open_page("trajectories", run=run, iteration="1", q="no such words anywhere")
    assert "No candidate passes" in words(app)
    app.button(key="trajectories.clear_empty").click().run()
    assert "q" not in app.query_params and len(frame(app, "trajectories.table")) == 50


def test_ticking_a_row_opens_the_card_of_its_prompt(finished):
    store, run = finished
    first = exploring.listing(store, Filter(run, 1)).rows[0]
    app = open_page("trajectories", run=run, iteration="1")
    app.session_state["trajectories.table"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    app.run()
    assert address(app)["prompt"] == first["prompt_id"]
    assert "Back to the list" in words(app) and first["prompt_id"] in words(app)


def test_a_link_opens_the_card_in_a_fresh_session_with_all_that_is_known(finished):
    store, run = finished
    row = exploring.listing(store, Filter(run, 1, statuses=("accepted",))).rows[0]
    app = open_page("trajectories", run=run, iteration="1", prompt=row["prompt_id"])
    assert not app.exception
    shown = words(app)
    assert "Selected:" in shown and "had to exceed f(y1, gold)" in shown
    boxes = text_of(app)
    assert row["principle"] in boxes and "Draft y1" in boxes and "Gold, against y2" in boxes
    candidates = frame(app, "trajectory.candidates")
    tried = store.database.query(
        "select count(*) n from candidates where run_id = ? and iteration = 1 and prompt_id = ?",
        [run, row["prompt_id"]],
    )[0]["n"]
    assert len(candidates) == tried and all(why.endswith(".") for why in candidates["Why"])


def test_the_chats_are_shown_exactly_as_sent_and_only_the_proposer_sees_the_gold(finished):
    store, run = finished
    row = exploring.listing(store, Filter(run, 1, statuses=("accepted",))).rows[0]
    gold = store.database.query("select gold from prompts where prompt_id = ?", [row["prompt_id"]])[0]["gold"]
    app = open_page("trajectories", run=run, iteration="1", prompt=row["prompt_id"], marks="0")
    whole = text_of(app).count(gold)
    for chat, seen in (("Refine", 0), ("Propose", 1), ("Draft", 0)):
        app.segmented_control(key="trajectory.chat").set_value(chat).run()
        assert text_of(app).count(gold) - whole == seen, chat


def test_next_and_previous_walk_the_list_and_return(finished):
    store, run = finished
    rows = exploring.listing(store, Filter(run, 1, selected=True)).rows
    app = open_page("trajectories", run=run, iteration="1", prompt=rows[0]["prompt_id"], selected="1")
    assert app.button(key="trajectory.before").disabled
    app.button(key="trajectory.after").click().run()
    assert address(app)["prompt"] == rows[1]["prompt_id"]
    app.button(key="trajectory.before").click().run()
    assert address(app)["prompt"] == rows[0]["prompt_id"]
    app.button(key="trajectory.back").click().run()
    assert "prompt" not in app.query_params and address(app)["selected"] == "1"


def test_a_held_out_prompt_shows_its_answer_in_this_iteration_and_all_others(finished):
    store, run = finished
    prompt = store.database.query(
        "select prompt_id from evaluations where benchmark = 'dev' order by 1 limit 1"
    )[0]
    app = open_page("trajectories", run=run, iteration="1", prompt=prompt["prompt_id"])
    assert "Held-out answer (dev)" in words(app)
    elsewhere = frame(app, f"trajectory.elsewhere.{run}.1")
    assert list(elsewhere["Iteration"]) == [0, 1, 2] and set(elsewhere["Used"]) == {"held-out dev"}


def test_a_link_to_a_prompt_that_is_not_here_says_so(finished):
    _, run = finished
    app = open_page("trajectories", run=run, iteration="1", prompt="nowhere:1")
    assert not app.exception and "no such prompt" in words(app)


def test_hostile_texts_are_shown_as_text(hostile):  # noqa: F811
    store, run = Store(hostile), run_of(hostile)
    app = open_page("trajectories", run=run, iteration="2")
    assert not app.exception and dangers(app) == []
    rows = exploring.listing(store, Filter(run, 1)).rows
    assert rows
    for row in rows[:6]:
        app = open_page("trajectories", run=run, iteration="1", prompt=row["prompt_id"])
        assert not app.exception and dangers(app) == []
        app.segmented_control(key="trajectory.chat").set_value("Propose").run()
        assert not app.exception and dangers(app) == []


def test_a_gold_of_100_kb_is_shown_whole(hostile):  # noqa: F811
    store, run = Store(hostile), run_of(hostile)
    found = store.database.query(
        "select prompt_id, iteration from evaluations join prompts using (prompt_id) where length(gold) > 100000 limit 1"
    )
    app = open_page(
        "trajectories", run=run, iteration=str(found[0]["iteration"]), prompt=found[0]["prompt_id"]
    )
    assert not app.exception and LONG.strip() in text_of(app)


def test_the_look_for_markup_finds_markup():
    def page():
        import streamlit as st

        from dashboard.hostile import LIVE

        st.markdown(LIVE[0])
        st.html(LIVE[2])
        st.checkbox(LIVE[4])

    assert len(dangers(AppTest.from_function(page).run())) == 3
