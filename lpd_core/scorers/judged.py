"""f as a judge's rating of the response beside the gold, or as its share of verdicts against the gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lpd_core.judge import Judge, JudgePrompts, Pairing, Rated, pairwise_judgements, pointwise_judgements
from lpd_core.types import Pair


@dataclass(frozen=True)
class JudgeScorer:
    """A judge's mean over `votes`: ratings 1 to 10 mapped to [0, 1], or wins against the gold in both orders with
    a tie half."""

    judge: Judge
    prompts: JudgePrompts
    mode: Literal["pointwise", "pairwise"] = "pointwise"
    votes: int = 1

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """f in [0, 1] for each pair; 0.0 for a blank response, which no judge is asked about; None where the judge
        gave no verdict (pairwise: in either order)."""
        asked = [pair for pair in pairs if pair.response.strip()]
        scores = iter(self._pairwise(asked) if self.mode == "pairwise" else self._pointwise(asked))
        return [next(scores) if pair.response.strip() else 0.0 for pair in pairs]

    def _pointwise(self, pairs: Sequence[Pair]) -> list[float | None]:
        items = [Rated(pair.messages, pair.response, pair.gold) for pair in pairs]
        return [rating.score for rating in pointwise_judgements(self.judge, self.prompts, items, self.votes)]

    def _pairwise(self, pairs: Sequence[Pair]) -> list[float | None]:
        pairings = [Pairing(str(n), p.messages, p.response, p.gold) for n, p in enumerate(pairs)]
        return [j.share for j in pairwise_judgements(self.judge, self.prompts, pairings, self.votes)]
