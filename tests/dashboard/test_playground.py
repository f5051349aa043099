"""The playground: a real chain by the shipped model, blind votes, and what is said where it cannot go on."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest

from dashboard.conftest import open_page, words
from lpd_core import machine
from lpd_core.resident.place import Place
from lpd_core.store import RunState, Store, votes
from lpd_core.store.votes import System


@pytest.fixture
def home(copied):
    """A home with a finished run to vote in; the model process started for it is ended."""
    place = copied("finished")
    yield place
    process_id = Place(place, "model").process_id()
    if process_id:
        os.kill(process_id, signal.SIGTERM)
        while Place(place, "model").process_id():
            time.sleep(0.02)


def run_of(home) -> str:
    return Store(home).run_ids()[-1]


def texts(app) -> str:
    """The bodies of the text boxes as one text."""
    return " ".join(block.proto.body for block in app.main if block.type == "html")


def test_a_chain_is_generated_shown_and_voted_on_blind(home):
    app = open_page("playground", prompt_from="Held-out prompt")
    app.button(key="playground.generate").click().run(timeout=120)
    assert not app.exception and not app.error
    played = app.session_state["playground.played"]
    iterations = {system.iteration for system in played.ballot.systems}
    assert iterations == {0, 2} and all(played.ballot.responses)
    said = words(app)
    assert "Side A" in said and "Side B" in said and "Base model\n" not in said and "Kept" not in said
    app.button(key="playground.try.a").click().run()
    assert "Kept: A is better" in app.success[0].value
    kept = votes.listed(Store(home), run_of(home), 10)
    assert [(row["verdict"], row["iteration_a"]) for row in kept] == [
        ("a", played.ballot.systems[0].iteration)
    ]
    assert kept[0]["response_a"] == played.ballot.responses[0] and kept[0]["prompt_id"]
    assert not [button for button in app.button if button.key == "playground.try.a"]


def test_a_forced_principle_of_the_constitution_is_followed_on_both_sides(home):
    app = open_page(
        "playground", prompt_from="Held-out prompt", principle_from="Of the constitution", entry="2.1"
    )
    app.toggle(key="playground.blind").set_value(False)
    app.button(key="playground.generate").click().run(timeout=120)
    assert not app.exception and not app.error
    entry = next(e for e in entries(home) if e["id"] == "2.1")["text"]
    played = app.session_state["playground.played"]
    assert [done["principle"].text for done in played.steps] == [entry, entry]
    assert "Iteration 2" in words(app) and "Base model" in words(app)
    assert not [button for button in app.button if button.key == "playground.try.a"]  # seen, so no blind vote


def entries(home):
    from lpd_core.store import constitutions

    return constitutions.approved_texts(Store(home), run_of(home), 2)


def test_it_refuses_while_a_stage_takes_the_memory_and_says_so(home, monkeypatch):
    now = machine.look(home)
    monkeypatch.setattr(machine, "look", lambda place: replace(now, memory_available=50 * 2**20, gpus=()))
    folder = Store(home).run(run_of(home))
    app = open_page("playground", prompt_from="Held-out prompt")
    assert "Close other programs" in app.warning[0].value
    with folder.driving():
        folder.write_state(RunState("running", 2, "m_step"))
        app.run()
        assert app.button(key="playground.generate").disabled
        told = app.warning[0].value.replace("\\", "")
        assert "is at work (iteration 2, M-step) and takes memory. 50.0 MiB of memory can be had" in told


def test_beside_a_stage_that_leaves_room_it_goes_on_and_says_so(home):
    folder = Store(home).run(run_of(home))
    with folder.driving():
        folder.write_state(RunState("running", 2, "m_step"))
        app = open_page("playground", prompt_from="Held-out prompt")
        assert not app.button(key="playground.generate").disabled
        assert "There is memory for both" in app.info[0].value


def test_heldout_answers_are_voted_on_one_after_the_other(home):
    app = open_page("playground", view="Vote on held-out answers", against="0.y1")
    first = app.session_state["playground.ballot"]
    assert first.systems in [(System(2), System(0, "y1")), (System(0, "y1"), System(2))]
    shown = texts(app)
    assert "Answer A" in shown and "iteration" not in shown
    app.button(key="playground.vote.tie").click().run()
    second = app.session_state["playground.ballot"]
    assert second.prompt_id != first.prompt_id and "Kept" in app.success[0].value
    app.button(key="playground.skip").click().run()
    third = app.session_state["playground.ballot"]
    assert len({first.prompt_id, second.prompt_id, third.prompt_id}) == 3
    app.toggle(key="playground.gold").set_value(True).run()
    assert app.session_state["playground.ballot"] == third and "Gold answer" in texts(app)
    assert "1 votes of yours, " in words(app)


def test_the_answers_of_another_run_are_voted_on_under_its_address(home):
    import shutil

    store, run = Store(home), run_of(home)
    with store.database.write() as connection:
        for table in ("runs", "iterations", "evaluations"):
            keys = "'twin' || eval_id as eval_id, " if table == "evaluations" else ""
            columns = "(eval_id, run_id)" if keys else "(run_id)"
            connection.execute(
                f"""insert into {table} by name select * exclude {columns}, {keys} 'twin' run_id from {table}
                    where run_id = ?""",
                [run],
            )
    shutil.copytree(home / "runs" / run, home / "runs" / "twin")
    app = open_page("playground", run=run, view="Vote on held-out answers", rival="twin", rival_iteration="1")
    assert not app.exception
    pair = {System(2), System(1, "y2", "twin")}
    assert set(app.session_state["playground.ballot"].systems) == pair
    app.button(key="playground.vote.a").click().run()
    assert "iteration 1 of twin, refined answer (y2)" in app.success[0].value
    assert [{t.system, t.other} for t in votes.tallies(store, run)] == [pair]


def test_votes_are_shown_with_their_interval_by_voter(home):
    store, run = Store(home), run_of(home)
    pair = (System(2), System(0))
    for voter, verdicts in {"ada": "aab", "bob": ["tie"]}.items():
        for verdict in verdicts:
            votes.record(store, votes.next_ballot(store, run, pair, voter), voter, verdict)
    app = open_page("playground", view="Votes")
    assert app.metric[0].value == "62 %"
    assert "95 % Wilson interval 22 to 91 %, n = 4 votes" in words(app)
    table = app.dataframe[0].value
    assert list(table["Voter"]) == ["everybody", "ada", "bob"] and list(table["n"]) == [4, 3, 1]
    assert len(app.dataframe[1].value) == 4


def test_who_may_only_look_can_neither_generate_nor_vote(home, monkeypatch):
    monkeypatch.setenv("LPD_EDIT_NEEDS_LOGIN", "1")
    app = open_page("playground", prompt_from="Held-out prompt")
    assert app.button(key="playground.generate").disabled
    app = open_page("playground", view="Vote on held-out answers")
    assert app.button(key="playground.vote.a").disabled


def test_a_run_without_a_trained_model_says_where_to_look(looking):
    looking("failed")
    assert "no trained model yet" in words(open_page("playground"))
