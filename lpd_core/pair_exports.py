"""M_t's answers beside the base model's, in the formats of LLM Comparator, Feedback Forensics / ICAI and AlpacaEval.

Side a is M_t's y2, side b the base model's y1. https://github.com/PAIR-code/llm-comparator (JSON data format),
https://github.com/rdnfn/icai (annotated pairs 2.0), https://github.com/tatsu-lab/alpaca_eval (model outputs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lpd_core.errors import UserError
from lpd_core.judge.prompts import conversation
from lpd_core.store import Store, constitutions, evaluating

MOST = 1.5
"""LLM Comparator's largest score: a is much better."""
PREFERRED = "judge:M_"
ENTRY = "judge:entry "


def answer_rows(store: Store, run_id: str, iteration: int, benchmark: str) -> list[dict[str, Any]]:
    """The prompts that both answered: `answer` of M_t beside `base`, with their scores.

    Raises `UserError` where nothing has been measured."""
    answers = evaluating.heldout_answers(store, run_id, iteration, benchmark)
    base = {row["prompt_id"]: row for row in evaluating.heldout_answers(store, run_id, 0, benchmark)}
    rows = [
        {
            "prompt_id": row["prompt_id"],
            "prompt": conversation(row["messages"]),
            "dataset": row["dataset_id"],
            "answer": row["response"],
            "score": row["score"],
            "principle": row["principle"],
            "base": base[row["prompt_id"]]["draft"],
            "base_score": base[row["prompt_id"]]["draft_score"],
        }
        for row in answers
        if row["prompt_id"] in base
    ]
    if not rows:
        raise UserError(
            f"run {run_id} has no answers of iteration {iteration} and the base model on {benchmark!r}"
        )
    return rows


def comparator(store: Store, run_id: str, iteration: int, benchmark: str) -> dict[str, Any]:
    """LLM Comparator's JSON. The score is 1.5 (f(a) - f(b)); a judge's kept verdicts, where there are some, are the
    individual ratings, each order its own; a pair without scores is left out and counted in `source_path`."""
    rows = answer_rows(store, run_id, iteration, benchmark)
    ratings = _ratings(store, run_id, iteration)
    scored = [row for row in rows if row["score"] is not None and row["base_score"] is not None]
    return {
        "metadata": {
            "source_path": f"run {run_id}, {benchmark}: score = 1.5 (f(a) - f(b)); {len(rows) - len(scored)} unscored",
            "custom_fields_schema": [
                {"name": "prompt_id", "type": "string"},
                {"name": "principle", "type": "string"},
                {"name": "f", "type": "per_model_number"},
                {"name": "words", "type": "per_model_number"},
            ],
        },
        "models": [{"name": f"M_{iteration} y2"}, {"name": "base y1"}],
        "examples": [
            {
                "input_text": row["prompt"],
                "tags": [row["dataset"]],
                "output_text_a": row["answer"],
                "output_text_b": row["base"],
                "score": MOST * (row["score"] - row["base_score"]),
                "individual_rater_scores": ratings.get(row["prompt_id"], []),
                "custom_fields": {
                    "prompt_id": row["prompt_id"],
                    "principle": row["principle"] or "",
                    "f": [row["score"], row["base_score"]],
                    "words": [len(row["answer"].split()), len(row["base"].split())],
                },
            }
            for row in scored
        ],
    }


def _ratings(store: Store, run_id: str, iteration: int) -> dict[str, list[dict[str, Any]]]:
    """By prompt, the verdicts of judges on which answer is better; one that gave none is no rating."""
    points = {"a": MOST, "tie": 0.0, "b": -MOST}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in evaluating.pair_verdicts(store, run_id, iteration):
        if not row["benchmark"].startswith(PREFERRED):
            continue
        for is_flipped, outcomes in ((False, row["forward"]), (True, row["backward"])):
            found.setdefault(row["prompt_id"], []).extend(
                {"is_flipped": is_flipped, "score": points[outcome], "rationale": row["system"]}
                for outcome in outcomes
                if outcome
            )
    return found


