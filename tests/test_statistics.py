"""Intervals against SciPy, kappa against scikit-learn, and error rates over simulated studies."""

import math
import random

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from lpd_core.metrics import interval, wilson
from lpd_core.statistics import compare_scores, kappa, kappa_interval

STUDIES = 200


@pytest.mark.parametrize(("wins", "n"), [(0, 12), (3, 10), (50, 100), (411, 541), (7, 7)])
def test_the_wilson_interval_is_scipys(wins, n):
    ours = wilson(wins / n, n)
    theirs = stats.binomtest(wins, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bootstrap_interval_is_scipys_up_to_its_noise(seed):
    data = np.random.default_rng(seed).gamma(2.0, 1.0, 150)
    ours = interval(data, resamples=5000)
    theirs = stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(9)
    ).confidence_interval
    noise = 0.1 * (theirs.high - theirs.low)
    assert ours.low == pytest.approx(theirs.low, abs=noise)
    assert ours.high == pytest.approx(theirs.high, abs=noise)


def test_kappa_is_scikit_learns():
    draw = random.Random(4)
    for _ in range(20):
        a = [draw.choice(["a", "b", "tie"]) for _ in range(60)]
        b = [x if draw.random() < 0.6 else draw.choice(["a", "b", "tie"]) for x in a]
        assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
        found = kappa_interval(a, b, resamples=200)
        assert found.low < found.mean < found.high


def test_kappa_is_undefined_where_there_is_nothing_to_agree_on():
    assert math.isnan(kappa([], []))
    assert math.isnan(kappa(["a"] * 5, ["a"] * 5))
    assert kappa_interval([], []).n == 0


def test_a_win_rate_counts_ties_half_and_never_a_missing_item():
    ours = {"p": 0.9, "q": 0.8, "r": 0.1, "s": 0.5, "t": None}
    found = compare_scores(ours, dict.fromkeys(ours, 0.5))
    assert (found.wins, found.losses, found.ties, found.missing) == (2, 1, 1, 1)
    assert found.win_rate.mean == pytest.approx(2.5 / 4)
    assert found.win_rate.n == found.wilson.n == 4
    assert found.wilson.mean == pytest.approx(2.5 / 4)


def test_scores_are_paired_by_key():
    found = compare_scores(
        {"x": 0.9, "y": 0.2, "z": None, "w": 0.5}, {"x": 0.4, "y": 0.2, "z": 0.1, "v": 1.0}
    )
    assert (found.wins, found.losses, found.ties, found.missing) == (1, 0, 1, 3)
    assert found.difference.mean == pytest.approx(0.25)


def test_without_items_nothing_is_decided():
    found = compare_scores({"p": None, "q": None}, {"p": 0.5, "q": 0.5})
    assert (found.win_rate.n, found.missing, found.verdict) == (0, 2, "undecided")


def studies(effect, n=120):
    """The comparison of each of many studies of n items with a true mean difference, a fifth of them ties."""
    for study in range(STUDIES):
        draw = np.random.default_rng([study, n])
        b = draw.normal(0.5, 0.1, n)
        moved = b + draw.normal(effect, 0.1, n)
        a = np.where(draw.random(n) < 0.2, b, moved)
        names = [str(i) for i in range(n)]
        yield compare_scores(
            dict(zip(names, a.tolist(), strict=True)),
            dict(zip(names, b.tolist(), strict=True)),
            resamples=500,
        )


def test_a_null_effect_is_claimed_in_about_one_study_of_twenty():
    found = list(studies(0.0))
    claimed = sum(c.verdict != "undecided" for c in found)
    excluded = sum(not c.difference.low <= 0 <= c.difference.high for c in found)
    # 10 of 200 are expected at 95 %; 2 to 20 hold all but one in a thousand sets of studies
    assert 2 <= claimed <= 20
    assert 2 <= excluded <= 20


def test_a_planted_effect_is_found_and_in_its_direction():
    found = list(studies(0.05))
    assert sum(c.verdict == "a" for c in found) >= 0.95 * STUDIES
    assert sum(c.difference.low > 0 for c in found) >= 0.95 * STUDIES
    assert not any(c.verdict == "b" for c in found)


def test_the_interval_covers_the_planted_effect_as_often_as_it_says():
    found = list(studies(0.05))
    covered = sum(c.difference.low <= 0.8 * 0.05 <= c.difference.high for c in found)
    assert 180 <= covered <= 198
