"""The merge tree as a picture needs it: exact counts at every threshold, and a crown that keeps its principles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from lpd_core.linkage import average_linkage
from lpd_core.tree import Tree, count_at, crown, labels_at


def grown(count: int, seed: int = 0) -> tuple[Tree, np.ndarray]:
    """The tree of random unit vectors, and the vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    merges = average_linkage(vectors, np.ones(count)) if count > 1 else ()
    columns = [np.array([getattr(merge, name) for merge in merges]) for name in ("left", "right", "distance")]
    return Tree(columns[0].astype(int), columns[1].astype(int), columns[2], count), vectors


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 2.0])
def test_the_clusters_at_a_threshold_are_those_of_scipys_fcluster(threshold):
    tree, vectors = grown(120)
    theirs = fcluster(linkage(vectors, "average", metric="cosine"), threshold, criterion="distance")
    assert count_at(tree, threshold) == len(set(theirs))
    ours = labels_at(tree, threshold)
    assert (
        len({*zip(ours.tolist(), theirs.tolist(), strict=True)})
        == len(set(theirs))
        == len(set(ours.tolist()))
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5, 15])
def test_few_principles_have_a_crown_with_a_branch_each(count):
    tree, _ = grown(count)
    top = crown(tree, 250)
    assert top.branches == count_at(tree, 0.0) == count
    assert sorted(top.branch.tolist()) == list(range(count))
    assert len(top.joins) == max(0, count - 1)


def test_a_large_tree_is_folded_into_the_branches_nearest_to_the_root():
    tree, _ = grown(200)
    top = crown(tree, 30)
    assert top.branches == 30
    assert len(top.branch) == 200
    lowest = float(top.joins[0, 4])
    same = labels_at(tree, np.nextafter(lowest, 0))
    assert len({*zip(top.branch.tolist(), same.tolist(), strict=True)}) == 30
    assert np.all(np.diff(top.joins[:, 4]) >= 0)
    assert np.all(top.joins[:, [1, 3]] <= top.joins[:, [4]])


def test_every_merge_joins_neighbours_so_that_no_lines_cross():
    top = crown(grown(60)[0], 60)
    spans = {float(n): (n, n) for n in range(top.branches)}
    for left, _, right, _, _, place, _ in top.joins.tolist():
        (first, end), (begin, last) = spans.pop(left), spans.pop(right)
        assert end + 1 == begin
        spans[place] = (first, last)
    assert list(spans.values()) == [(0, 59)]
