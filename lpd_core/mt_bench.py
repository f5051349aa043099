"""MT-Bench: two turns a question, each answer rated from 1 to 10 by a judge, beside a reference for maths, coding and
reasoning.

The judge's prompts are ours, in MT-Bench's manner, so the ratings compare systems before one judge and not with published
tables. What was not answered or not rated is counted and never a low rating.

Lianmin Zheng et al. 2023, https://arxiv.org/abs/2306.05685
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lpd_core.config import RunConfig
from lpd_core.corpus.benchmarks import parse_mt_bench, read_references
from lpd_core.corpus.readers import READERS
from lpd_core.corpus.reading import MAX_ROW_BYTES, file_kind, shown
from lpd_core.corpus.rows import RowError
from lpd_core.errors import DataError
from lpd_core.evaluate import self_correct
from lpd_core.judge import Judge, JudgePrompts, Verdict
from lpd_core.judge import Question as Asked
from lpd_core.metrics import interval
from lpd_core.parts import Sampler
from lpd_core.prompts import Templates
from lpd_core.types import Example, Message

BENCHMARK = "mt-bench"
REFERENCED = ("math", "coding", "reasoning")
"""The categories that are rated beside a reference answer, where the file gives one."""
GENERAL = (
    "Judge how good the answer is: helpful, relevant, right, deep enough, inventive where that is asked for, and with "
    "the detail it needs. Of several turns rate the last answer only, as it stands in the conversation."
)
REFERENCE = (
    "Judge whether the answer is right, then whether it helps. The reference answer is right: find where the answer departs "
    "from it in substance and work out the mistakes first; a wrong result earns a low rating however well it reads. Of "
    "several turns rate the last answer only, as it stands in the conversation."
)


@dataclass(frozen=True, slots=True)
class Question:
    """One of the benchmark's questions: its turns, and a reference answer for each turn where there are any."""

    question_id: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as a system answered it: the conversation up to its question, then y1, z and the final answer. `failed` says
    why there is no answer."""

    question: Question
    number: int
    messages: tuple[Message, ...]
    draft: str = ""
    principle: str = ""
    response: str = ""
    failed: str = ""

    @property
    def reference(self) -> str | None:
        """What the judge is shown as right, turn by turn up to this one; None where the category is judged without."""
        given = self.question.references[: self.number]
        if self.question.category not in REFERENCED or not any(given):
            return None
        told = [f"Turn {n}: {text}" for n, text in enumerate(given, start=1) if text]
        return "\n\n".join(told) if self.number > 1 else given[0] or None


def read_questions(path: Path, references: Path | None = None) -> list[Question]:
    """The questions of MT-Bench's own JSONL file; those of `references` (FastChat's file of a model's answers) take the
    place of the file's own. Raises `DataError` naming the row that is none."""
    better = read_references(references) if references else {}
    questions = []
    for row in READERS[file_kind(path)](path, MAX_ROW_BYTES):
        try:
            if row.error:
                raise row.error
            found = parse_mt_bench(row.value)
        except (RowError, KeyError, AttributeError) as cause:
            reason = cause.reason if isinstance(cause, RowError) else "question_id and turns are needed"
            raise DataError(f"{shown(path)}: {row.place.text}: no MT-Bench question: {reason}") from cause
        name, given = str(row.value.get("question_id")), found.meta.get("reference") or ()
        category = str(found.meta.get("category") or "none")
        answers = tuple(map(str, better.get(name, given)))
        questions.append(Question(name, category, tuple(found.meta["turns"]), answers))
    return questions


def answer_questions(
    questions: Sequence[Question], sampler: Sampler, templates: Templates, config: RunConfig, answer: str
) -> list[Turn]:
    """Every turn of every question, in order, each conversation going on with the system's own earlier answer. `answer` is
    "y1" (the model as it is) or "y2" (draft, principle, refinement). After a turn that failed there is no next one."""
    turns: list[Turn] = []
    talks: dict[str, tuple[Message, ...]] = {question.question_id: () for question in questions}
    for number in range(1, max((len(question.turns) for question in questions), default=0) + 1):
        due = [
            Turn(q, number, (*talks[q.question_id], {"role": "user", "content": q.turns[number - 1]}))
            for q in questions
            if len(q.turns) >= number
        ]
        broken = {turn.question.question_id for turn in turns if turn.failed}
        open_ = [turn for turn in due if turn.question.question_id not in broken]
        done = _answered(open_, sampler, templates, config, answer)
        turns += done
        turns += [
            replace(t, failed="the turn before has no answer")
            for t in due
            if t.question.question_id in broken
        ]
        talks |= {
            turn.question.question_id: (*turn.messages, {"role": "assistant", "content": turn.response})
            for turn in done
        }
    return turns


