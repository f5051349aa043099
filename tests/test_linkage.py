"""Exact average linkage: scipy and scikit-learn are the references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, is_monotonic, is_valid_linkage, linkage
from scipy.spatial.distance import pdist
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from lpd_core.linkage import average_linkage, cut
from lpd_core.reciprocal import LISTED


def clustered_vectors(count: int, seed: int, dimensions: int = 32, centres: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    means = random.standard_normal((centres, dimensions))
    vectors = means[random.integers(centres, size=count)] + 0.7 * random.standard_normal((count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def as_matrix(merges) -> np.ndarray:
    return np.array([(m.left, m.right, m.distance, m.size) for m in merges], dtype=np.float64).reshape(-1, 4)


def scipy_tree(vectors: np.ndarray) -> np.ndarray:
    return linkage(pdist(vectors.astype(np.float64), "cosine"), "average")


@pytest.fixture(scope="module")
def weighted():
    """5,000 vectors with weights, and scipy's tree of them with each repeated as often as it weighs."""
    random = np.random.default_rng(0)
    vectors = clustered_vectors(5000, seed=0)
    weights = random.choice([1, 2, 3, 5], size=len(vectors), p=[0.8, 0.12, 0.05, 0.03])
    repeated = np.repeat(np.arange(len(vectors)), weights)
    return vectors, weights, repeated, scipy_tree(vectors[repeated])


@pytest.mark.parametrize("dense_limit", [100, 5000], ids=["rounds", "dense"])
def test_labels_equal_scipys_on_5000_weighted_vectors_at_five_thresholds(weighted, dense_limit):
    vectors, weights, repeated, reference = weighted
    merges = average_linkage(vectors, weights, dense_limit)
    for threshold in np.quantile(as_matrix(merges)[:, 2], [0.05, 0.3, 0.6, 0.9, 0.99]) + 1e-9:
        ours = cut(merges, len(vectors), threshold=threshold)[repeated]
        theirs = fcluster(reference, threshold, "distance")
        assert adjusted_rand_score(theirs, ours) == 1.0


def test_the_whole_tree_is_scipys(weighted):
    vectors = weighted[0][:2000]
    ours, theirs = as_matrix(average_linkage(vectors, dense_limit=100)), scipy_tree(vectors)
    assert np.array_equal(ours[:, [0, 1, 3]], theirs[:, [0, 1, 3]])
    assert np.allclose(ours[:, 2], theirs[:, 2], rtol=0, atol=1e-12)


def test_labels_equal_scikit_learns_average_linkage(weighted):
    vectors = weighted[0][:1500]
    merges = average_linkage(vectors, dense_limit=100)
    for k in (2, 40, 700):
        model = AgglomerativeClustering(k, metric="cosine", linkage="average")
        assert adjusted_rand_score(model.fit_predict(vectors), cut(merges, len(vectors), k=k)) == 1.0


def test_the_order_of_the_rows_does_not_matter(weighted):
    vectors, weights, _, _ = weighted
    order = np.random.default_rng(1).permutation(len(vectors))
    merges = average_linkage(vectors, weights, dense_limit=1000)
    shuffled = average_linkage(vectors[order], weights[order], dense_limit=1000)
    for threshold in (0.2, 0.5):
        labels = cut(merges, len(vectors), threshold=threshold)
        assert adjusted_rand_score(labels[order], cut(shuffled, len(vectors), threshold=threshold)) == 1.0


def test_the_order_in_which_groups_may_join_does_not_show(weighted):
    vectors, weights, _, _ = weighted
    trees = [as_matrix(average_linkage(vectors, weights, limit)) for limit in (40, 1000, 5000)]
    for tree in trees[1:]:
        assert np.array_equal(tree[:, [0, 1, 3]], trees[0][:, [0, 1, 3]])
        assert np.allclose(tree[:, 2], trees[0][:, 2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dense_limit", [2 * LISTED, 5000], ids=["rounds", "dense"])
def test_equal_rows_count_as_weight(dense_limit):
    vectors = clustered_vectors(300, seed=3)
    weights = np.random.default_rng(3).integers(1, 4, size=len(vectors))
    repeated = np.repeat(np.arange(len(vectors)), weights)
    one = average_linkage(vectors, weights, dense_limit)
    many = average_linkage(vectors[repeated], dense_limit=dense_limit)
    assert [merge.distance for merge in many[: len(repeated) - len(vectors)]] == [0.0] * (weights.sum() - 300)
    distances = as_matrix(many)[len(repeated) - len(vectors) :, 2]
    assert np.allclose(distances, as_matrix(one)[:, 2], rtol=0, atol=1e-12)


def test_vectors_full_of_ties_make_a_whole_tree():
    """On a lattice more neighbours are equally near than a list holds; a hub is the nearest of all others."""
    random = np.random.default_rng(5)
    lattice = np.unique((random.random((600, 12)) < 0.3).astype(float), axis=0)
    hub = np.eye(80)[1:] + 2.0 * np.eye(80)[0]
    for vectors in (lattice, hub, np.eye(60)):
        tree = as_matrix(average_linkage(vectors, dense_limit=2 * LISTED))
        assert len(tree) == len(vectors) - 1
        assert is_valid_linkage(tree) and is_monotonic(tree)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 150), st.integers(2, 6), st.integers(1, 60))
def test_any_vectors_with_repetitions_make_scipys_tree(seed, count, dimensions, different):
    random = np.random.default_rng(seed)
    pool = random.standard_normal((different, dimensions))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    vectors = pool[random.integers(different, size=count)]
    tree = as_matrix(average_linkage(vectors, dense_limit=2 * LISTED))
    assert is_valid_linkage(tree) and is_monotonic(tree)
    assert np.allclose(tree[:, 2], scipy_tree(vectors)[:, 2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_rows_make_a_tree_and_can_be_cut(count):
    vectors = np.eye(4, dtype=np.float32)[:count]
    merges = average_linkage(vectors.reshape(count, 4))
    assert len(merges) == max(0, count - 1)
    assert cut(merges, count, threshold=0.5).tolist() == list(range(count))
    assert cut(merges, count, k=1).tolist() == [0] * count
    assert cut(merges, count, k=10).tolist() == list(range(count))


def test_identical_rows_join_at_zero():
    merges = average_linkage(np.ones((5, 3)))
    assert [merge.distance for merge in merges] == [0.0] * 4
    assert merges[-1].size == 5
    assert cut(merges, 5, threshold=0.0).tolist() == [0] * 5


def test_labels_are_numbered_by_first_row():
    vectors = clustered_vectors(200, seed=7)
    labels = cut(average_linkage(vectors), len(vectors), k=9)
    assert [int(label) for label in dict.fromkeys(labels.tolist())] == list(range(9))
