"""The E-step: principle discovery, section 2. Draft, propose with the gold as hint, refine without it, accept,
select. Samples (z, y2) from the posterior p(y2, z | x, y1, yG) by rejection: a candidate stays only if it
comes closer to the gold than the draft.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lpd_core import metrics
from lpd_core.config import RunConfig, Sampling, resolve_path
from lpd_core.constitution import read_principles
from lpd_core.parts import Sampler, Scorer
from lpd_core.prompts import Chat, Templates, critique_chat, opening, propose_chat, refine_chat
from lpd_core.scoring import clean_principle, judge, judge_principle, principle_id, select
from lpd_core.seeds import derive_seed
from lpd_core.stage import Stage, Tables, generation_record, open_sampler, work_in_chunks
from lpd_core.store import corpora, results
from lpd_core.types import Candidate, CandidateStatus, Draft, Example, Generation, Pair, SampleRequest


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate in the making: what was said so far and, once it has failed, why."""

    example: Example
    draft: Draft
    sample: int
    raw_principle: str
    principle: str
    tokens: int
    status: CandidateStatus | None = None
    critique: str | None = None
    response: Generation | None = None
    generations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Discovery:
    """The E-step's tools for one iteration: `discover` turns prompts into drafts and candidates."""

    sampler: Sampler
    scorer: Scorer
    templates: Templates
    config: RunConfig
    iteration: int
    seeds: tuple[str, ...] = ()

    def discover(self, examples: Sequence[Example]) -> tuple[list[Draft], list[tuple[Candidate, Attempt]]]:
        """All drafts and all candidates of some prompts, each with what became of it."""
        drafts = self.write_drafts(examples)
        return drafts, self.accept(self.refine(self.criticise(self.begin(examples, drafts))))

    def write_drafts(self, examples: Sequence[Example]) -> list[Draft]:
        """y1 ~ M(. | x), with its baseline b = f(y1, yG)."""
        chats = [(example, opening(self.templates, example.messages), 0) for example in examples]
        answers = self._ask(chats, self.config.e_step.draft, "draft")
        texts = [answer.text.strip() for answer in answers]
        scores = self.scorer.score(
            [Pair(text, e.gold, e.messages) for text, e in zip(texts, examples, strict=True)]
        )
        return [
            Draft(
                prompt_id=example.prompt_id,
                text=text,
                score=None if _failed(answer) else score,
                finish_reason=answer.finish_reason,
                tokens=answer.tokens,
                generations={"draft": generation_record(answer, text)},
            )
            for example, answer, text, score in zip(examples, answers, texts, scores, strict=True)
        ]

    def begin(self, examples: Sequence[Example], drafts: Sequence[Draft]) -> list[Attempt]:
        """An attempt for each principle proposed, and one, failed, for each prompt that is not mined."""
        pairs = list(zip(examples, drafts, strict=True))
        outside = [self._not_mined(example, draft) for example, draft in pairs]
        mined = [pair for pair, reason in zip(pairs, outside, strict=True) if reason is None]
        return [attempt for attempt in outside if attempt is not None] + self.propose(mined)

    def propose(self, pairs: Sequence[tuple[Example, Draft]]) -> list[Attempt]:
        """N principles z_i ~ M(. | x, y1, yG) a prompt; the only chats that show the gold."""
        asked = [
            (
                (example, draft),
                propose_chat(self.templates, example.messages, draft.text, example.gold),
                sample,
            )
            for example, draft in pairs
            for sample in range(self._seeded, self.config.e_step.n)
        ]
        chats = [(example, chat, sample) for (example, _), chat, sample in asked]
        answers = self._ask(chats, self.config.e_step.propose, "propose")
        attempts = [self._from_seed(*pair, sample) for pair in pairs for sample in range(self._seeded)]
        for ((example, draft), _, sample), answer in zip(asked, answers, strict=True):
            principle = clean_principle(answer.text)
            status = judge_principle(principle, answer.finish_reason, draft, example, self.config.e_step)
            record = {"propose": generation_record(answer, answer.text)}
            attempt = Attempt(example, draft, sample, answer.text, principle, answer.tokens, status)
            attempts.append(replace(attempt, generations=record))
        return attempts

    @property
    def _seeded(self) -> int:
        """How many of each prompt's principles are drawn from the seeds."""
        return round(self.config.e_step.n * self.config.e_step.seed_share) if self.seeds else 0

    def _from_seed(self, example: Example, draft: Draft, sample: int) -> Attempt:
        number = derive_seed(self.config.seed, self.iteration, "seed", example.prompt_id, sample)
        text = self.seeds[number % len(self.seeds)]
        status = judge_principle(text, "stop", draft, example, self.config.e_step)
        return Attempt(example, draft, sample, text, text, 0, status)

    def criticise(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """c_i ~ M(. | x, y1, z_i) without the gold, where the switch is on."""
        if not self.config.e_step.use_critique:
            return list(attempts)

        def chat(a: Attempt) -> Chat:
            return critique_chat(self.templates, a.example.messages, a.draft.text, a.principle)

        return self._continue(
            attempts,
            chat,
            self.config.e_step.critique,
            "critique",
            lambda attempt, answer: replace(
                attempt,
                critique=answer.text.strip(),
                tokens=attempt.tokens + answer.tokens,
                status="failed" if _failed(answer) else None,
                generations={
                    **attempt.generations,
                    "critique": generation_record(answer, answer.text.strip()),
                },
            ),
        )

    def refine(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """y2_i ~ M(. | x, y1, z_i[, c_i]) without the gold, so that it cannot be copied."""

        def chat(a: Attempt) -> Chat:
            return refine_chat(self.templates, a.example.messages, a.draft.text, a.principle, a.critique)

        return self._continue(
            attempts,
            chat,
            self.config.e_step.refine,
            "refine",
            lambda attempt, answer: replace(
                attempt,
                response=answer,
                tokens=attempt.tokens + answer.tokens,
                generations={**attempt.generations, "refine": generation_record(answer, answer.text.strip())},
            ),
        )

    def accept(self, attempts: Sequence[Attempt]) -> list[tuple[Candidate, Attempt]]:
        """Score every refinement, give each candidate its status and select the best of each prompt."""
        refined = [attempt for attempt in attempts if attempt.response is not None]
        scores = self.scorer.score(
            [Pair(a.response.text.strip(), a.example.gold, a.example.messages) for a in refined]
        )
        score_of = {id(attempt): score for attempt, score in zip(refined, scores, strict=True)}
        by_prompt: dict[str, list[tuple[Candidate, Attempt]]] = {}
        for attempt in sorted(attempts, key=lambda a: a.sample):
            candidate = self._candidate(attempt, score_of.get(id(attempt)))
            by_prompt.setdefault(attempt.example.prompt_id, []).append((candidate, attempt))
        settled = []
        for pairs in by_prompt.values():
            chosen = select([candidate for candidate, _ in pairs], self.config.e_step.keep)
            settled += [(candidate, attempt) for candidate, (_, attempt) in zip(chosen, pairs, strict=True)]
        return settled

    def _candidate(self, attempt: Attempt, score: float | None) -> Candidate:
        response = attempt.response
        candidate = Candidate(
            prompt_id=attempt.example.prompt_id,
            sample=attempt.sample,
            principle=attempt.principle,
            critique=attempt.critique,
            response=response.text.strip() if response else "",
            score=score,
            gain=None,
            status=attempt.status or "accepted",
            selected=False,
            principle_id=principle_id(attempt.principle) if attempt.principle else None,
            tokens=attempt.tokens,
        )
        if response is None:
            return candidate
        return judge(
            candidate, "stop", response.finish_reason, attempt.draft, attempt.example, self.config.e_step
        )

    def _not_mined(self, example: Example, draft: Draft) -> Attempt | None:
        limit = self.config.e_step.skip_above
        if draft.finish_reason in ("error", "overlong"):
            return Attempt(example, draft, 0, "", "", 0, "failed")
        if draft.score is None:
            return Attempt(example, draft, 0, "", "", 0, "unscored")
        if limit is not None and draft.score > limit:
            return Attempt(example, draft, 0, "", "", 0, "skipped_good_draft")
        return None

    def _continue(
        self,
        attempts: Sequence[Attempt],
        chat: Callable[[Attempt], Chat],
        sampling: Sampling,
        role: str,
        take: Callable[[Attempt, Generation], Attempt],
    ) -> list[Attempt]:
        """Ask on for the attempts that have not failed; the others pass through, order kept."""
        alive = [attempt for attempt in attempts if attempt.status is None]
        answers = iter(self._ask([(a.example, chat(a), a.sample) for a in alive], sampling, role))
        return [take(a, next(answers)) if a.status is None else a for a in attempts]

    def _ask(
        self, chats: Sequence[tuple[Example, Chat, int]], sampling: Sampling, role: str
    ) -> list[Generation]:
        requests = [
            SampleRequest(
                chat, derive_seed(self.config.seed, self.iteration, role, example.prompt_id, sample)
            )
            for example, chat, sample in chats
        ]
        return self.sampler.sample(requests, sampling)


def _failed(answer: Generation) -> bool:
    return answer.finish_reason in ("error", "overlong")


def mine(stage: Stage) -> None:
    """Run the E-step on the iteration's prompts, committing chunk by chunk, here or wherever the parts spread it;
    training on golds mines none."""
    if stage.config.m_step.target == "gold":
        work_in_chunks(stage, [], "prompts")
        return
    examples = corpora.assigned(stage.store, stage.run_id, stage.iteration, "train")
    if stage.parts.spread is not None:
        stage.parts.spread(stage, examples)
        return
    sampler = open_sampler(stage)
    discovery = Discovery(
        sampler, stage.parts.scorer, stage.templates, stage.config, stage.iteration, load_seeds(stage.config)
    )
    work_in_chunks(stage, [(examples, lambda chunk: tables_of(*discovery.discover(chunk)))], "prompts")


def load_seeds(config: RunConfig) -> tuple[str, ...]:
    """The principles of `e_step.seeds`. Raises `DataError` when the file cannot be used."""
    if not config.e_step.seeds:
        return ()
    return tuple(
        principle.text for principle in read_principles(resolve_path(config.e_step.seeds)).principles
    )


def tables_of(drafts: Sequence[Draft], candidates: Sequence[tuple[Candidate, Attempt]]) -> Tables:
    """The rows that a chunk is committed as."""
    rows: list[dict[str, Any]] = []
    for candidate, attempt in candidates:
        reason = attempt.response.finish_reason if attempt.response else None
        told = {
            "raw_principle": attempt.raw_principle,
            "finish_reason": reason,
            "generations": json.dumps(attempt.generations),
        }
        rows.append({**asdict(candidate), **told})
    kept = [{**asdict(draft), "generations": json.dumps(draft.generations)} for draft in drafts]
    return {"drafts": kept, "candidates": rows}


def summarise(stage: Stage) -> dict[str, Any]:
    """Acceptance by reason, prompts by outcome, coverage against N."""
    where = (stage.store, stage.run_id, stage.iteration)
    return {
        "acceptance": results.statuses(*where),
        "prompts": results.prompt_outcomes(*where),
        "coverage": metrics.coverage(results.gaining_counts(*where), stage.config.e_step.n),
    }
