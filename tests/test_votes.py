"""Blind votes: kept whole, counted for systems and not for sides, and never asked for twice."""

from __future__ import annotations

import json

import pytest
from conftest import run_inline
from scipy.stats import binomtest

from lpd_core.errors import UserError
from lpd_core.metrics import wilson
from lpd_core.store import Store, corpora, evaluating, votes
from lpd_core.store.votes import Ballot, System

BASE, TRAINED = System(0), System(2)


def ballot(systems=(TRAINED, BASE), responses=("new", "old"), prompt_id=None) -> Ballot:
    return Ballot("run-1", prompt_id, ({"role": "user", "content": "x"},), systems, responses)


@pytest.mark.parametrize("k, n", [(0, 1), (1, 1), (3, 10), (10, 10), (0, 25), (417, 1000)])
def test_the_wilson_interval_is_scipys(k, n):
    found, reference = wilson(k / n, n), binomtest(k, n).proportion_ci(method="wilson")
    assert (found.mean, found.n) == (k / n, n)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_no_votes_give_no_interval():
    found = wilson(0.0, 0)
    assert found.n == 0 and found.mean != found.mean


def test_votes_count_for_the_system_whatever_its_side(store):
    votes.record(store, ballot(), "ada", "a")
    votes.record(store, ballot().swapped(), "ada", "b")
    votes.record(store, ballot().swapped(), "ada", "a")
    votes.record(store, ballot(), "ada", "tie")
    votes.record(store, ballot(), "bob", "both_bad")
    ada, bob = votes.tallies(store, "run-1")
    assert (ada.voter, ada.system, ada.other) == ("ada", TRAINED, BASE)
    assert (ada.wins, ada.losses, ada.ties, ada.both_bad, ada.chose_a) == (2, 1, 1, 0, 2)
    assert ada.win_rate().mean == pytest.approx(2.5 / 4)
    assert bob.win_rate().mean == 0.5
    everybody = votes.together([ada, bob])
    assert everybody.n == everybody.win_rate().n == 5
    assert everybody.win_rate().mean == pytest.approx(3 / 5)


def test_another_pair_and_another_run_are_told_apart(store):
    votes.record(store, ballot(), "ada", "a")
    votes.record(store, ballot((TRAINED, System(0, "y1"))), "ada", "b")
    pairs = {(tally.system, tally.other): tally.wins for tally in votes.tallies(store, "run-1")}
    assert pairs == {(TRAINED, BASE): 1, (TRAINED, System(0, "y1")): 0}
    assert votes.tallies(store, "run-2") == []


def test_a_vote_keeps_what_was_shown_to_the_letter(store):
    hostile = "'); drop table votes; --\x00<b>\u202e" + "x" * 100_000
    votes.record(store, ballot(responses=(hostile, "old")), "o'neill", "a")
    kept = votes.listed(store, "run-1", 10)[0]
    assert kept["response_a"] == hostile and kept["voter"] == "o'neill"
    assert (kept["iteration_a"], kept["answer_a"], kept["iteration_b"], kept["verdict"]) == (2, "y2", 0, "a")
    assert json.loads(kept["prompt"]) == [{"role": "user", "content": "x"}]


def test_what_is_no_vote_is_refused(store):
    with pytest.raises(UserError, match="no verdict 'c'"):
        votes.record(store, ballot(), "ada", "c")
    with pytest.raises(UserError, match="two different systems"):
        votes.record(store, ballot((BASE, BASE)), "ada", "a")
    assert votes.tallies(store, "run-1") == []


def test_a_home_from_before_there_were_votes_gets_their_table(tmp_path):
    import duckdb

    from lpd_core.store.schema import create_tables

    with duckdb.connect(str(tmp_path / "lpd.duckdb")) as connection:
        create_tables(connection)
        connection.execute('create table schema_migrations (name text primary key, "at" timestamptz)')
        connection.execute("insert into schema_migrations values ('create_tables', now())")
    votes.record(Store(tmp_path), ballot(), "ada", "tie")
    assert len(votes.listed(Store(tmp_path), "run-1", 10)) == 1


def test_stored_heldout_answers_are_voted_on_one_by_one(store, scripted_settings):
    scripted_settings["data"]["heldout_limit"] = 3
    run = run_inline(store, scripted_settings).run_id
    pair = (System(1), System(0, "y1"))
    total = votes.heldout_count(store, run, pair)
    seen = []
    while found := votes.next_ballot(store, run, pair, "ada"):
        seen.append(found.prompt_id)
        assert found.messages and all(found.responses)
        votes.record(store, found if len(seen) % 2 else found.swapped(), "ada", "tie")
    assert len(seen) == len(set(seen)) == total == 6
    bobs = votes.next_ballot(store, run, pair, "bob")
    assert votes.next_ballot(store, run, pair, "bob", [bobs.prompt_id]).prompt_id != bobs.prompt_id
    assert votes.next_ballot(store, run, (System(2), System(0)), "ada") is not None


def test_heldout_prompts_are_found_by_their_words(store, scripted_settings):
    run = run_inline(store, scripted_settings).run_id
    assert len(corpora.heldout_like(store, run, "", 100)) == 16
    found = corpora.heldout_like(store, run, "NUMBER 101 ", 100)
    assert [row["messages"][-1]["content"].split()[6] for row in found] == ["101"]
    assert len(corpora.heldout_like(store, run, "", 3)) == 3


def test_prompts_that_a_judge_has_compared_are_voted_on_first(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    pair = (System(1), System(0, "y1"))
    judged = [row["prompt_id"] for row in evaluating.heldout_answers(store, folder.run_id, 1, "test", 2)]
    rows = [
        {"prompt_id": each, "system": "judge:j", "benchmark": "judge:M_1 over M_0", "verdict": "{}"}
        for each in judged
    ]
    evaluating.keep_measured(store, folder, 1, "judged", rows)
    seen = []
    for _ in range(3):
        found = votes.next_ballot(store, folder.run_id, pair, "ada")
        seen.append(found.prompt_id)
        votes.record(store, found, "ada", "a")
    assert set(seen[:2]) == set(judged) and seen[2] not in judged


def test_answers_of_two_runs_are_voted_on_and_told_apart_from_those_of_one(store, scripted_settings):
    settings = {**scripted_settings, "iterations": 1}
    ours, theirs = (run_inline(store, {**settings, "seed": seed}).run_id for seed in (1, 2))
    pair = (System(1), System(1, "y2", theirs))
    assert votes.heldout_count(store, ours, pair) == 16
    found = votes.next_ballot(store, ours, pair, "ada")
    answers = [
        {row["prompt_id"]: row["response"] for name in ("dev", "test")
         for row in evaluating.heldout_answers(store, run, 1, name)}[found.prompt_id]
        for run in (ours, theirs)
    ]  # fmt: skip
    assert list(found.responses) == answers
    votes.record(store, found.swapped(), "ada", "b")
    (tally,) = votes.tallies(store, ours)
    assert {tally.system, tally.other} == set(pair)
    assert (tally.wins, tally.losses) == ((1, 0) if tally.system == System(1) else (0, 1))
    assert votes.next_ballot(store, ours, pair, "ada").prompt_id != found.prompt_id
    assert votes.next_ballot(store, ours, (System(1), System(0)), "ada") is not None
    assert {vote["b"] for vote in votes.on_stored_answers(store, ours)} == {System(1)}
