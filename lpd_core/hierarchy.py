"""The tree of an iteration's principles and where it is cut: by distance, into k, or by silhouette.

Knows vectors and weights (counts of trajectories), no texts. Section 3 of docs/method.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpd_core.config import ClusterConfig
from lpd_core.linkage import average_joins, average_linkage, cut, dendrogram
from lpd_core.types import Merge

SAME = 1e-6
"""Cosine distance up to which two vectors are the same text to the eye of a float32 embedder."""
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Cut:
    """Labels [n] of the groups, the distance between them, their mean silhouette if that chose them."""

    labels: np.ndarray
    threshold: float
    silhouette: float | None = None


def build_tree(vectors: np.ndarray, weights: np.ndarray, config: ClusterConfig) -> tuple[Merge, ...]:
    """The dendrogram of unit vectors [n, d]: exact up to `config.exact_limit` rows, staged beyond."""
    if len(vectors) <= config.exact_limit:
        return average_linkage(vectors, weights)
    return dendrogram(_staged_joins(vectors, weights, config), len(vectors))


def _staged_joins(vectors: np.ndarray, weights: np.ndarray, config: ClusterConfig) -> np.ndarray:
    """Joins [n - 1, 3] for many rows. The heaviest are clustered exactly and cut as configured; each other
    row joins the nearest mean within that cut; what remains goes through the same again; then the groups
    found are linked exactly."""
    left = np.argsort(-weights, kind="stable")
    joins, threshold = [], None
    group = np.full(len(vectors), -1)
    while len(left):
        part, left = np.sort(left[: config.exact_limit]), left[config.exact_limit :]
        found = average_joins(vectors[part], weights[part])
        tree = dendrogram(found, len(part))
        if threshold is None:
            threshold = choose_cut(tree, vectors[part], weights[part], config).threshold
        labels = cut(tree, len(part), threshold=threshold)
        joins.append(_renamed(found[found[:, 2] <= threshold], part))
        # A group is named by its first row.
        firsts = part[np.unique(labels, return_index=True)[1]]
        group[part] = firsts[labels]
        nearest, distance = _nearest_mean(vectors[left], group_means(vectors[part], weights[part], labels)[0])
        near = distance <= threshold
        group[left[near]] = firsts[nearest[near]]
        joins.append(np.column_stack([group[left[near]], left[near], distance[near]]))
        left = left[~near]
    firsts, labels = np.unique(group, return_inverse=True)
    return np.concatenate([*joins, _renamed(average_joins(*group_means(vectors, weights, labels)), firsts)])


def _renamed(joins: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[joins[:, :2].astype(np.int64)], joins[:, 2]])


def group_means(
    vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean [k, d] (not normalised) and the weight [k] of each of the groups 0..k-1."""
    from scipy.sparse import csr_array

    totals = np.bincount(labels, weights=weights)
    share = csr_array((weights / totals[labels], (labels, np.arange(len(labels)))))
    return share @ vectors, totals


def _nearest_mean(vectors: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the number of the nearest mean and the average distance to what it stands for."""
    nearest, distance = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors))
    means = means.astype(np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        products = vectors[block].astype(np.float32) @ means.T
        nearest[block] = products.argmax(axis=1)
        distance[block] = 1.0 - products.max(axis=1)
    return nearest, distance


def choose_cut(
    merges: Sequence[Merge], vectors: np.ndarray, weights: np.ndarray, config: ClusterConfig, taken: int = 0
) -> Cut:
    """Cut the tree as `config.choose` says; `taken` clusters exist already and count towards its bounds."""
    n = len(vectors)
    if n < 2:
        return Cut(np.zeros(n, dtype=np.int64), config.threshold)
    if config.choose == "threshold":
        return Cut(cut(merges, n, threshold=config.threshold), config.threshold)
    if config.choose == "k":
        k, score = max(1, config.k - taken), None
    else:
        distinct = 1 + sum(merge.distance > SAME for merge in merges)
        high = min(distinct, max(1, config.max_clusters - taken))
        low = min(high, max(1, config.min_clusters - taken))
        k, score = _best_by_silhouette(merges, vectors, weights, low, high)
    return Cut(cut(merges, n, k=k), _distance_between(merges, n - k), score)


def _distance_between(merges: Sequence[Merge], made: int) -> float:
    """Half way between the last merge made and the first one not made."""
    last = merges[made - 1].distance if made > 0 else 0.0
    following = merges[made].distance if 0 <= made < len(merges) else last
    return (last + following) / 2


def _best_by_silhouette(
    merges: Sequence[Merge], vectors: np.ndarray, weights: np.ndarray, low: int, high: int
) -> tuple[int, float]:
    """The k in low..high with the highest mean silhouette, and that; the smallest such k at a tie.

    Exact for cosine distance without a distance matrix: the summed distance of v to a group of weight W and
    vector sum S is W - <v, S>, and one more merge adds two columns of <v, S>."""
    n = len(vectors)
    labels = cut(merges, n, k=high)
    means, totals = group_means(vectors, weights, labels)
    products = vectors @ (means * totals[:, None]).T
    best = high, silhouette(products, totals, labels, weights)
    for k in range(high - 1, low - 1, -1):
        merge = merges[n - k - 1]
        left, right = (labels[_some_leaf(merges, node, n)] for node in (merge.left, merge.right))
        labels[labels == right] = left
        products[:, left] += products[:, right]
        totals[left], totals[right] = totals[left] + totals[right], 0.0
        score = silhouette(products, totals, labels, weights)
        best = (k, score) if score >= best[1] else best
    return best


def _some_leaf(merges: Sequence[Merge], node: int, n: int) -> int:
    while node >= n:
        node = merges[node - n].left
    return node


def silhouette(products: np.ndarray, totals: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean silhouette of n rows (scikit-learn's, where all weights are 1); 0 for a single group.

    products [n, k] are the rows' products with each group's vector sum, totals [k] the groups' weights (0: no
    such group), labels [n] the rows' groups. A row's own copies are no neighbours: alone in its group it
    counts 0 however heavy, else every frequent text would best be a group of its own."""
    rows = np.arange(len(labels))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(totals > 0, 1.0 - products / totals, np.inf)
        own = (totals[labels] - products[rows, labels]) / (totals[labels] - weights)
        distance[rows, labels] = np.inf
        other = distance.min(axis=1)
        values = (other - own) / np.maximum(own, other)
    alone = (totals[labels] <= weights) | ~np.isfinite(values)
    return float(np.average(np.where(alone, 0.0, values), weights=weights))