def annotated_pairs(store: Store, run_id: str, iteration: int, benchmark: str) -> dict[str, Any]:
    """ICAI's annotated pairs 2.0: the default annotator prefers the higher f; each judge is one more, and each principle
    that a judge has tested is one of type `principle`. A tie is "not_applicable", a verdict not given "invalid"."""
    rows = answer_rows(store, run_id, iteration, benchmark)
    by_f = _name("f")
    annotators: dict[str, dict[str, str]] = {
        by_f: {"name": "f", "description": "The answer closer to the gold by f.", "type": "unknown"}
    }
    annotations = {row["prompt_id"]: {by_f: _by_score(row)} for row in rows}
    texts = _entry_texts(store, run_id, iteration)
    for row in evaluating.pair_verdicts(store, run_id, iteration):
        described = _annotator(row["benchmark"], row["system"], texts)
        if described is None or row["prompt_id"] not in annotations:
            continue
        key = _name(f"{row['benchmark']} {row['system']}")
        annotators[key] = described
        annotations[row["prompt_id"]][key] = _preference(row["score"])
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {
            "version": "2.0",
            "description": f"M_{iteration} against the base model of run {run_id}",
            "created_at": now,
            "dataset_name": f"{run_id} {benchmark}",
            "default_annotator": by_f,
            "available_metadata_keys_per_comparison": ["prompt_id", "dataset"],
        },
        "annotators": annotators,
        "comparisons": [
            {
                "id": _name(row["prompt_id"]),
                "prompt": row["prompt"],
                "response_a": {"text": row["answer"], "model": f"M_{iteration} y2"},
                "response_b": {"text": row["base"], "model": "base y1"},
                "annotations": annotations[row["prompt_id"]],
                "metadata": {"prompt_id": row["prompt_id"], "dataset": row["dataset"]},
            }
            for row in rows
        ],
    }


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _entry_texts(store: Store, run_id: str, iteration: int) -> Mapping[str, str]:
    constitution = constitutions.approved(store, run_id, iteration)
    return {entry.entry_id: entry.text for entry in constitution.entries} if constitution else {}


def _annotator(benchmark: str, judge: str, texts: Mapping[str, str]) -> dict[str, str] | None:
    if benchmark.startswith(ENTRY):
        text = texts.get(benchmark.removeprefix(ENTRY), "")
        return {"description": f"Select the response that follows: {text}", "type": "principle"}
    if benchmark.startswith(PREFERRED):
        return {"name": judge, "description": "The better answer by this judge.", "type": "ai"}
    return None


def _by_score(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["score"] is None or row["base_score"] is None:
        return _preference(None)
    difference = row["score"] - row["base_score"]
    return _preference(0.5 if difference == 0 else float(difference > 0))


def _preference(share: float | None) -> dict[str, Any]:
    if share is None:
        return {"pref": None, "no_pref_reason": "invalid"}
    if share == 0.5:
        return {"pref": None, "no_pref_reason": "not_applicable"}
    return {"pref": "a" if share > 0.5 else "b"}


def alpaca_eval(store: Store, run_id: str, iteration: int, benchmark: str) -> Sequence[Mapping[str, str]]:
    """AlpacaEval's model outputs: M_t's answers, one record a prompt."""
    return [
        {
            "dataset": row["dataset"],
            "instruction": row["prompt"],
            "output": row["answer"],
            "generator": f"{run_id} M_{iteration}",
        }
        for row in answer_rows(store, run_id, iteration, benchmark)
    ]


FORMATS: Mapping[str, Callable[[Store, str, int, str], Any]] = {
    "comparator": comparator,
    "annotated-pairs": annotated_pairs,
    "alpaca-eval": alpaca_eval,
}
"""The formats by their command's name."""
