"""Measurements beyond f: planted effects are found, and a judge that misbehaves is shown as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, run_inline
from sklearn.linear_model import LogisticRegression

from lpd_core.benchmark_results import stored_benchmarks
from lpd_core.config import Sampling
from lpd_core.constitution import from_clustering
from lpd_core.judge import Judge
from lpd_core.judgements import kept_strengths
from lpd_core.measures import constitution_quality, logistic_weights, principle_strengths
from lpd_core.measuring import Request, judge_run, measure_run
from lpd_core.measuring_text import tables
from lpd_core.parts import ScriptedSampler
from lpd_core.trials import one_hot_weights
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


def test_the_weights_from_counts_are_those_over_single_candidates():
    draw = np.random.default_rng(9)
    owners = draw.integers(0, 5, 900)  # 4: states none
    chances = np.array([0.2, 0.5, 0.85, 0.5, 0.4])
    labels = draw.random(900) < chances[owners]
    features = [[float(owner == k) for k in range(4)] for owner in owners]
    single = logistic_weights(features, labels.tolist())
    gained = [int(labels[owners == k].sum()) for k in range(5)]
    lost = [int((~labels[owners == k]).sum()) for k in range(5)]
    counted = one_hot_weights([*gained[:4], 0], [*lost[:4], 0], (gained[4], lost[4]))
    for one, many in zip(single, counted, strict=False):
        assert (many.mean, many.low, many.high) == pytest.approx((one.mean, one.low, one.high), abs=2e-3)
        assert many.n == one.n
    assert counted[4].n == 0
    assert [each.n for each in one_hot_weights([3], [0], (5, 0))] == [0]


def test_weights_from_counts_hold_where_all_gain_or_none_does():
    found = one_hot_weights([500, 0, 20], [0, 500, 20], (0, 0))
    assert found[0].low > 0 > found[1].high
    assert found[2].low < 0 < found[2].high


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


def test_a_principles_strength_before_a_judge_is_told_again_from_the_kept_pairs(measured_run):
    store, folder = measured_run
    found, _ = judged(measured_run, fails_on_a_fifth, "kept")
    again = kept_strengths(store, folder.run_id, 1)["kept"]
    assert [each.entry_id for each in again] == [each["entry_id"] for each in found["entries"]]
    assert [each.unjudged for each in again] == [each["unjudged"] for each in found["entries"]]
    assert [each.applies.mean for each in again] == [each["applies"]["mean"] for each in found["entries"]]


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
    assert list(found["ifeval"]) == ["M_0 y1", "M_0 y2", "M_1 y2"]
    assert found["ifeval"]["M_0 y1"]["prompt_strict"] == {
        "mean": 1.0,
        "low": pytest.approx(0.4385, abs=1e-3),
        "high": 1.0,
        "n": 3,
    }
    assert stored_benchmarks(store, folder.run_id)["ifeval"] == found["ifeval"]


def test_the_comparators_file_has_its_documented_fields(measured_run):
    from lpd_core.pair_exports import comparator

    store, folder = measured_run
    judged(measured_run, always_first, "rater")
    found = json.loads(json.dumps(comparator(store, folder.run_id, 1, "test")))
    assert set(found) == {"metadata", "models", "examples"}
    assert set(found["metadata"]) == {"source_path", "custom_fields_schema"}
    assert [set(model) for model in found["models"]] == [{"name"}] * 2
    types = {field["name"]: field["type"] for field in found["metadata"]["custom_fields_schema"]}
    assert set(types.values()) <= {"string", "number", "category", "text", "per_model_number"}
    assert len(found["examples"]) == 10
    for example in found["examples"]:
        assert {"input_text", "tags", "output_text_a", "output_text_b", "score"} < set(example)
        assert -1.5 <= example["score"] <= 1.5
        assert example["score"] == pytest.approx(
            1.5 * (example["custom_fields"]["f"][0] - example["custom_fields"]["f"][1])
        )
        assert set(example["custom_fields"]) == set(types)
        ratings = [r for r in example["individual_rater_scores"] if r["rationale"] == "judge:rater"]
        assert [(r["is_flipped"], r["score"]) for r in ratings] == [(False, 1.5), (True, -1.5)]


def shape(value):
    """The keys of a document at every depth where they are fixed."""
    return {key: sorted(value[key]) for key in ("metadata",)} | {"keys": sorted(value)}


@pytest.mark.skipif(
    not (SHARED / "icai_example_ap.json").exists(), reason="ICAI's example is not beside the project"
)
def test_annotated_pairs_are_shaped_as_icais_example(measured_run):
    from lpd_core.pair_exports import annotated_pairs

    store, folder = measured_run
    judged(measured_run, always_tie, "tying")
    judged(measured_run, garbage, "broken")
    example = json.loads((SHARED / "icai_example_ap.json").read_text())
    found = json.loads(json.dumps(annotated_pairs(store, folder.run_id, 1, "test")))
    assert shape(found) == shape(example)
    assert found["metadata"]["version"] == example["metadata"]["version"]
    assert found["metadata"]["default_annotator"] in found["annotators"]
    principles = {key for key, each in found["annotators"].items() if each["type"] == "principle"}
    assert len(principles) >= 2
    names = {each.get("name"): key for key, each in found["annotators"].items()}
    for pair in found["comparisons"]:
        assert sorted(pair) == sorted(example["comparisons"][0])
        assert sorted(pair["response_a"]) == sorted(example["comparisons"][0]["response_a"])
        assert set(pair["annotations"]) <= set(found["annotators"])
        assert all(each["pref"] in ("a", "b", None) for each in pair["annotations"].values())
        tie, none = (
            {"pref": None, "no_pref_reason": "not_applicable"},
            {"pref": None, "no_pref_reason": "invalid"},
        )
        assert pair["annotations"][names["judge:tying"]] == tie
        assert pair["annotations"][names["judge:broken"]] == none


def test_alpaca_evals_outputs_name_instruction_output_and_generator(measured_run):
    from lpd_core.pair_exports import alpaca_eval

    store, folder = measured_run
    rows = alpaca_eval(store, folder.run_id, 1, "test")
    assert [sorted(row) for row in rows] == [["dataset", "generator", "instruction", "output"]] * 10


def test_an_iteration_that_was_not_measured_is_refused(measured_run):
    from lpd_core.errors import UserError
    from lpd_core.pair_exports import comparator

    store, folder = measured_run
    with pytest.raises(UserError, match="no answers of iteration 7"):
        comparator(store, folder.run_id, 7, "test")
