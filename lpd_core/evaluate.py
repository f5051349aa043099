"""The held-out measurement: x -> y1 -> z -> y2 by one model, no gold shown, no constitution in the context.

Section 6: intrinsic self-correction. The gold is used after the fact, to score. The same chain is what a user of
the trained model runs (`self_correct`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lpd_core import metrics
from lpd_core.config import RunConfig, Sampling
from lpd_core.parts import Sampler
from lpd_core.prompts import Templates, improve_chat, opening, principle_chat, refine_chat
from lpd_core.scoring import clean_principle, normalise_principle
from lpd_core.seeds import derive_seed
from lpd_core.stage import Stage, Tables, generation_record, open_sampler, work_in_chunks
from lpd_core.store import corpora, results
from lpd_core.types import Example, Generation, Pair, SampleRequest

NO_PRINCIPLE = Generation("", "stop", 0, 0)


def self_correct(
    examples: Sequence[Example],
    sampler: Sampler,
    templates: Templates,
    config: RunConfig,
    salt: tuple,
    principle: str | None = None,
    drafts_only: bool = False,
) -> list[tuple[Generation, Generation, Generation]]:
    """(y1, z, y2) for each prompt, each stage sampled for all prompts at once; z's text is cleaned, its `raw` is not.
    `salt` names the seeds' purpose. A `principle` given stands as z everywhere, and none is sampled. A model that is
    trained without principles answers as it learnt to: `star` writes y2 with no z, `gold` answers once, so that y2 is
    y1, as it is with `drafts_only`."""

    def ask(chats, sampling: Sampling, role: str) -> list[Generation]:
        seeds = [derive_seed(config.seed, *salt, role, example.prompt_id) for example in examples]
        requests = [SampleRequest(chat, seed) for chat, seed in zip(chats, seeds, strict=True)]
        return sampler.sample(requests, sampling)

    settings = config.evaluate
    drafts = ask([opening(templates, example.messages) for example in examples], settings.draft, "draft")
    texts = [draft.text.strip() for draft in drafts]
    if drafts_only or (principle is None and config.m_step.target == "gold"):
        return [(draft, NO_PRINCIPLE, draft) for draft in drafts]
    if principle is None and config.m_step.target == "star":
        cues = [improve_chat(templates, e.messages, text) for e, text in zip(examples, texts, strict=True)]
        answers = ask(cues, settings.refine, "refine")
        return [(draft, NO_PRINCIPLE, y2) for draft, y2 in zip(drafts, answers, strict=True)]
    principles = [replace(NO_PRINCIPLE, text=principle or "")] * len(texts)
    if principle is None:
        cues = [principle_chat(templates, e.messages, text) for e, text in zip(examples, texts, strict=True)]
        principles = [_cleaned(answer) for answer in ask(cues, settings.principle, "principle")]
    chats = [
        refine_chat(templates, example.messages, text, z.text)
        for example, text, z in zip(examples, texts, principles, strict=True)
    ]
    return list(zip(drafts, principles, ask(chats, settings.refine, "refine"), strict=True))


def _records(draft: Generation, z: Generation, response: Generation) -> dict[str, Any]:
    """What is kept of each generation, by role, of those that were sampled."""
    records = {"draft": generation_record(draft, draft.text.strip())}
    if z is not NO_PRINCIPLE:
        records["principle"] = generation_record(z, z.text)
    if response is not draft:
        records["refine"] = generation_record(response, response.text.strip())
    return records


def _cleaned(answer: Generation) -> Generation:
    raw = answer.text if answer.raw is None else answer.raw
    return replace(answer, text=clean_principle(answer.text), raw=raw)


def measure(stage: Stage) -> None:
    """Measure M_t (M_0 for iteration 0) on every held-out set, chunk by chunk."""
    sampler = open_sampler(stage)
    lists = [
        (
            corpora.assigned(stage.store, stage.run_id, 0, benchmark),
            partial(_measure_chunk, stage, sampler, benchmark),
        )
        for benchmark in corpora.benchmarks(stage.store, stage.run_id)
    ]
    work_in_chunks(stage, lists, "prompts")


def _measure_chunk(stage: Stage, sampler: Sampler, benchmark: str, examples: Sequence[Example]) -> Tables:
    salt = ("evaluate", stage.iteration, benchmark)
    chains = self_correct(examples, sampler, stage.templates, stage.config, salt)
    draft_scores = _scores(stage, [draft for draft, _, _ in chains], examples)
    scores = _scores(stage, [response for _, _, response in chains], examples)
    rows = [
        {
            "eval_id": f"{stage.run_id}.{stage.iteration}.{benchmark}",
            "prompt_id": example.prompt_id,
            "system": "base" if stage.iteration == 0 else stage.config.m_step.target,
            "sample": 0,
            "benchmark": benchmark,
            "draft": draft.text.strip(),
            "principle": z.text,
            "response": response.text.strip(),
            "score": score,
            "draft_score": draft_score,
            "verdict": json.dumps({"right": _is_right(stage, z.text, example)}),
            "generations": json.dumps(_records(draft, z, response)),
        }
        for example, (draft, z, response), score, draft_score in zip(
            examples, chains, scores, draft_scores, strict=True
        )
    ]
    return {"evaluations": rows}


def _scores(stage: Stage, answers: Sequence[Generation], examples: Sequence[Example]) -> list[float | None]:
    """Scores of answers; one that failed or was refused stays unscored, never a zero."""
    pairs = [Pair(a.text.strip(), e.gold, e.messages) for a, e in zip(answers, examples, strict=True)]
    scored = stage.parts.scorer.score(pairs)
    return [
        None if answer.finish_reason in ("error", "overlong") else score
        for answer, score in zip(answers, scored, strict=True)
    ]


def _is_right(stage: Stage, principle: str, example: Example) -> bool | None:
    return is_right(principle, example.meta) if stage.config.m_step.target == "staple" else None


def is_right(principle: str, meta: Mapping[str, Any]) -> bool | None:
    """Whether z is one of the statements known to be right for the prompt; None where none are known."""
    known = meta.get("right_principles")
    if not known:
        return None
    return normalise_principle(principle) in {normalise_principle(statement) for statement in known}


def summarise(stage: Stage) -> dict[str, Any]:
    """The measures of every held-out set at this iteration, against the base model's drafts."""
    base = results.base_drafts(stage.store, stage.run_id)
    summary = {}
    for benchmark in corpora.benchmarks(stage.store, stage.run_id):
        rows = results.evaluation_rows(stage.store, stage.run_id, stage.iteration, benchmark)
        summary[benchmark] = metrics.heldout_summary(rows, base, stage.config.evaluate.resamples)
    return summary
