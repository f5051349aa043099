"""The numbers shown to people: each a mean with n and a 95 % bootstrap interval. Pure functions over rows.

Sections 6 and 7 of the paper's summary: held-out scores of y1 and y2, gains over the own draft and over the base
model's draft (a win rate over the own draft also rises when the draft rots), coverage against N, discovery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

from lpd_core.types import Interval

MEASURES: Mapping[str, tuple[str, str]] = {
    "draft": ("f(y1)", "mean f(y1, gold)"),
    "response": ("f(y2)", "mean f(y2, gold)"),
    "over_draft": ("y2 - y1", "f(y2) - f(y1), same model"),
    "over_base": ("y2 - base y1", "f(y2) - the base model's f(y1)"),
    "draft_over_base": ("y1 - base y1", "f(y1) - the base model's f(y1)"),
    "improved": ("improved", "share of prompts with f(y2) > f(y1)"),
    "win_rate": ("win rate", "y2 against y1, ties half"),
    "right_principle": ("right z", "share of prompts whose z is known to be right"),
}
"""Each measure with its short name and what it is."""


def interval(values: Sequence[float], resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of `values` with its percentile bootstrap interval; NaN where there are none."""
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 100):
        picks = generator.integers(0, data.size, (min(100, resamples - start), data.size))
        means[start : start + len(picks)] = data[picks].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(data.mean()), float(low), float(high), int(data.size))


def wilson(share: float, n: int, level: float = 0.95) -> Interval:
    """A share of n with its Wilson score interval; NaN where n is 0.

    Where ties count half, the share is a mean of 0, 1/2 and 1, which varies less than the interval assumes: it is
    then on the wide side. Edwin B. Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953"""
    if not n:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def heldout_summary(
    rows: Sequence[Mapping[str, Any]], base: Mapping[str, float], resamples: int = 2000
) -> dict[str, Any]:
    """The held-out measures of one benchmark at one iteration.

    `rows` have prompt_id, draft_score, score and optionally right (bool or None); `base` maps a prompt to the
    base model's draft score. Paired by prompt; rows without scores are counted as `unscored`, never as zero."""
    scored = [row for row in rows if row["score"] is not None and row["draft_score"] is not None]
    paired = [row for row in scored if row["prompt_id"] in base]
    right = [float(row["right"]) for row in rows if row.get("right") is not None]
    series = {
        "draft": [row["draft_score"] for row in scored],
        "response": [row["score"] for row in scored],
        "over_draft": [row["score"] - row["draft_score"] for row in scored],
        "over_base": [row["score"] - base[row["prompt_id"]] for row in paired],
        "draft_over_base": [row["draft_score"] - base[row["prompt_id"]] for row in paired],
        "improved": [float(row["score"] > row["draft_score"]) for row in scored],
        "win_rate": [_win(row["score"], row["draft_score"]) for row in scored],
    }
    if right:
        series["right_principle"] = right
    summary: dict[str, Any] = {name: asdict(interval(values, resamples)) for name, values in series.items()}
    summary["unscored"] = len(rows) - len(scored)
    return summary


def _win(response: float, draft: float) -> float:
    return 0.5 if response == draft else float(response > draft)


def coverage(gaining: Sequence[int], n: int) -> list[dict[str, float]]:
    """The expected share of prompts with at least one gaining candidate among the first k of n, for k = 1..n.

    `gaining` holds, for each prompt, how many of its n candidates gained (accepted or not_best); the unbiased
    estimator is that of pass@k: 1 - C(n - a, k) / C(n, k)."""
    if not gaining:
        return []
    return [
        {"n": k, "share": sum(1 - comb(n - min(a, n), k) / comb(n, k) for a in gaining) / len(gaining)}
        for k in range(1, n + 1)
    ]


def best_iteration(summaries: Mapping[int, Mapping[str, Any]], benchmark: str = "dev") -> int | None:
    """The trained iteration with the highest mean f(y2, gold) on `benchmark`; ties go to the earlier one."""
    scores = {
        iteration: summary[benchmark]["response"]["mean"]
        for iteration, summary in summaries.items()
        if iteration > 0 and benchmark in summary and summary[benchmark]["response"]["n"]
    }
    return min(scores, key=lambda iteration: (-scores[iteration], iteration)) if scores else None
