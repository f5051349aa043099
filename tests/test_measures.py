"""Measurements beyond f: planted effects are found, and a judge that misbehaves is shown as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run_inline
from sklearn.linear_model import LogisticRegression

from lpd_core.config import Sampling
from lpd_core.constitution import from_clustering
from lpd_core.judge import Judge
from lpd_core.measures import constitution_quality, logistic_weights, principle_strengths
from lpd_core.measuring import Request, judge_run, measure_run
from lpd_core.measuring_text import tables
from lpd_core.parts import ScriptedSampler
from lpd_core.types import Cluster, Clustering, Member


def test_quality_counts_near_entries_and_covered_principles():
    entries = np.array([[1.0, 0.0, 0.0], [0.995, 0.0999, 0.0], [0.0, 1.0, 0.0]])
    heldout = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    found = constitution_quality(entries, heldout, threshold=0.3)
    assert found.size == 3
    assert found.redundancy.mean == pytest.approx(2 / 3)
    assert (found.coverage.mean, found.coverage.n) == (0.5, 4)
    distances = [1 - entries[i] @ entries[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.diversity == pytest.approx(sum(distances) / 3)
    assert constitution_quality(np.zeros((0, 3)), heldout, 0.3).coverage.n == 0


def planted(draw, n=400):
    """Candidates of a constitution of three: `good` gains, `bad` loses, `idle` does neither."""
    effects = {"good": 0.1, "bad": -0.1, "idle": 0.0}
    trials = []
    for prompt in range(n):
        level = draw.normal(0, 0.05)
        for name, effect in effects.items():
            trials.append(
                {
                    "prompt_id": f"p{prompt}",
                    "principle_id": name,
                    "gain": level + effect + draw.normal(0, 0.1),
                }
            )
    clusters = tuple(Cluster(f"1.{n}", n, n, (Member(n, 1, 0.0),)) for n in effects)
    found = Clustering(clusters, tuple(effects), (), ())
    return from_clustering(found, {name: name for name in effects}), trials


def test_a_principle_that_helps_and_one_that_harms_are_told_apart():
    constitution, trials = planted(np.random.default_rng(3))
    found = {each.text: each for each in principle_strengths(constitution, trials)}
    assert found["good"].effect.low > 0 > found["bad"].effect.high
    assert found["idle"].effect.low < 0 < found["idle"].effect.high
    assert [name for name, each in found.items() if each.may_be_pruned] == ["bad"]
    assert found["good"].applies.mean == pytest.approx(1 / 3)


def test_the_weights_are_scikit_learns_and_unknown_where_nothing_differs():
    draw = np.random.default_rng(5)
    features = draw.choice([-1.0, 0.0, 1.0], (200, 3))
    labels = features[:, 0] + draw.normal(0, 1, 200) > 0
    found = logistic_weights(features, labels.tolist())
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(features, labels)
    assert [each.mean for each in found] == pytest.approx(fitted.coef_[0].tolist())
    assert found[0].low > 0
    assert [each.n for each in logistic_weights(features, [True] * 200)] == [0, 0, 0]


def always_first(messages, seed):
    return "[[A]]"


def always_tie(messages, seed):
    return "Both are fine.\n[[C]]"


def garbage(messages, seed):
    return "I like turtles."


def fails_on_a_fifth(messages, seed):
    return "..." if len(messages[0]["content"]) % 5 == 0 else "[[A]]"


@pytest.fixture(scope="module")
def measured_run(tmp_path_factory):
    """A small finished run in a home of its own."""
    from conftest import example_rows, write_jsonl

    from lpd_core.store import Store

    folder = tmp_path_factory.mktemp("measures")
    train = write_jsonl(folder / "train.jsonl", [{**row, "split": "train"} for row in example_rows(24)])
    heldout = [write_jsonl(folder / f"{n}.jsonl", example_rows(10, first=n)) for n in (100, 200)]
    store = Store(folder / "home")
    settings = {
        "name": "small",
        "iterations": 1,
        "data": {"train": [str(train)], "dev": [str(heldout[0])], "test": [str(heldout[1])]},
        "sampler": {"kind": "scripted"},
        "e_step": {"n": 4},
        "cluster": {"embedder": "hash", "layout": "pca"},
        "evaluate": {"resamples": 200},
    }
    return store, run_inline(store, settings)


def judged(measured_run, script, name):
    store, folder = measured_run
    judge = Judge(name, lambda: ScriptedSampler(script), Sampling(temperature=0.0), retries=1)
    lines = []
    found = judge_run(
        store, folder, folder.config(), judge, 1, Request(judge=True, prompts=10, entries=2), lines.append
    )
    return found, lines


def test_a_judge_biased_to_the_first_position_is_shown_to_be(measured_run):
    found, lines = judged(measured_run, always_first, "first")
    row = found["pairs"]["M_1 over the base model's y1"]
    assert row["order_bias"] == 0.5
    assert row["agreement"] == 0.0
    assert (row["wins"], row["losses"], row["ties"]) == (0, 0, 10)
    assert row["win_rate"]["mean"] == 0.5
    assert "at most" in lines[0] and "first" in lines[0]


def test_a_judge_that_always_ties_decides_nothing(measured_run):
    found, _ = judged(measured_run, always_tie, "ties")
    row = found["pairs"]["principle-following"]
    assert (row["ties"], row["tied_verdicts"], row["failed_verdicts"]) == (
        row["pairings"],
        row["verdicts"],
        0,
    )
    assert all(each["applies"]["mean"] == 0 and each["agreement"]["n"] == 0 for each in found["entries"])


def test_a_judge_that_answers_garbage_gives_no_verdict(measured_run):
    found, _ = judged(measured_run, garbage, "garbage")
    for row in found["pairs"].values():
        assert row["win_rate"]["n"] == 0
        assert row["unjudged"] == row["pairings"]
        assert row["failed_verdicts"] == row["verdicts"]
    assert all(each["unjudged"] == 10 for each in found["entries"])


def test_a_judge_that_fails_now_and_then_is_counted_and_its_pairs_left_out(measured_run):
    found, _ = judged(measured_run, fails_on_a_fifth, "flaky")
    row = found["pairs"]["M_1 over the base model's y1"]
    assert 0 < row["failed_verdicts"] < row["verdicts"]
    assert row["win_rate"]["n"] + row["unjudged"] == row["pairings"] == 10


def test_judged_pairs_are_kept_with_both_orders_and_the_judges_name(measured_run):
    store, _ = measured_run
    judged(measured_run, always_first, "keeper")
    judged(measured_run, always_first, "keeper")
    rows = store.database.query(
        "select * from evaluations where system = 'judge:keeper' and benchmark like 'judge:M_1 over the base%'"
    )
    assert len(rows) == 10
    assert all(row["score"] == 0.5 for row in rows)
    verdict = json.loads(rows[0]["verdict"])
    assert (verdict["forward"], verdict["backward"]) == (["a"], ["b"])


def test_a_run_is_measured_whole_and_drawn_as_tables(measured_run):
    store, folder = measured_run
    found = measure_run(store, folder, Request(), tell=lambda line: None)
    assert found["stepwise"][1]["win_rate"]["n"] == 10
    assert found["quality"][1]["size"] > 0
    assert len(found["strengths"]) == found["quality"][1]["size"]
    titles = [part[0] for part in tables(found) if not isinstance(part, str)]
    assert len(titles) == 3


def test_ifeval_answers_are_checked_and_counted(measured_run, tmp_path):
    pytest.importorskip("lm_eval")
    store, folder = measured_run
    path = tmp_path / "prompts.jsonl"
    rows = [
        {
            "key": n,
            "prompt": "Say it without a comma",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        }
        for n in range(3)
    ]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = measure_run(store, folder, Request(ifeval=path), tell=lambda line: None)
    assert found["ifeval"][0]["prompt_strict"] == {
        "mean": 1.0,
        "low": pytest.approx(0.4385, abs=1e-3),
        "high": 1.0,
        "n": 3,
    }
