"""The real sample files beside the repository: read whole, or refused with the reason."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from lpd_core.corpus import SPLITS, read_corpus
from tests.corpus_files import assistant, refusal, user

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real sample files are not at {SHARED}")


@pytest.mark.parametrize(
    ("name", "format", "count", "counts"),
    [
        ("dolly_sample.jsonl", "instruction", 600, {}),
        ("hh_rlhf_harmless_benign_sample.jsonl", "hh-rlhf", 160, {}),
        ("hotpot_dev_distractor_sample.json", "hotpot", 24, {}),
        ("llamafactory_dpo_en_demo_sample.json", "sharegpt", 58, {"duplicate": 1}),
        ("self_instruct_seed_tasks.jsonl", "self-instruct", 175, {}),
        ("icai_synthetic_data_aligned_vqvtb.csv", "icai", 22, {"duplicate": 8}),
        ("icai_synthetic_data_orthogonal_adcbg.csv", "icai", 30, {}),
        ("icai_example_ap.json", "annotated-pairs", 1, {}),
    ],
)
def test_the_real_corpora_are_read_whole(name, format, count, counts):
    corpus = read_corpus(SHARED / name)
    assert (corpus.format, len(corpus.examples), corpus.counts) == (format, count, counts)
    assert len({example.prompt_id for example in corpus.examples}) == count
    assert {example.split for example in corpus.examples} <= set(SPLITS)
    assert all(e.gold.strip() and e.messages[-1]["role"] == "user" for e in corpus.examples)


@pytest.mark.parametrize(
    ("name", "format", "count", "golds"),
    [
        ("ifeval_input_data.jsonl", "ifeval", 541, 0),
        ("mt_bench_question.jsonl", "mt-bench", 80, 38),
    ],  # 39 references, one of them empty,
)
def test_the_real_benchmarks_are_read_whole_as_evaluation_data(name, format, count, golds):
    corpus = read_corpus(SHARED / name, evaluation=True)
    assert (corpus.format, len(corpus.examples), corpus.counts) == (format, count, {})
    assert sum(bool(example.gold) for example in corpus.examples) == golds
    assert {example.split for example in corpus.examples} == {"test"}


def test_the_real_reference_answers_join_their_questions():
    answers = SHARED / "mt_bench_reference_answer_gpt-4.jsonl"
    corpus = read_corpus(SHARED / "mt_bench_question.jsonl", evaluation=True, references=answers)
    rows = [json.loads(line) for line in answers.open(encoding="utf-8")]
    golds = {e.prompt_id.partition(":")[2]: e.gold for e in corpus.examples}
    assert len(rows) == 30
    assert all(golds[str(row["question_id"])] == row["choices"][0]["turns"][0] for row in rows)


def test_the_real_pairs_keep_the_preferred_text_as_gold():
    with (SHARED / "icai_synthetic_data_orthogonal_adcbg.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    corpus = read_corpus(SHARED / "icai_synthetic_data_orthogonal_adcbg.csv")
    for row, example in zip(rows, corpus.examples, strict=True):
        preferred = row[row["preferred_text"]]
        prompt = example.messages[0]["content"]
        assert "".join(f"Instruction:{prompt}Output:{example.gold}".split()) == "".join(preferred.split())
    rows = json.loads((SHARED / "llamafactory_dpo_en_demo_sample.json").read_text(encoding="utf-8"))
    corpus = read_corpus(SHARED / "llamafactory_dpo_en_demo_sample.json")
    assert {e.gold for e in corpus.examples} == {row["chosen"]["value"] for row in rows}
    assert {e.messages[-1]["content"] for e in corpus.examples} == {
        row["conversations"][-1]["value"] for row in rows
    }


def test_the_real_dolly_rows_keep_instruction_context_and_response():
    rows = [json.loads(line) for line in (SHARED / "dolly_sample.jsonl").open(encoding="utf-8")]
    corpus = read_corpus(SHARED / "dolly_sample.jsonl")
    for row, example in zip(rows, corpus.examples, strict=True):
        parts = [row["instruction"], row["context"]] if row["context"] else [row["instruction"]]
        assert example.messages == (user("\n\n".join(parts)),)
        assert example.gold == row["response"]


def test_the_real_transcripts_are_parted_at_their_marks_and_lose_nothing():
    path = SHARED / "hh_rlhf_harmless_benign_sample.jsonl"
    marks = {"user": "Human: ", "assistant": "Assistant: "}
    for line, example in zip(
        path.open(encoding="utf-8", newline="\n"), read_corpus(path).examples, strict=True
    ):
        turns = [*example.messages, assistant(example.gold)]
        rebuilt = "".join(f"\n\n{marks[turn['role']]}{turn['content']}" for turn in turns)
        assert "".join(rebuilt.split()) == "".join(json.loads(line)["chosen"].split())
        assert "rejected" in example.meta
    assert Counter(len(example.messages) for example in read_corpus(path).examples).keys() <= {1, 3, 5, 7, 9}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ifeval_input_data.jsonl", "IFEval, a benchmark: for evaluation only"),
        ("mt_bench_question.jsonl", "MT-Bench, a benchmark: for evaluation only"),
        ("mt_bench_reference_answer_gpt-4.jsonl", "a benchmark: for evaluation only"),
        ("principles/morlaif_principles.jsonl", "the row has: name, principle"),
    ],
)
def test_the_real_files_without_golds_are_refused_with_the_reason(name, said):
    assert said in str(refusal(SHARED / name, skip_bad=True))
