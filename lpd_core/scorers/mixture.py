"""f as the weighted mean of several similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lpd_core.parts import Scorer
from lpd_core.types import Pair


@dataclass(frozen=True)
class MixtureScorer:
    """The weighted mean of scorers, each given as (weight, scorer)."""

    parts: tuple[tuple[float, Scorer], ...]

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """f in [0, 1] for each pair; None where any part gives none: half a score would be another scale."""
        columns = [(weight, scorer.score(pairs)) for weight, scorer in self.parts]
        total = sum(weight for weight, _ in columns)
        return [
            None
            if any(scores[n] is None for _, scores in columns)
            else sum(weight * scores[n] for weight, scores in columns) / total
            for n in range(len(pairs))
        ]
