"""The numbers shown to people, against hand computations."""

import itertools
import math

import numpy as np
import pytest

from lpd_core.metrics import best_iteration, coverage, heldout_summary, interval


def test_an_interval_holds_the_mean_and_narrows_with_n():
    generator = np.random.default_rng(0)
    few, many = (interval(list(generator.normal(0.5, 0.1, n))) for n in (20, 2000))
    assert few.low < few.mean < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    generator = np.random.default_rng(1)
    found = [interval(list(generator.normal(0.5, 0.1, 60)), resamples=400, seed=n) for n in range(300)]
    share = np.mean([value.low <= 0.5 <= value.high for value in found])
    assert 0.90 <= share <= 0.99


def test_no_values_give_no_number_rather_than_zero():
    nothing = interval([])
    assert nothing.n == 0 and math.isnan(nothing.mean)


def test_coverage_equals_counting_every_subset():
    n, gaining = 5, [0, 1, 3, 5]
    for row in coverage(gaining, n):
        k = int(row["n"])
        shares = []
        for a in gaining:
            flags = [True] * a + [False] * (n - a)
            subsets = list(itertools.combinations(flags, k))
            shares.append(sum(any(s) for s in subsets) / len(subsets))
        assert row["share"] == pytest.approx(np.mean(shares))


def rows(*pairs):
    return [{"prompt_id": str(n), "draft_score": d, "score": s} for n, (d, s) in enumerate(pairs)]


def test_the_summary_is_paired_with_the_base_models_drafts():
    summary = heldout_summary(rows((0.5, 0.7), (0.4, 0.4), (0.6, 0.5)), {"0": 0.6, "1": 0.3, "2": 0.6})
    assert summary["over_draft"]["mean"] == pytest.approx((0.2 + 0.0 - 0.1) / 3)
    assert summary["over_base"]["mean"] == pytest.approx((0.1 + 0.1 - 0.1) / 3)
    assert summary["improved"]["mean"] == pytest.approx(1 / 3)
    assert summary["win_rate"]["mean"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_an_unscored_row_is_counted_and_never_a_zero():
    summary = heldout_summary([*rows((0.5, 0.7)), {"prompt_id": "x", "draft_score": 0.5, "score": None}], {})
    assert summary["unscored"] == 1
    assert summary["response"] == {"mean": 0.7, "low": 0.7, "high": 0.7, "n": 1}


def test_the_best_iteration_is_chosen_on_dev_and_need_not_be_the_last():
    def dev(mean):
        return {"dev": {"response": {"mean": mean, "n": 10}}}

    assert best_iteration({0: dev(0.9), 1: dev(0.5), 2: dev(0.7), 3: dev(0.6)}) == 2
    assert best_iteration({0: dev(0.9), 1: dev(0.7), 2: dev(0.7)}) == 1
    assert best_iteration({0: dev(0.9)}) is None
