"""Asking a judge: questions go to any sampler in one batch, unread verdicts again, all of them through the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lpd_core.config import Sampling
from lpd_core.judge.parsing import read_choice, read_rating
from lpd_core.judge.verdicts import Verdict, VerdictCache, verdict_key
from lpd_core.parts import Sampler
from lpd_core.prompts import Chat
from lpd_core.seeds import derive_seed
from lpd_core.types import Generation, SampleRequest

RETRY_TEMPERATURE = 0.7
"""A greedy judge would give the same unreadable words again."""


@dataclass(frozen=True, slots=True)
class Question:
    """A chat that asks for a rating or a choice, and the number of the vote."""

    chat: Chat
    kind: str
    vote: int = 0

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name the prompt."""
        whole = json.dumps([self.kind, [dict(message) for message in self.chat]], sort_keys=True)
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def read(self, text: str) -> str | None:
        """The verdict in the judge's words, as text."""
        if self.kind == "choice":
            return read_choice(text)
        rating = read_rating(text)
        return None if rating is None else f"{rating:g}"


class Judge:
    """A sampler as a judge. `name` is what verdicts carry; the sampler is made when a verdict is not kept yet.

    Without a sampler only kept verdicts are known: a question that was never asked has an error."""

    def __init__(
        self,
        name: str,
        sampler: Callable[[], Sampler] | None,
        sampling: Sampling,
        retries: int = 2,
        cache: VerdictCache | None = None,
    ):
        self.name = name
        self._make = sampler
        self._sampler: Sampler | None = None
        self._sampling = sampling
        self._retries = retries
        self._cache = cache

    def ask(self, questions: Sequence[Question]) -> list[Verdict]:
        """A verdict for each question, in order; equal questions are asked once."""
        settings = self._sampling.model_dump(mode="json")
        keys = [verdict_key(self.name, q.digest, settings, q.vote) for q in questions]
        pending = dict(zip(keys, questions, strict=True))
        verdicts = self._cache.get(pending) if self._cache else {}
        pending = {key: question for key, question in pending.items() if key not in verdicts}
        for attempt in range(self._retries + 1):
            if not pending:
                break
            answered = self._attempt(pending, attempt)
            is_last = attempt == self._retries
            settled = {key: v for key, v in answered.items() if v.value is not None or is_last}
            self._keep(settled, pending, json.dumps(settings, sort_keys=True))
            verdicts |= settled
            pending = {key: question for key, question in pending.items() if key not in settled}
        return [verdicts[key] for key in keys]

    def _attempt(self, pending: dict[str, Question], attempt: int) -> dict[str, Verdict]:
        sampling = self._sampling
        if attempt and sampling.temperature < RETRY_TEMPERATURE:
            sampling = sampling.model_copy(update={"temperature": RETRY_TEMPERATURE})
        requests = [
            SampleRequest(q.chat, derive_seed(0, "judge", key, attempt)) for key, q in pending.items()
        ]
        answers = self._sample(requests, sampling)
        return {
            key: self._verdict(question, answer, attempt + 1)
            for (key, question), answer in zip(pending.items(), answers, strict=True)
        }

    def _sample(self, requests: list[SampleRequest], sampling: Sampling) -> list[Generation]:
        if self._make is None:
            return [
                Generation("", "error", 0, 0, "this verdict is not kept, and there is no judge to ask")
            ] * len(requests)
        self._sampler = self._sampler or self._make()
        return self._sampler.sample(requests, sampling)

    def _verdict(self, question: Question, answer: Generation, attempts: int) -> Verdict:
        if answer.finish_reason in ("error", "overlong"):
            reason = answer.error or f"the judge's prompt ended with {answer.finish_reason}"
            return Verdict(self.name, question.digest, None, answer.text, attempts, reason)
        return Verdict(self.name, question.digest, question.read(answer.text), answer.text, attempts)

    def _keep(self, settled: dict[str, Verdict], pending: dict[str, Question], sampling: str) -> None:
        if self._cache:
            rows = [(key, sampling, pending[key].vote, v) for key, v in settled.items() if v.error is None]
            self._cache.put(rows)
