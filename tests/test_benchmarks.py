"""MT-Bench and AlpacaEval's comparison: what is asked, what is counted, and that nothing is made up."""

import json

import numpy as np
import pytest
from conftest import SHARED, example_rows, write_jsonl
from sklearn.linear_model import LogisticRegression

from lpd_core import alpaca_eval, mt_bench
from lpd_core.benchmark_results import stored_benchmarks
from lpd_core.benchmarks import Bench, run_alpaca_eval, run_mt_bench
from lpd_core.config import RunConfig, Sampling, override
from lpd_core.errors import DataError
from lpd_core.judge import Judge, load_prompts
from lpd_core.length_control import length_controlled
from lpd_core.measuring_text import benchmark_tables
from lpd_core.parts import SCRIPTS, ScriptedSampler, echo_script
from lpd_core.prompts import load_templates
from lpd_core.types import Generation

CONFIG = RunConfig()
QUESTIONS = [
    {
        "question_id": 81,
        "category": "writing",
        "turns": ["Write a poem about rivers", "Now make it shorter please"],
    },
    {
        "question_id": 111,
        "category": "math",
        "turns": ["What is two plus two", "And doubled again"],
        "reference": ["4", "8"],
    },
    {
        "question_id": 131,
        "category": "stem",
        "turns": ["Why is the sky blue", "And at dusk"],
        "reference": ["scattering", ""],
    },
]
official = pytest.mark.skipif(
    not (SHARED / "mt_bench_question.jsonl").exists(),
    reason="MT-Bench's questions are not beside the project",
)


def rater(messages, seed):
    """Rates by what the prompt shows: 9 beside a reference, else 5; nothing readable for the poem's second turn."""
    text = messages[0]["content"]
    if "Now make it shorter" in text:
        return "Lovely."
    return "Rating: [[9]]" if "[Reference answer]" in text else "Rating: [[5]]"


def prefers_longer(messages, seed):
    text = messages[0]["content"]
    a, b = (text.split(f"[Answer {s}]\n")[1].split(f"\n[End of answer {s}]")[0] for s in "AB")
    return "[[C]]" if len(a) == len(b) else "[[A]]" if len(a) > len(b) else "[[B]]"


