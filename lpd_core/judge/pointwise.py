"""Ratings from 1 to 10, by k votes, with or without a reference beside the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lpd_core.judge.asking import Judge, Question
from lpd_core.judge.prompts import JudgePrompts
from lpd_core.judge.verdicts import Verdict
from lpd_core.types import Message

LOWEST, HIGHEST = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Rated:
    """A response to rate: the conversation it answers, and a reference if there is one."""

    messages: tuple[Message, ...]
    response: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Rating:
    """The votes on one response. `mean` is over those with a verdict; None where none has one."""

    verdicts: tuple[Verdict, ...]

    @property
    def mean(self) -> float | None:
        """The mean rating, 1 to 10."""
        ratings = [float(verdict.value) for verdict in self.verdicts if verdict.value is not None]
        return sum(ratings) / len(ratings) if ratings else None

    @property
    def score(self) -> float | None:
        """The mean rating mapped to [0, 1]."""
        return None if self.mean is None else (self.mean - LOWEST) / (HIGHEST - LOWEST)

    @property
    def failures(self) -> int:
        """Votes without a verdict."""
        return sum(verdict.value is None for verdict in self.verdicts)


def pointwise_judgements(
    judge: Judge, prompts: JudgePrompts, items: Sequence[Rated], votes: int = 1
) -> list[Rating]:
    """`votes` ratings of each response."""
    questions = [
        Question(prompts.rate(item.messages, item.response, item.reference), "rating", vote)
        for item in items
        for vote in range(votes)
    ]
    verdicts = judge.ask(questions)
    return [Rating(tuple(verdicts[n * votes : (n + 1) * votes])) for n in range(len(items))]
