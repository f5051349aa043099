"""The page's other views: judges, people, benchmarks; each from rows that a measurement keeps."""

from __future__ import annotations

import json

import pytest

from dashboard.conftest import open_page, words
from dashboard.test_trajectories import address, run_of
from lpd_core.store import Store, evaluating, votes
from lpd_core.store.votes import System

HOSTILE = "<script>alert(1)</script> **bold**"


@pytest.fixture
def judged(copied):
    """A finished run with a judge's verdicts on M_2 over the base model's y1, and two people's votes on the same."""
    store = Store(copied("finished"))
    run = run_of(store.home)
    answers = evaluating.heldout_answers(store, run, 2, "test", 12)
    rows = []
    for n, row in enumerate(answers):
        said = ["a", "b", None][n % 3]
        told = {"forward": [said], "backward": [said], "against": "M_0 y1", "prompts": "0123456789abcdef"}
        rows.append(
            {
                "prompt_id": row["prompt_id"],
                "system": "judge:<b>strict</b>",
                "benchmark": "judge:M_2 over the base model's y1",
                "response": row["response"],
                "draft": HOSTILE,
                "score": {"a": 1.0, "b": 0.0, None: None}[said],
                "verdict": json.dumps(told),
            }
        )
    evaluating.keep_measured(store, store.run(run), 2, "judged", rows)
    pair = (System(2), System(0, "y1"))
    for voter in ("ada", "bob"):
        for _ in range(6):
            ballot = votes.next_ballot(store, run, pair, voter)
            votes.record(store, ballot, voter, "a")
    return run, rows


def table(app, column):
    return next(each.value for each in app.dataframe if column in each.value.columns)


def test_a_judged_comparison_shows_interval_failures_and_its_pairs(judged):
    run, rows = judged
    app = open_page("evaluate", run=run, view="judged")
    assert not app.exception
    shown = table(app, "Favours the first by").iloc[0]
    assert (shown["Wins"], shown["Losses"], shown["Unjudged"]) == (4, 4, 4)
    assert shown["Failed verdicts"] == "8 of 24"
    assert shown["Win rate"].startswith("0.500 [") and "n = 8" in shown["Win rate"]
    assert shown["Judge"] == "<b>strict</b>"
    name = "2|M_2 over the base model's y1|<b>strict</b>|0123456789abcdef"
    app = open_page("evaluate", run=run, view="judged", pairs=name)
    pairs = table(app, "a shown first")
    assert len(pairs) == len(rows)
    assert set(pairs["b shown first"]) == {"a", "b", "no verdict"}
    assert HOSTILE in pairs["Answer b"].iloc[0]


def test_the_judge_stands_beside_the_people_with_n_ties_and_what_is_missing(judged):
    run, _ = judged
    app = open_page("evaluate", run=run, view="judged")
    shown = table(app, "Kappa").iloc[0]
    assert shown["Comparison"] == "M_2 y2 over M_0 y1"
    assert shown["Voters"] == 2 and shown["Ties of people"] == 0
    assert "n = " in shown["Same outcome"]
    assert "bootstrapped over prompts" in words(app)


def test_benchmarks_say_how_to_measure_and_show_what_was(copied):
    store = Store(copied("finished"))
    run = run_of(store.home)
    app = open_page("evaluate", run=run, view="benchmarks")
    assert any(f"evaluate {run} --mt-bench" in each.value for each in app.code)
    for iteration, system in ((0, "M_0 y1"), (2, "M_2 y2")):
        rows = [
            {
                "prompt_id": f"mt-bench:{n}",
                "system": system,
                "sample": turn,
                "benchmark": "mt-bench",
                "principle": "",
                "response": HOSTILE,
                "score": float(3 + iteration + n % 3) if n else None,
                "verdict": json.dumps(
                    {
                        "judge": "j",
                        "prompts": "p",
                        "category": "math" if n % 2 else "writing",
                        "question": f"Question {n}",
                        "referenced": bool(n % 2),
                        "said": "no rating" if not n else "Rating: [[5]]",
                        "error": "",
                        "answered": True,
                    }
                ),
            }
            for n in range(6)
            for turn in (1, 2)
        ]
        evaluating.keep_measured(store, store.run(run), iteration, "mt-bench", rows)
    app = open_page("evaluate", run=run, view="benchmarks")
    assert not app.exception
    shown = table(app, "failed verdicts")
    assert list(shown["system"]) == ["M_0 y1", "M_2 y2"]
    assert list(shown["failed verdicts"]) == ["2 of 12", "2 of 12"]
    assert set(table(app, "category")["category"]) == {"math", "writing"}
    answers = table(app, "Verdict")
    assert len(answers) == 24 and answers["Score"].iloc[0] == "–"
    assert answers["Verdict"].iloc[0] == "no rating"


def test_the_gate_flags_entries_that_make_gaining_less_likely(copied):
    store = Store(copied("waiting"))
    run = run_of(store.home)
    entry = reviewed(store, run)
    ids = [member.principle_id for member in entry.members]
    store.database.execute(
        """insert into candidates (run_id, iteration, prompt_id, sample, principle_id, gain, score, status, selected)
           select ?, 1, 'made' || n, 0, ?, -0.1, 0.1, 'no_gain', false from range(300) t(n)""",
        [run, ids[0]],
    )
    app = open_page("constitution", run=run, iteration="1", entry=entry.entry_id)
    assert not app.exception
    flagged = table(app, "Flag").set_index("Id")["Flag"]
    assert flagged[entry.entry_id] == "prune?"
    assert f"Candidates for pruning: **{entry.entry_id}" in words(app)
    assert "A candidate for pruning: stating it makes a gain less likely" in words(app)


def reviewed(store, run):
    """The largest entry of the constitution at the gate."""
    from lpd_core import gate

    return max(gate.current(store, run, 1).active, key=lambda entry: entry.trajectories)


def test_each_view_has_an_address(judged):
    run, _ = judged
    app = open_page("evaluate", run=run)
    app.segmented_control(key="evaluate.view").set_value("judged").run()
    assert address(app)["view"] == "judged"
    assert not app.exception
