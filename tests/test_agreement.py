"""A judge beside people: who agrees with whom, counted by votes, ties and what the judge did not say."""

import json

import pytest

from lpd_core.agreement import judge_and_people
from lpd_core.statistics import kappa
from lpd_core.store import votes
from lpd_core.store.votes import Ballot, System

TRAINED, BASE = System(1), System(0, "y1")
POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0, None: None}


def judge(
    store, verdicts, name="j", against="M_0 y1", benchmark="judge:M_1 over the base model's y1", prompts="p"
):
    """Keep a judge's outcome by prompt, as `judgements.keep` does."""
    for prompt, outcome in verdicts.items():
        told = {"forward": [outcome], "backward": [outcome], "against": against, "prompts": prompts}
        store.database.execute(
            """insert into evaluations (eval_id, prompt_id, system, sample, run_id, iteration, benchmark, score, verdict)
               values (?, ?, ?, 0, 'run-1', 1, ?, ?, ?)""",
            [
                f"e.{benchmark}.{prompts}",
                prompt,
                f"judge:{name}",
                benchmark,
                POINTS[outcome],
                json.dumps(told),
            ],
        )


def vote(store, prompt, verdict, voter="ada", systems=(TRAINED, BASE), source="heldout"):
    ballot = Ballot(
        "run-1", prompt, ({"role": "user", "content": "x"},), systems, ("new", "old"), {"source": source}
    )
    votes.record(store, ballot, voter, verdict)


def test_kappa_is_over_the_votes_on_the_same_two_answers(store):
    said = {"p1": "a", "p2": "a", "p3": "b", "p4": "tie", "p5": "b", "p6": None}
    judge(store, said)
    for prompt, verdict in (
        ("p1", "a"),
        ("p2", "b"),
        ("p3", "b"),
        ("p4", "tie"),
        ("p5", "both_bad"),
        ("p6", "a"),
    ):
        vote(store, prompt, verdict)
    vote(store, "p1", "b", "bob", systems=(BASE, TRAINED))  # the sides exchanged: again M_1's answer
    vote(store, "p7", "a", "bob")
    vote(store, "p1", "a", "eve", source="played")
    found = judge_and_people(store, "run-1")[0]
    people = ["a", "b", "b", "tie", "tie", "a"]
    assert found.kappa.mean == pytest.approx(kappa(people, ["a", "a", "b", "tie", "b", "a"]))
    assert (found.kappa.n, found.decided.n, found.prompts, found.voters) == (6, 4, 5, 2)
    assert (found.people_ties, found.judge_ties, found.unjudged) == (2, 1, 2)
    assert found.same.mean == pytest.approx(4 / 6)
    assert found.kappa.low <= found.kappa.mean <= found.kappa.high


def test_several_votes_on_a_prompt_do_not_make_the_interval_narrower(store):
    said = {f"p{n}": "ab"[n % 2] for n in range(12)}
    judge(store, said)
    for voter in ("ada", "bob", "cleo", "dan"):
        for n, (prompt, outcome) in enumerate(said.items()):
            vote(store, prompt, outcome if n % 3 else "ba"[n % 2], voter)
    copied = judge_and_people(store, "run-1")[0].kappa
    assert copied.n == 48
    assert copied.high - copied.low > 0.6


def test_another_pair_a_principles_judgement_and_another_judge_are_told_apart(store):
    judge(store, {"p1": "a"})
    judge(store, {"p1": "b"}, name="other")
    judge(store, {"p1": "a"}, benchmark="judge:principle-following")
    judge(store, {"p1": "a"}, benchmark="judge:M_1 over M_0", against="M_0 y2")
    assert judge_and_people(store, "run-1") == []
    vote(store, "p1", "a")
    found = judge_and_people(store, "run-1")
    assert [(each.judge, each.against) for each in found] == [("j", "M_0 y1"), ("other", "M_0 y1")]
    assert [each.same.mean for each in found] == [1.0, 0.0]
