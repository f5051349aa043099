"""AlpacaEval's measurement: the share of instructions on which a judge prefers our answer to a stored reference output.

Each pair is shown in both orders, a tie counts half, and the rate is told again with the length of the answers controlled.
The judge's prompts are ours: the rates compare systems before one judge and not with the published leaderboard.

Xuechen Li et al. 2023, https://github.com/tatsu-lab/alpaca_eval
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lpd_core.config import RunConfig
from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, shown
from lpd_core.corpus.rows import RowError, checked_text
from lpd_core.errors import DataError
from lpd_core.evaluate import self_correct
from lpd_core.judge import Judge, JudgePrompts, Pairing, pairwise_judgements, summarise_outcomes
from lpd_core.length_control import length_controlled
from lpd_core.parts import Sampler
from lpd_core.prompts import Templates
from lpd_core.types import Example

BENCHMARK = "alpaca-eval"


@dataclass(frozen=True, slots=True)
class Reference:
    """An instruction with the stored output that ours is compared with, and whose output it is."""

    key: str
    instruction: str
    output: str
    generator: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Our answer to an instruction, with z and the reason why there is none."""

    reference: Reference
    principle: str
    response: str
    failed: str = ""


def read_references(path: Path) -> list[Reference]:
    """The reference outputs of a JSON list or JSON lines with instruction, output and (optional) generator, as AlpacaEval
    stores model outputs. Raises `DataError` naming the row that is none, and for a file of several generators."""
    found = []
    for row in READERS[file_kind(path)](path, MAX_ROW_BYTES):
        try:
            if row.error:
                raise row.error
            texts = [checked_text(row.value.get(name), repr(name)) for name in ("instruction", "output")]
        except RowError as cause:
            raise DataError(
                f"{shown(path)}: {row.place.text}: no reference output: {cause.reason}"
            ) from cause
        name = str(row.value.get("generator") or path.stem)
        found.append(Reference(f"{BENCHMARK}:{len(found) + 1}", *texts, name))
    names = sorted({each.generator for each in found})
    if len(names) != 1:
        raise DataError(
            f"{shown(path)} must hold the outputs of one generator; it holds: {', '.join(names) or 'no row'}"
        )
    return found


def answer_instructions(
    references: Sequence[Reference], sampler: Sampler, templates: Templates, config: RunConfig, answer: str
) -> list[Answered]:
    """The system's answer to each instruction; `answer` is "y1" (the model as it is) or "y2"."""
    examples = [
        Example(BENCHMARK, each.key, ({"role": "user", "content": each.instruction},), each.output, "test")
        for each in references
    ]
    chains = self_correct(examples, sampler, templates, config, (BENCHMARK,), drafts_only=answer == "y1")
    told = []
    for reference, (draft, z, response) in zip(references, chains, strict=True):
        ended = [each for each in (draft, response) if each.finish_reason in ("error", "overlong")]
        failed = (ended[0].error or f"the prompt is {ended[0].finish_reason}") if ended else ""
        told.append(Answered(reference, z.text, "" if failed else response.text.strip(), failed))
    return told


def judged_rows(
    judge: Judge, prompts: JudgePrompts, system: str, answered: Sequence[Answered]
) -> list[dict[str, Any]]:
    """Each answer (side a) beside its reference (side b) before the judge, in both orders, as rows of `evaluations`: the
    share won is the score; None where there is no answer or no verdict in one of the orders."""
    pairings = [
        Pairing(
            a.reference.key,
            ({"role": "user", "content": a.reference.instruction},),
            a.response,
            a.reference.output,
        )
        for a in answered
        if not a.failed
    ]
    judged = {each.key: each for each in pairwise_judgements(judge, prompts, pairings)}
    rows = []
    for each in answered:
        found = judged.get(each.reference.key)
        forward, backward = found.outcomes if found else ((), ())
        verdict = {
            "judge": judge.name,
            "prompts": prompts.digest,
            "against": each.reference.generator,
            "question": each.reference.instruction,
            "forward": forward,
            "backward": backward,
            "lengths": [len(each.response), len(each.reference.output)],
            "answered": not each.failed,
            "error": each.failed,
        }
        rows.append(
            {
                "prompt_id": each.reference.key,
                "system": system,
                "benchmark": BENCHMARK,
                "draft": each.reference.output,
                "principle": each.principle,
                "response": each.response,
                "score": found.share if found else None,
                "verdict": json.dumps(verdict, ensure_ascii=False),
            }
        )
    return rows


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What judged answers (rows as stored, `verdict` decoded) say: by system, the pairs' summary, the length-controlled win
    rate and the mean lengths in characters."""
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["system"], row["prompt_id"])):
        systems.setdefault(row["system"], []).append(row)
    told = {}
    for name, own in systems.items():
        answered = [row for row in own if row["verdict"]["answered"]]
        judged = [row for row in answered if row["score"] is not None]
        lengths = [row["verdict"]["lengths"] for row in judged]
        ours, theirs = [a for a, _ in lengths], [b for _, b in lengths]
        told[name] = {
            **asdict(
                summarise_outcomes([(r["verdict"]["forward"], r["verdict"]["backward"]) for r in answered])
            ),
            "length_controlled": asdict(length_controlled([row["score"] for row in judged], ours, theirs)),
            "mean_length": sum(ours) / len(ours) if ours else None,
            "reference_length": sum(theirs) / len(theirs) if theirs else None,
            "unanswered": len(own) - len(answered),
        }
    return told
