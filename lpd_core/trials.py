"""How the candidates that state an entry's principles fared, and what stating it does to the chance of gaining.

Each candidate states at most one entry, so the logistic regression of gaining on all entries needs counts only: it is
the same fit as over the candidates one by one, at a cost that does not grow with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lpd_core.constitution import Constitution, Entry
from lpd_core.types import Interval, Member

Z95 = 1.959964
STEPS = 60


class TrialBook:
    """Candidates counted by principle: how many gained and how many did not. An entry's counts are summed once for each
    set of members that it has."""

    def __init__(self, counts: Mapping[str, tuple[int, int]]):
        self._counts = counts
        self._gained = sum(gained for gained, _ in counts.values())
        self._lost = sum(lost for _, lost in counts.values())
        self._known: dict[str, tuple[tuple[Member, ...], tuple[int, int]]] = {}

    @property
    def total(self) -> int:
        """All scored candidates."""
        return self._gained + self._lost

    def of(self, entry: Entry) -> tuple[int, int]:
        """How many of the candidates that state an entry's principles gained, and how many did not."""
        known = self._known.get(entry.entry_id)
        if known is None or known[0] is not entry.members:
            pairs = [self._counts.get(member.principle_id, (0, 0)) for member in entry.members]
            sums = (sum(gained for gained, _ in pairs), sum(lost for _, lost in pairs))
            known = self._known[entry.entry_id] = (entry.members, sums)
        return known[1]

    def weights(self, constitution: Constitution) -> dict[str, Interval]:
        """The weight of each active entry in a logistic regression of gaining on all of them, with its Wald interval; n is
        the candidates that state it, 0 where the weight cannot be told."""
        active = constitution.active
        stated = [self.of(entry) for entry in active]
        gained, lost = [each for each, _ in stated], [each for _, each in stated]
        others = (self._gained - sum(gained), self._lost - sum(lost))
        found = one_hot_weights(gained, lost, others)
        return {entry.entry_id: weight for entry, weight in zip(active, found, strict=True)}


def may_be_pruned(weight: Interval) -> bool:
    """Whether stating it makes gaining less likely, beyond doubt: the weight's interval is below 0."""
    return weight.n > 0 and weight.high < 0


def one_hot_weights(gained: Sequence[int], lost: Sequence[int], others: tuple[int, int]) -> list[Interval]:
    """Logistic regression with L2 of strength 1 and an intercept on groups that exclude each other: `gained` and `lost`
    count the outcomes of each group, `others` those of the items in none. The weights are scikit-learn's (C = 1) over the
    single items, with Wald intervals from the penalised likelihood's curvature; NaN with n = 0 where a group is empty or
    all outcomes are alike."""
    up, down = np.asarray(gained, dtype=np.float64), np.asarray(lost, dtype=np.float64)
    sizes, unknown = up + down, Interval(float("nan"), float("nan"), float("nan"), 0)
    if not up.sum() + others[0] or not down.sum() + others[1]:
        return [unknown] * len(up)
    weights, base = np.zeros(len(up)), 0.0
    for _ in range(STEPS):
        own, rest = _chance(weights + base), _chance(base)
        pull = up - sizes * own
        slope = pull - weights
        slope_base = pull.sum() + others[0] - sum(others) * rest
        curve, cross = sizes * own * (1 - own) + 1.0, sizes * own * (1 - own)
        left = cross.sum() + sum(others) * rest * (1 - rest) - (cross**2 / curve).sum()
        step_base = (slope_base - (cross * slope / curve).sum()) / left
        step = (slope - cross * step_base) / curve
        scale = min(1.0, 2.0 / max(abs(step_base), np.abs(step).max(initial=0.0), 1e-12))
        weights, base = weights + scale * step, base + scale * step_base
        if max(abs(step_base), np.abs(step).max(initial=0.0)) < 1e-10:
            break
    spread = Z95 * np.sqrt(1 / curve + (cross / curve) ** 2 / left)
    return [
        Interval(float(w), float(w - s), float(w + s), int(n)) if n else unknown
        for w, s, n in zip(weights, spread, sizes, strict=True)
    ]


def _chance(odds):
    return 1.0 / (1.0 + np.exp(-odds))
