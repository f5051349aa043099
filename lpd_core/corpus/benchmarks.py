"""Benchmarks as evaluation data: recognised by their fields, refused for training, read with `evaluation`.

IFEval and half of MT-Bench have no gold: their examples carry an empty one, and only measurements that need
none (judges, checkers) can use them. What the measurements need stands in `meta` under the benchmark's names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, shown
from lpd_core.corpus.rows import Parsed, RowError, checked_text, given, kept, listing, one_turn
from lpd_core.errors import DataError

Row = Mapping[str, Any]

BENCHMARKS = {
    "IFEval": {"prompt", "instruction_id_list"},
    "MT-Bench": {"question_id", "turns"},
    "MT-Bench's reference answers": {"answer_id", "choices"},
    "AlpacaEval": {"instruction", "dataset", "generator"},
}


def benchmark_of(row: Row) -> str | None:
    """The name of the benchmark whose marks the row's fields bear."""
    return next((name for name, marks in BENCHMARKS.items() if marks <= row.keys()), None)


def refuse_benchmark(row: Row) -> None:
    """Raises `RowError` for a row of a known benchmark: those measure, and are never learned from."""
    name = benchmark_of(row)
    if name:
        reason = f"a row of {name}, a benchmark: for evaluation only, never trained on; import it with --eval"
        raise RowError("benchmark", reason)


def refuse_answers(row: Row) -> None:
    """Raises `RowError` for MT-Bench's reference answers, which are no prompts but go with them."""
    if benchmark_of(row) == "MT-Bench's reference answers":
        reason = (
            "a reference answer of MT-Bench, no prompt; import question.jsonl with --references THIS_FILE"
        )
        raise RowError("benchmark", reason)


def parse_ifeval(row: Row) -> Parsed:
    """IFEval: a prompt with the instructions that checkers verify; no gold."""
    name = given(row, ("prompt",))
    meta = kept(row, "instruction_id_list", "kwargs")
    return Parsed(one_turn(checked_text(row[name], repr(name))), "", meta, row.get("key"))


def parse_mt_bench(row: Row) -> Parsed:
    """MT-Bench: the first turn as the prompt, both in `meta`; the gold is the first reference, if any."""
    texts = [checked_text(turn, f"turn {number}") for number, turn in enumerate(listing(row, "turns"), 1)]
    gold = _text_or_none(listing(row, "reference")[0] if row.get("reference") else "", "the reference")
    meta = {**kept(row, "category", "reference"), "turns": texts}
    return Parsed(one_turn(texts[0]), gold, meta, row.get("question_id"))


def parse_alpaca_eval(row: Row) -> Parsed:
    """AlpacaEval: the instruction; the gold is the stored output of its reference model."""
    instruction = checked_text(row.get("instruction"), "'instruction'")
    output = _text_or_none(row.get("output"), "'output'")
    return Parsed(one_turn(instruction), output, kept(row, "dataset", "generator"))


def _text_or_none(value: Any, what: str) -> str:
    """The gold that a benchmark's row may lack."""
    return checked_text(value, what) if value else ""


def read_references(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """MT-Bench's reference answers by question id, one text a turn. Raises `DataError` for another file."""
    path = Path(path)
    answers = {}
    for row in READERS[file_kind(path)](path, MAX_ROW_BYTES):
        try:
            if row.error:
                raise row.error
            answers[str(row.value["question_id"])] = list(row.value["choices"][0]["turns"])
        except (RowError, KeyError, IndexError, TypeError) as cause:
            reason = cause.reason if isinstance(cause, RowError) else "no question_id with choices and turns"
            raise DataError(f"{shown(path)}: {row.place.text}: {reason}") from cause
    return answers
