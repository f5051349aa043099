"""Exact average linkage on cosine distance, with weights and without a distance for every pair of rows.

Knows vectors only. The average distance between two groups of unit vectors is 1 - <mean(A), mean(B)>, so a
group is its mean and its weight. Average linkage is reducible (joining A and B brings neither nearer to a
third group than the nearer of the two was), so mutual nearest neighbours may join in any order: in rounds
while there are many groups (`reciprocal`), then along nearest-neighbour chains on the matrix of all pairs
(Müllner 2011, arXiv 1109.2378, section 3.1), where no hub makes the rounds long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lpd_core.types import Merge

DENSE_LIMIT = 4096
"""Groups for which the matrix of all pairs is affordable (128 MiB in float64)."""


def average_linkage(
    vectors: np.ndarray, weights: np.ndarray | None = None, dense_limit: int = DENSE_LIMIT
) -> tuple[Merge, ...]:
    """The full dendrogram of n vectors [n, d]: n - 1 merges in order of distance, as scipy's linkage matrix.

    A row of weight w counts as w equal rows. Ties go to the lower row numbers: sort the rows first."""
    means = np.array(vectors, dtype=np.float64)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    weights = np.ones(len(means)) if weights is None else np.asarray(weights, dtype=np.float64)
    return dendrogram(average_joins(means, weights, dense_limit), len(means))


def average_joins(means: np.ndarray, weights: np.ndarray, dense_limit: int = DENSE_LIMIT) -> np.ndarray:
    """The n - 1 joins of n groups of unit vectors, given their means [n, d] (overwritten) and weights [n].

    Each join is (a row of one group, a row of the other, distance); parts come before wholes."""
    if len(means) < 2:
        return np.empty((0, 3))
    owner = _first_equal_row(means)
    first = np.unique(owner)
    repeats = np.flatnonzero(owner != np.arange(len(owner)))
    joins = [np.stack([owner[repeats], repeats, np.zeros(len(repeats))], axis=1)]
    weight = np.bincount(owner, weights=weights, minlength=len(means))[first]
    mean = means[first] if len(repeats) else means
    height = np.zeros(len(first))
    if len(first) > dense_limit:
        from lpd_core.reciprocal import join_in_rounds

        rounds, rest = join_in_rounds(first, mean, weight, dense_limit)
        joins += rounds
        first, mean, weight, height = (x.numpy() for x in (rest.first, rest.mean, rest.weight, rest.height))
    return np.concatenate([*joins, _chain(first, mean, weight, height)])


def _first_equal_row(means: np.ndarray) -> np.ndarray:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(means)], dtype=np.int64)


def _chain(first: np.ndarray, mean: np.ndarray, weight: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The joins [m - 1, 3] of m groups, by walking from nearest to nearest until two are each other's."""
    similarity = mean @ mean.T
    np.fill_diagonal(similarity, -np.inf)
    joins = np.empty((len(first) - 1, 3))
    path: list[int] = []
    alive = dict.fromkeys(range(len(first)))
    for join in joins:
        path = path or [next(iter(alive))]
        while True:
            row = similarity[path[-1]]
            near = int(row.argmax())
            if len(path) > 1 and row[near] <= row[path[-2]]:
                break
            path.append(near)
        left, right = sorted((path.pop(), path.pop()))
        distance = max(1.0 - similarity[left, right], height[left], height[right])
        join[:] = first[left], first[right], distance
        share = weight[left] / (weight[left] + weight[right])
        weight[left], height[left] = weight[left] + weight[right], distance
        row = share * similarity[left] + (1.0 - share) * similarity[right]
        row[left] = row[right] = -np.inf
        similarity[left], similarity[:, left], similarity[:, right] = row, row, -np.inf
        del alive[right]
    return joins


def dendrogram(joins: np.ndarray, count: int) -> tuple[Merge, ...]:
    """Joins [count - 1, 3] of rows 0..count-1, parts before wholes, as merges in order of distance."""
    parent = list(range(2 * count - 1))
    size = [1] * (2 * count - 1)
    merges = []
    for left, right, distance in joins[np.argsort(joins[:, 2], kind="stable")].tolist():
        node = count + len(merges)
        left, right = sorted((_root(parent, int(left)), _root(parent, int(right))))
        parent[left] = parent[right] = node
        size[node] = size[left] + size[right]
        merges.append(Merge(left, right, distance, size[node]))
    return tuple(merges)


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def cut(
    merges: Sequence[Merge], count: int, *, threshold: float | None = None, k: int | None = None
) -> np.ndarray:
    """Labels [count] of the groups farther apart than a distance, or of k groups, numbered by first row."""
    if threshold is not None:
        made = [merge for merge in merges if merge.distance <= threshold]
    else:
        made = merges[: max(0, count - k)]
    group = np.arange(count + len(made)).tolist()
    for node in reversed(range(count, len(group))):
        merge = made[node - count]
        group[merge.left] = group[merge.right] = group[node]
    _, first, labels = np.unique(group[:count], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]