def _answered(
    turns: Sequence[Turn], sampler: Sampler, templates: Templates, config: RunConfig, answer: str
) -> list[Turn]:
    examples = [
        Example(BENCHMARK, f"{BENCHMARK}:{t.question.question_id}:{t.number}", t.messages, "", "test")
        for t in turns
    ]
    chains = self_correct(examples, sampler, templates, config, (BENCHMARK,), drafts_only=answer == "y1")
    done = []
    for turn, (draft, z, response) in zip(turns, chains, strict=True):
        ended = [each for each in (draft, response) if each.finish_reason in ("error", "overlong")]
        failed = (ended[0].error or f"the prompt is {ended[0].finish_reason}") if ended else ""
        texts = (draft.text.strip(), z.text, "" if failed else response.text.strip())
        done.append(replace(turn, draft=texts[0], principle=texts[1], response=texts[2], failed=failed))
    return done


def rate_turns(judge: Judge, prompts: JudgePrompts, turns: Sequence[Turn]) -> list[Verdict | None]:
    """A rating of each turn's answer; None where there is no answer to rate."""
    general, guided = replace(prompts, rubric=GENERAL), replace(prompts, rubric=REFERENCE)
    answered = [turn for turn in turns if not turn.failed]
    asked = [
        Asked(
            (guided if turn.reference else general).rate(turn.messages, turn.response, turn.reference),
            "rating",
        )
        for turn in answered
    ]
    verdicts = iter(judge.ask(asked))
    return [None if turn.failed else next(verdicts) for turn in turns]


def prompts_digest(prompts: JudgePrompts) -> str:
    """16 hexadecimal digits that name the judge's prompts as this benchmark uses them."""
    both = replace(prompts, rubric=GENERAL).digest + replace(prompts, rubric=REFERENCE).digest
    return hashlib.sha256(both.encode()).hexdigest()[:16]


def stored_rows(
    system: str, judge: str, digest: str, turns: Sequence[Turn], verdicts: Sequence[Verdict | None]
) -> list[dict[str, Any]]:
    """The rated turns as rows of `evaluations`: the rating as score, the turn's number as sample."""
    rows = []
    for turn, verdict in zip(turns, verdicts, strict=True):
        told = {
            "judge": judge,
            "prompts": digest,
            "category": turn.question.category,
            "question": turn.messages[-1]["content"],
            "referenced": turn.reference is not None,
            "said": verdict.said if verdict else "",
            "error": turn.failed or (verdict.error if verdict else None) or "",
            "answered": not turn.failed,
        }
        rows.append(
            {
                "prompt_id": f"{BENCHMARK}:{turn.question.question_id}",
                "system": system,
                "sample": turn.number,
                "benchmark": BENCHMARK,
                "draft": turn.draft,
                "principle": turn.principle,
                "response": turn.response,
                "score": float(verdict.value) if verdict and verdict.value is not None else None,
                "verdict": json.dumps(told, ensure_ascii=False),
            }
        )
    return rows


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What rated turns (rows as stored, `verdict` decoded) say: by system, the mean rating of all turns, of each turn and
    of each category with bootstrap intervals over questions, and the paired difference to the first system."""
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["system"], row["prompt_id"])):
        systems.setdefault(row["system"], []).append(row)
    first = _by_question(next(iter(systems.values()), []))
    told = {}
    for place, (name, own) in enumerate(systems.items()):
        means = _by_question(own)
        shared = sorted(means.keys() & first.keys()) if place else []
        told[name] = {
            "average": asdict(interval(list(means.values()))),
            "turns": {
                str(n): asdict(interval(list(_by_question([r for r in own if r["sample"] == n]).values())))
                for n in sorted({row["sample"] for row in own})
            },
            "categories": {
                category: asdict(
                    interval(list(_by_question([r for r in own if _category(r) == category]).values()))
                )
                for category in sorted({_category(row) for row in own})
            },
            "over_first": asdict(interval([means[key] - first[key] for key in shared])),
            "turns_asked": len(own),
            "unanswered": sum(not row["verdict"]["answered"] for row in own),
            "failed_verdicts": sum(row["score"] is None and row["verdict"]["answered"] for row in own),
            "referenced": sum(row["verdict"]["referenced"] for row in own),
        }
    return told


def _category(row: Mapping[str, Any]) -> str:
    return row["verdict"]["category"]


def _by_question(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean rating of each question's rated turns."""
    ratings: dict[str, list[float]] = {}
    for row in rows:
        if row["score"] is not None:
            ratings.setdefault(row["prompt_id"], []).append(row["score"])
    return {key: sum(found) / len(found) for key, found in ratings.items()}
