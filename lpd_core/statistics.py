"""Comparisons that carry their n, ties, failures and intervals: win rates, paired differences, agreement.

Pure functions over numbers. A side without a value is missing and counted, never a loss and never a zero.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from lpd_core.metrics import interval, wilson
from lpd_core.types import Interval

POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Comparison:
    """System a against b on the same items. `win_rate` counts a tie half, with its bootstrap interval; `wilson` is
    the same rate with Wilson's. `difference` is the mean of a - b; its n is 0 where there are no scores.
    `missing` items have no value on one side."""

    wins: int
    losses: int
    ties: int
    missing: int
    win_rate: Interval
    wilson: Interval
    difference: Interval

    @property
    def verdict(self) -> str:
        """ "a", "b" or "undecided": whose advantage the interval of the win rate leaves no doubt of."""
        if self.win_rate.n and self.win_rate.low > 0.5:
            return "a"
        return "b" if self.win_rate.n and self.win_rate.high < 0.5 else "undecided"


def compare_scores(
    a: Mapping[str, float | None], b: Mapping[str, float | None], resamples: int = 2000
) -> Comparison:
    """Compare scores paired by key; keys that only one side has, or without a score, are missing."""
    keys = sorted(key for key in a.keys() & b.keys() if a[key] is not None and b[key] is not None)
    differences = [a[key] - b[key] for key in keys]
    outcomes = ["tie" if d == 0 else "a" if d > 0 else "b" for d in differences]
    missing = len(a.keys() | b.keys()) - len(keys)
    return _comparison(outcomes, missing, differences, resamples)


def _comparison(
    outcomes: Sequence[str], missing: int, differences: Sequence[float], resamples: int
) -> Comparison:
    points = [POINTS[outcome] for outcome in outcomes]
    share = sum(points) / len(points) if points else 0.0
    return Comparison(
        wins=outcomes.count("a"),
        losses=outcomes.count("b"),
        ties=outcomes.count("tie"),
        missing=missing,
        win_rate=interval(points, resamples),
        wilson=wilson(share, len(points)),
        difference=interval(differences, resamples),
    )


def difference_interval(
    a: Sequence[float], b: Sequence[float], resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of a less that of b, two samples of their own, with its 95 % percentile bootstrap interval; n counts both.
    NaN with n = 0 where one is empty."""
    import numpy as np

    if not len(a) or not len(b):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    generator = np.random.default_rng(seed)
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    drawn = [
        one[generator.integers(0, len(one), len(one))].mean()
        - other[generator.integers(0, len(other), len(other))].mean()
        for _ in range(resamples)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(one.mean() - other.mean()), float(low), float(high), len(one) + len(other))


def kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Cohen's kappa of two raters' labels of the same items: agreement beyond chance, 1 is whole, 0 is chance.
    NaN without items, or where both only ever gave one same label.

    Jacob Cohen 1960, https://doi.org/10.1177/001316446002000104"""
    pairs = list(zip(a, b, strict=True))
    if not pairs:
        return float("nan")
    n = len(pairs)
    observed = sum(x == y for x, y in pairs) / n
    labels = set(a) | set(b)
    chance = sum((sum(x == label for x in a) / n) * (sum(y == label for y in b) / n) for label in labels)
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def kappa_interval(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Kappa with its 95 % percentile bootstrap interval over items, or over `groups` of items that belong together (several
    votes on one prompt); resamples without a kappa are left out. n counts items."""
    import numpy as np

    value = kappa(a, b)
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups if groups is not None else range(len(a))):
        places.setdefault(group, []).append(place)
    whole = list(places.values())
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples if value == value else 0):
        picks = [i for g in generator.integers(0, len(whole), len(whole)).tolist() for i in whole[g]]
        drawn.append(kappa([a[i] for i in picks], [b[i] for i in picks]))
    kept = [each for each in drawn if each == each]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (float("nan"), float("nan"))
    return Interval(value, float(low), float(high), len(a))
