"""Contamination: benchmark prompts planted among training prompts are found, others are not."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from lpd_core.corpus import BenchmarkPrompt, find_contamination, read_benchmark, read_corpus
from lpd_core.errors import DataError
from lpd_core.types import Example
from tests.corpus_files import user, write_rows

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
real_files = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real sample files are not at {SHARED}")
TASK = "Write a letter to your landlord about the heating that has been broken since the first of March."


def row(text: str, gold: str = "Yes.", prompt_id: str = "d:1") -> Example:
    return Example("d", prompt_id, (user(text),), gold, "train")


def kinds(examples, *texts) -> list[str]:
    benchmark = [BenchmarkPrompt("bench", str(n), text) for n, text in enumerate(texts)]
    return [found.kind for found in find_contamination(examples, benchmark)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TASK, ["exact"]),
        (TASK.upper().replace(" ", "\n ").rstrip("."), ["exact"]),
        ("Please help me. " + TASK, ["13-gram"]),
        ("x " * 3 + TASK + " Thank you!", ["13-gram"]),
        ("Write a letter to your landlord about the heating.", []),
        (TASK.replace("heating", "roof").replace("first", "last"), []),
    ],
)
def test_a_prompt_is_compared_by_its_words(text, kind):
    assert kinds([row(text)], TASK) == kind


@pytest.mark.parametrize("before", range(15))
@pytest.mark.parametrize("after", [0, 3])
def test_thirteen_words_are_found_at_every_place_and_twelve_at_none(before, after):
    words = [f"w{n}" for n in range(13)]
    around = [f"a{n}" for n in range(before)], [f"b{n}" for n in range(after)]
    text = " ".join([*around[0], *words, *around[1]])
    assert kinds([row(text)], "start " + " ".join(words) + " end") == ["13-gram"]
    assert kinds([row(text)], "start " + " ".join(words[:12]) + " end of it all") == []


def test_golds_and_earlier_turns_are_looked_through_and_each_pair_is_told_once():
    chat = Example(
        "d", "d:2", (user(TASK), {"role": "assistant", "content": TASK}, user("More")), TASK, "train"
    )
    (found,) = find_contamination([chat], [BenchmarkPrompt("bench", "7", TASK)])
    assert (found.prompt_id, found.benchmark, found.key, found.kind) == ("d:2", "bench", "7", "exact")
    assert kinds([row("Hello", gold=TASK)], TASK) == ["exact"]


def test_a_short_benchmark_prompt_only_matches_whole():
    assert kinds([row("Who are you?")], "Who are you") == ["exact"]
    assert kinds([row("Say, who are you?")], "Who are you") == []
    assert kinds([row("...")], "!!!") == []


def test_benchmark_files_give_every_turn_with_the_rows_own_key(tmp_path):
    path = write_rows(tmp_path, {"question_id": 81, "category": "writing", "turns": ["Compose.", "Again."]})
    assert read_benchmark(path) == [
        BenchmarkPrompt("MT-Bench", "81", "Compose."),
        BenchmarkPrompt("MT-Bench", "81", "Again."),
    ]
    path = write_rows(tmp_path, {"instruction": "Go.", "output": "", "generator": "g", "dataset": "helpful"})
    assert read_benchmark(path) == [BenchmarkPrompt("AlpacaEval", "line1", "Go.")]
    assert read_benchmark(write_rows(tmp_path, {"messages": [user("Hi")]}), "mine")[0].benchmark == "mine"
    with pytest.raises(DataError, match="line 1 holds no prompt"):
        read_benchmark(write_rows(tmp_path, {"words": "a"}))


@real_files
def test_ifeval_and_mt_bench_prompts_planted_into_a_training_file_are_found(tmp_path):
    ifeval = read_benchmark(SHARED / "ifeval_input_data.jsonl")
    mt_bench = read_benchmark(SHARED / "mt_bench_question.jsonl")
    assert (len(ifeval), len(mt_bench)) == (541, 160)
    rows = [json.loads(line) for line in (SHARED / "dolly_sample.jsonl").open(encoding="utf-8")]
    planted = {f"p{n}": prompt for n, prompt in enumerate([*ifeval[::54], *mt_bench[::40]])}
    rows += [
        {"id": k, "instruction": f"\n{p.text.upper()} ", "response": "Fine."} for k, p in planted.items()
    ]
    long = max(ifeval, key=lambda p: len(p.text))
    rows.append({"id": "inside", "instruction": f"Task: {long.text} Thanks.", "response": "Fine."})
    corpus = read_corpus(write_rows(tmp_path, *rows))
    found = find_contamination(corpus.examples, [*ifeval, *mt_bench])
    exact = {f.prompt_id.partition(":")[2]: (f.benchmark, f.key) for f in found if f.kind == "exact"}
    assert exact == {k: (p.benchmark, p.key) for k, p in planted.items()}
    inside = {(f.kind, f.key) for f in found if f.prompt_id.endswith(":inside")}
    assert ("13-gram", long.key) in inside
    clean = {f.prompt_id for f in found} - {f"{corpus.dataset_id}:{k}" for k in (*planted, "inside")}
    assert clean == set(), "no row of Dolly's sample repeats a benchmark"


def test_a_hundred_thousand_prompts_are_checked_in_seconds():
    choose = random.Random(1)
    vocabulary = [f"word{n}" for n in range(3000)]
    texts = [" ".join(choose.choices(vocabulary, k=100)) for _ in range(2000)]
    examples = [row(texts[n % 2000], prompt_id=f"d:{n}") for n in range(20_000)]
    benchmark = [
        BenchmarkPrompt("b", str(n), " ".join(choose.choices(vocabulary, k=60))) for n in range(1500)
    ]
    started = time.process_time()
    assert find_contamination(examples, benchmark) == []
    assert time.process_time() - started < 6, "20,000 prompts; a fifth of the size promised"
