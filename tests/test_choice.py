"""The choice of a token follows the distribution it is asked for, row by row."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from lpd_core.config import Sampling
from lpd_core.samplers.choice import ATTEMPTS, BROKEN, choose, uniforms

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -0.3, -1.0, -1.5, -3.0, -torch.inf, 0.2])
DRAWS = 20_000


def drawn(logits: torch.Tensor, sampling: Sampling, step: int = 0) -> np.ndarray:
    """How often each token is chosen by DRAWS rows with the same logits and seeds 0, 1, ..."""
    seeds = np.arange(DRAWS, dtype=np.uint64)
    tokens = choose(logits.expand(DRAWS, -1), sampling, seeds, step)
    return np.bincount(tokens.numpy(), minlength=len(logits))


def sorted_reference(logits: torch.Tensor, sampling: Sampling) -> np.ndarray:
    """The distribution as transformers' warpers make it, which sort the vocabulary."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = TemperatureLogitsWarper(sampling.temperature)(None, logits[None])
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores.double().softmax(-1)[0].numpy()


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.6, 0, 1.0), (1.7, 4, 1.0)])
def test_sampling_follows_the_distribution(temperature, top_k, top_p):
    assert_follows(LOGITS, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))


@pytest.mark.parametrize("top_p", [0.999, 0.95, 0.7, 0.3, 0.01])
@pytest.mark.parametrize("top_k", [0, 5])
def test_top_p_without_sorting_equals_the_sorted_reference(top_p, top_k):
    assert_follows(LOGITS, Sampling(temperature=1.0, top_k=top_k, top_p=top_p))
    flat = torch.randn(300, generator=torch.Generator().manual_seed(1))
    assert_follows(flat, Sampling(temperature=1.0, top_k=40 * top_k, top_p=top_p))


def assert_follows(logits: torch.Tensor, sampling: Sampling):
    expected = sorted_reference(logits, sampling)
    counts = drawn(logits, sampling)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], DRAWS * expected[possible]).pvalue > 1e-4


def test_a_temperature_of_zero_takes_the_likeliest():
    assert choose(LOGITS[None], Sampling(temperature=0.0), np.zeros(1, np.uint64), 0).tolist() == [0]


def test_a_tiny_temperature_takes_the_likeliest():
    counts = drawn(LOGITS * 1e4, Sampling(temperature=1e-4))
    assert counts[0] == DRAWS


def test_logits_that_are_not_numbers_give_no_token():
    logits = torch.stack([LOGITS, torch.full_like(LOGITS, torch.nan)])
    for temperature in (0.0, 1.0):
        tokens = choose(logits, Sampling(temperature=temperature), np.arange(2, dtype=np.uint64), 0)
        assert tokens[0] >= 0 and tokens[1] == BROKEN


def test_a_rows_numbers_depend_on_its_seed_step_and_attempt_alone():
    seeds = np.array([5, 6, 2**63 - 1], dtype=np.uint64)
    together = uniforms(seeds, 3, 1)
    assert together.tolist() == [uniforms(seeds[[row]], 3, 1)[0] for row in range(3)]
    assert len({*together, *uniforms(seeds, 3, 0), *uniforms(seeds, 4, 1)}) == 9


def test_the_numbers_are_uniform_over_seeds_and_over_steps():
    over_seeds = uniforms(np.arange(DRAWS, dtype=np.uint64), 7, 0)
    over_steps = np.concatenate([uniforms(np.array([9], np.uint64), step, 0) for step in range(2000)])
    over_attempts = np.concatenate([uniforms(np.arange(999, dtype=np.uint64), 1, a) for a in range(ATTEMPTS)])
    for numbers in (over_seeds, over_steps, over_attempts):
        assert numbers.min() >= 0 and numbers.max() < 1
        assert chisquare(np.histogram(numbers, bins=20, range=(0, 1))[0]).pvalue > 1e-4
