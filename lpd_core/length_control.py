"""A win rate as it would be if both sides' answers were of one length: AlpacaEval's length-controlled estimator.

The preference is regressed on tanh of the standardised difference in length, as the package's `length_controlled_minimal`
does; the win rate is the model's prediction at no difference. The package itself cannot be used here: it fetches the
difficulty of its own 805 instructions from a hub, and knows no others. Its penalty (L1, C = 100) is L2 of the same
strength here, so that thousands of fits are one computation.

Yann Dubois et al. 2024, https://arxiv.org/abs/2404.04475
"""

from __future__ import annotations

from collections.abc import Sequence

from lpd_core.types import Interval

PENALTY = 0.01
"""The inverse of C."""
STEPS = 25
FEWEST = 10
"""Pairs below which two coefficients would say nothing."""


def length_controlled(
    shares: Sequence[float], own: Sequence[int], other: Sequence[int], resamples: int = 1000, seed: int = 0
) -> Interval:
    """The length-controlled win rate of pairs: `shares` won in [0, 1], a tie half; both answers' lengths in characters.
    With its 95 % percentile bootstrap interval over pairs; NaN with n = 0 below `FEWEST` pairs."""
    import numpy as np

    if len(shares) < FEWEST:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    y = np.asarray(shares, dtype=np.float64)
    difference = np.asarray(own, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    spread = difference.std(ddof=1)
    x = np.tanh(difference / spread) if spread > 0 else np.zeros_like(difference)
    picks = np.random.default_rng(seed).integers(0, len(y), (resamples, len(y)))
    rates = _rates(np.concatenate([x[None], x[picks]]), np.concatenate([y[None], y[picks]]))
    low, high = np.percentile(rates[1:], [2.5, 97.5])
    return Interval(float(rates[0]), float(low), float(high), len(y))


def _rates(x, y):
    """The fitted win rate at no difference in length, of each row of x and y [fits, pairs], by Newton's method on the
    penalised likelihood of (constant, slope)."""
    import numpy as np

    weights = np.zeros((len(x), 2))
    for _ in range(STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(weights[:, :1] + weights[:, 1:] * x, -30, 30)))
        error, curve = y - chance, chance * (1 - chance)
        gradient = np.stack([error.sum(1), (error * x).sum(1)], 1) - PENALTY * weights
        a, b, d = curve.sum(1) + PENALTY, (curve * x).sum(1), (curve * x * x).sum(1) + PENALTY
        determinant = a * d - b * b
        step = np.stack(
            [(d * gradient[:, 0] - b * gradient[:, 1]), (a * gradient[:, 1] - b * gradient[:, 0])], 1
        )
        step = np.clip(step / determinant[:, None], -2, 2)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return 1.0 / (1.0 + np.exp(-weights[:, 0]))