def same(a, b):
    """Equal as JSON, where NaN equals NaN."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.setitem(SCRIPTS, "rater", rater)
    monkeypatch.setitem(SCRIPTS, "longer", prefers_longer)


@pytest.fixture
def small(finished):
    """The finished run, where its measurement stands, and what is said."""
    store, folder = finished
    said = []

    def bench(judge):
        own = override(
            folder.config(),
            ["scoring.judge.sampler.kind=scripted", f"scoring.judge.sampler.script={judge}"],
        )
        return Bench(store, folder, own, 1, said.append)

    return store, folder, bench, said


@official
def test_the_official_questions_are_read_with_either_references():
    path = SHARED / "mt_bench_question.jsonl"
    found = mt_bench.read_questions(path)
    assert len(found) == 80
    assert {len(q.turns) for q in found} == {2}
    counts = {c: sum(q.category == c for q in found) for c in {q.category for q in found}}
    assert len(counts) == 8 and set(counts.values()) == {10}
    better = mt_bench.read_questions(path, SHARED / "mt_bench_reference_answer_gpt-4.jsonl")
    guided = [q for q in better if mt_bench.Turn(q, 1, ()).reference]
    assert len(guided) == 30 and {q.category for q in guided} == set(mt_bench.REFERENCED)
    assert better[20].references != found[20].references
    assert sum(mt_bench.Turn(q, 1, ()).reference is not None for q in found) == 29


def test_a_file_that_holds_no_questions_is_refused_with_its_line(tmp_path):
    path = write_jsonl(tmp_path / "q.jsonl", [QUESTIONS[0], {"question_id": 1}])
    with pytest.raises(DataError, match="line 2: no MT-Bench question"):
        mt_bench.read_questions(path)


def test_the_second_turn_goes_on_with_the_systems_own_answer(tmp_path):
    questions = mt_bench.read_questions(write_jsonl(tmp_path / "q.jsonl", QUESTIONS))
    sampler = ScriptedSampler(echo_script)
    turns = mt_bench.answer_questions(questions, sampler, load_templates(CONFIG.prompts), CONFIG, "y2")
    assert [(t.question.question_id, t.number) for t in turns][:4] == [
        ("81", 1),
        ("111", 1),
        ("131", 1),
        ("81", 2),
    ]
    first, second = turns[0], turns[3]
    assert second.messages == (
        *first.messages,
        {"role": "assistant", "content": first.response},
        second.messages[-1],
    )
    assert first.principle and first.response != first.draft
    plain = mt_bench.answer_questions(questions, sampler, load_templates(CONFIG.prompts), CONFIG, "y1")
    assert plain[0].response == plain[0].draft == first.draft


def test_only_maths_coding_and_reasoning_are_rated_beside_their_reference(tmp_path):
    questions = mt_bench.read_questions(write_jsonl(tmp_path / "q.jsonl", QUESTIONS))
    sampler = ScriptedSampler(echo_script)
    turns = mt_bench.answer_questions(questions, sampler, load_templates(CONFIG.prompts), CONFIG, "y1")
    asked = ScriptedSampler(rater)
    judge = Judge("r", lambda: asked, Sampling(temperature=0.0), retries=0)
    verdicts = mt_bench.rate_turns(judge, load_prompts(), turns)
    assert [verdict.value for verdict in verdicts] == ["5", "9", "5", None, "9", "5"]
    shown = [messages[0]["content"] for messages, _ in asked.asked]
    assert "[Reference answer]\n4\n" in shown[1]
    assert "Turn 1: 4\n\nTurn 2: 8" in shown[4]
    assert "User: And doubled again" in shown[4] and f"Assistant: {turns[1].response}" in shown[4]


class Breaks(ScriptedSampler):
    """Fails where the prompt speaks of two plus two."""

    def sample(self, requests, sampling):
        found = super().sample(requests, sampling)
        return [
            Generation("", "error", 0, 0, "lost")
            if "two plus two" in request.messages[-1]["content"]
            else each
            for request, each in zip(requests, found, strict=True)
        ]


def test_a_turn_without_an_answer_is_not_rated_and_has_no_next_turn(tmp_path):
    questions = mt_bench.read_questions(write_jsonl(tmp_path / "q.jsonl", QUESTIONS))
    turns = mt_bench.answer_questions(
        questions, Breaks(echo_script), load_templates(CONFIG.prompts), CONFIG, "y1"
    )
    judge = Judge("r", lambda: ScriptedSampler(rater), Sampling(temperature=0.0), retries=0)
    verdicts = mt_bench.rate_turns(judge, load_prompts(), turns)
    rows = mt_bench.stored_rows("M_0 y1", "r", "d", turns, verdicts)
    told = mt_bench.summarise([{**row, "verdict": json.loads(row["verdict"])} for row in rows])["M_0 y1"]
    assert (told["unanswered"], told["failed_verdicts"], told["turns_asked"]) == (2, 1, 6)
    assert told["average"]["n"] == 2 and told["average"]["mean"] == 5.0
    assert told["categories"]["math"]["n"] == 0
    assert told["turns"]["2"]["n"] == 1


def test_mt_bench_of_a_run_is_kept_and_told_again_from_the_store(small, scripts, tmp_path):
    store, folder, bench, said = small
    path = write_jsonl(tmp_path / "q.jsonl", QUESTIONS)
    found = run_mt_bench(bench("rater"), path)
    assert "18 answers of 3 systems, and as many ratings by scripted:rater" in said[0]
    assert list(found["systems"]) == ["M_0 y1", "M_0 y2", "M_1 y2"]
    base = found["systems"]["M_0 y1"]
    assert base["average"]["n"] == 3 and base["failed_verdicts"] == 1 and base["referenced"] == 2
    assert base["categories"]["math"]["mean"] == 9.0
    run_mt_bench(bench("rater"), path)
    assert same(stored_benchmarks(store, folder.run_id)["mt_bench"], [found])
    titles = [title for title, _ in benchmark_tables({"mt_bench": [found]})]
    assert titles[0].startswith("MT-Bench, rated 1 to 10 by scripted:rater")


def test_alpaca_eval_of_a_run_counts_both_orders_and_keeps_them(small, scripts, tmp_path):
    store, folder, bench, said = small
    rows = [{"instruction": r["prompt"], "output": r["gold"], "generator": "gold"} for r in example_rows(12)]
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(rows))
    found = run_alpaca_eval(bench("longer"), path)
    assert "36 answers of 3 systems, and 72 verdicts of scripted:longer" in said[0]
    base = found["systems"]["M_0 y1"]
    assert found["against"] == "gold"
    assert (base["win_rate"]["mean"], base["losses"], base["agreement"], base["verdicts"]) == (
        0.0,
        12,
        1.0,
        24,
    )
    assert base["mean_length"] < base["reference_length"]
    assert same(stored_benchmarks(store, folder.run_id)["alpaca_eval"], [found])
    assert "length-controlled" in benchmark_tables({"alpaca_eval": [found]})[0][1][0]


def test_reference_outputs_of_several_generators_or_none_are_refused(tmp_path):
    rows = [{"instruction": "x", "output": "y", "generator": name} for name in "ab"]
    with pytest.raises(DataError, match="one generator; it holds: a, b"):
        alpaca_eval.read_references(write_jsonl(tmp_path / "two.jsonl", rows))
    with pytest.raises(DataError, match="line 1: no reference output: 'output' is null"):
        alpaca_eval.read_references(write_jsonl(tmp_path / "none.jsonl", [{"instruction": "x"}]))


def judged_by_length(seed, skill, n=600, liking=1.5):
    """Pairs whose judge likes length: our answers are longer by half a deviation, and better by `skill` (log odds)."""
    draw = np.random.default_rng(seed)
    own, other = draw.normal(1150, 200, n).round(), draw.normal(1000, 200, n).round()
    difference = own - other
    odds = skill + liking * np.tanh(difference / difference.std(ddof=1))
    return (draw.random(n) < 1 / (1 + np.exp(-odds))).astype(float).tolist(), own.tolist(), other.tolist()


def test_a_planted_length_bias_is_in_the_raw_rate_and_not_in_the_controlled_one():
    raw, controlled, covered = [], [], 0
    for seed in range(20):
        shares, own, other = judged_by_length(seed, skill=0.0)
        found = length_controlled(shares, own, other, resamples=200)
        raw.append(np.mean(shares))
        controlled.append(found.mean)
        covered += found.low <= 0.5 <= found.high
    assert np.mean(raw) > 0.6
    assert np.mean(controlled) == pytest.approx(0.5, abs=0.02)
    assert covered >= 17


def test_what_is_better_at_equal_length_stays_better():
    shares, own, other = judged_by_length(3, skill=1.0, n=2000)
    found = length_controlled(shares, own, other, resamples=200)
    assert found.mean == pytest.approx(1 / (1 + np.exp(-1.0)), abs=0.03)
    assert found.low > 0.6 and found.n == 2000


def test_the_controlled_rate_is_that_of_the_published_regression():
    """The package's `length_controlled_minimal`: soft labels as two weighted rows, no intercept, L1 with C = 100."""
    shares, own, other = judged_by_length(5, skill=0.4)
    shares[:100] = [0.5] * 100
    difference = np.array(own) - np.array(other)
    x = np.stack([np.tanh(difference / difference.std(ddof=1)), np.ones(len(shares))], 1)
    y = np.array(shares)
    fitted = LogisticRegression(
        C=100, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=123
    ).fit(np.concatenate([x, x]), np.repeat([1, 0], len(y)), sample_weight=np.concatenate([y, 1 - y]))
    expected = fitted.predict_proba([[0.0, 1.0]])[0, 1]
    assert length_controlled(shares, own, other, resamples=10).mean == pytest.approx(expected, abs=0.002)


def test_too_few_pairs_have_no_controlled_rate():
    assert length_controlled([1.0] * 9, [1] * 9, [2] * 9).n == 0
    same = length_controlled([1.0, 0.0] * 10, [5] * 20, [5] * 20, resamples=50)
    assert same.mean == pytest.approx(0.5)
