"""Exact average linkage on cosine distance, with weights and without a distance for every pair of rows.

Knows vectors only. The average distance between two groups of unit vectors is 1 - <mean(A), mean(B)>, so a
group is its mean and its weight. Average linkage is reducible (joining A and B brings neither nearer to a
third group than the nearer of the two was), which allows both stages used here:

1. rounds: all pairs that are each other's nearest join at once (reciprocal agglomerative clustering, Sumengen
   et al. 2021, arXiv 2105.11653). Each group keeps a short list of its nearest ones and a bound on the rest,
   and looks at all groups again only when its list no longer decides;
2. once few groups are left, the nearest-neighbour chain (Müllner 2011, arXiv 1109.2378, section 3.1) on their
   matrix, where no hub makes the rounds long.

Decisions fall in float64: float32 products only rule out what is farther by more than their error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpd_core.types import Merge

if TYPE_CHECKING:
    import torch

LISTED = 16
"""Nearest groups that each group remembers."""
DENSE_LIMIT = 4096
"""Groups from which on the matrix of all pairs is affordable (128 MiB in float64)."""
BLOCK_BYTES = 64 * 2**20
"""Memory of one block of products."""
ROUNDING = 2e-6
"""Twice the error of a float32 product of two vectors of norm at most 1, generously."""


@dataclass
class _Groups:
    """m groups still apart, in the order of their first rows: first [m], weight [m], mean [m, d] in float64,
    height [m] (the distance of its last join), and single [m, d], the means in float32."""

    first: torch.Tensor
    weight: torch.Tensor
    mean: torch.Tensor
    height: torch.Tensor
    single: torch.Tensor


@dataclass
class _Lists:
    """The nearest groups of each of m: neighbour [m, LISTED], similarity [m, LISTED] and bound [m], which no
    group outside the list exceeds in similarity. An unused place names the group itself, at -inf."""

    neighbour: torch.Tensor
    similarity: torch.Tensor
    bound: torch.Tensor


def average_linkage(
    vectors: np.ndarray, weights: np.ndarray | None = None, dense_limit: int = DENSE_LIMIT
) -> tuple[Merge, ...]:
    """The full dendrogram of n vectors [n, d]: n - 1 merges in order of distance, as scipy's linkage matrix.

    A row of weight w counts as w equal rows. Ties go to the lower row numbers: sort the rows first."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True) if len(vectors) else np.ones((0, 1))
    weights = np.ones(len(vectors)) if weights is None else np.asarray(weights, dtype=np.float64)
    joins = average_joins(vectors / np.where(norms > 0, norms, 1.0), weights, dense_limit)
    return dendrogram(joins, len(vectors))


def average_joins(means: np.ndarray, weights: np.ndarray, dense_limit: int = DENSE_LIMIT) -> np.ndarray:
    """The n - 1 joins of n groups of unit vectors, given each group's mean [n, d] and weight [n].

    Each join is a row (one row of the one group, one row of the other, distance); parts come before wholes."""
    owner = _first_equal_row(means)
    first = np.unique(owner)
    repeats = np.flatnonzero(owner != np.arange(len(owner)))
    joins = [np.stack([owner[repeats], repeats, np.zeros(len(repeats))], axis=1)]
    if len(first) > 1:
        total = np.bincount(owner, weights=weights, minlength=len(means))[first]
        joins += _join_distinct(first, means[first], total, max(dense_limit, 2 * LISTED))
    return np.concatenate(joins)


def _first_equal_row(means: np.ndarray) -> np.ndarray:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(means)], dtype=np.int64)


def _join_distinct(first, mean, weight, limit) -> list[np.ndarray]:
    import torch

    mean = torch.from_numpy(mean)
    groups = _Groups(
        first=torch.from_numpy(first),
        weight=torch.from_numpy(weight),
        mean=mean,
        height=torch.zeros(len(first), dtype=torch.float64),
        single=mean.float(),
    )
    joins = []
    if len(first) > limit:
        lists = _look_at_all(groups, torch.arange(len(first)))
        while len(groups.first) > limit:
            left, right = _mutual(_nearest(groups, lists))
            joins.append(_join(groups, lists, left, right))
            groups, lists = _compact(groups, lists, left, right)
    return [*joins, _chain(groups)]


def _look_at_all(groups: _Groups, rows: torch.Tensor) -> _Lists:
    """Fresh lists for some groups, from the products with all groups, a block at a time."""
    import torch

    tops = []
    for block in rows.split(max(1, BLOCK_BYTES // (4 * len(groups.first)))):
        products = groups.single[block] @ groups.single.T
        products[torch.arange(len(block)), block] = -torch.inf
        tops.append(products.topk(LISTED + 1))
    values = torch.cat([top.values for top in tops])
    indices = torch.cat([top.indices for top in tops])
    return _Lists(indices[:, :LISTED], values[:, :LISTED].contiguous(), values[:, LISTED].clone())


def _nearest(groups: _Groups, lists: _Lists) -> torch.Tensor:
    """Each group's nearest other one [m], the first at a tie. Renews the lists that no longer decide."""
    spent = (lists.similarity.amax(1) <= lists.bound + ROUNDING).nonzero()[:, 0]
    if len(spent):
        fresh = _look_at_all(groups, spent)
        lists.neighbour[spent], lists.similarity[spent] = fresh.neighbour, fresh.similarity
        lists.bound[spent] = fresh.bound
    best, place = lists.similarity.max(1)
    nearest = lists.neighbour.gather(1, place[:, None])[:, 0]
    contenders = lists.similarity >= best[:, None] - ROUNDING
    rows, places = (contenders & (contenders.sum(1, keepdim=True) > 1)).nonzero(as_tuple=True)
    _decide(groups, rows, lists.neighbour[rows, places], nearest)
    # More contenders than a list holds (vectors on a lattice): compare with all groups.
    crowded = (best <= lists.bound + ROUNDING).nonzero()[:, 0]
    for block in crowded.split(max(1, BLOCK_BYTES // (32 * len(groups.first)))):
        products = groups.single[block] @ groups.single.T
        products[range(len(block)), block] = float("-inf")
        rows, columns = (products >= products.amax(1, keepdim=True) - ROUNDING).nonzero(as_tuple=True)
        _decide(groups, block[rows], columns, nearest)
    return nearest


def _decide(groups: _Groups, rows: torch.Tensor, contenders: torch.Tensor, nearest: torch.Tensor) -> None:
    """Set `nearest` of the rows named to the best of their contenders in float64, the first at a tie."""
    import torch

    if not len(rows):
        return
    products = _products(groups.mean, rows, contenders)
    top = torch.full((len(nearest),), -torch.inf, dtype=products.dtype).scatter_reduce(0, rows, products, "amax")
    winners = products == top[rows]
    chosen = torch.full_like(nearest, len(nearest)).scatter_reduce(0, rows[winners], contenders[winners], "amin")
    nearest[rows] = chosen[rows]


def _products(vectors: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """<vectors[rows[i]], vectors[columns[i]]> for each i; the same number whichever of the two comes first."""
    import torch

    step = max(1, BLOCK_BYTES // (16 * vectors.shape[1]))
    parts = [(vectors[r] * vectors[c]).sum(1) for r, c in zip(rows.split(step), columns.split(step), strict=True)]
    return torch.cat(parts)


def _mutual(nearest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs that are each other's nearest; the lower number comes first. There is always one."""
    import torch

    own = torch.arange(len(nearest))
    left = own[(nearest[nearest] == own) & (own < nearest)]
    return left, nearest[left]


def _join(groups: _Groups, lists: _Lists, left: torch.Tensor, right: torch.Tensor) -> np.ndarray:
    """Put the right groups into the left ones; the joins made, [pairs, 3]."""
    import torch

    distance = 1.0 - _products(groups.mean, left, right)
    distance = torch.maximum(distance, torch.maximum(groups.height[left], groups.height[right]))
    weight = groups.weight[left] + groups.weight[right]
    share = (groups.weight[left] / weight)[:, None]
    groups.mean[left] = share * groups.mean[left] + (1.0 - share) * groups.mean[right]
    groups.single[left] = groups.mean[left].float()
    groups.weight[left], groups.height[left] = weight, distance
    # Outside both lists nothing is nearer to the whole than the weighted mean of its parts' bounds.
    lists.bound[left] = lists.bound[left].lerp(lists.bound[right], 1.0 - share[:, 0].float())
    return torch.stack([groups.first[left].double(), groups.first[right].double(), distance], dim=1).numpy()


def _compact(groups: _Groups, lists: _Lists, left, right) -> tuple[_Groups, _Lists]:
    """Drop the right groups, which are in the left ones now, and bring the lists up to date."""
    import torch

    own = torch.arange(len(groups.first))
    kept = torch.ones(len(own), dtype=torch.bool)
    kept[right] = False
    # A whole inherits both lists; a group's own number marks the places that the others leave unused.
    inherited = own[:, None].repeat(1, LISTED)
    inherited[left] = lists.neighbour[right]
    number = kept.cumsum(0) - 1
    number[right] = number[left]
    changed = torch.zeros(int(kept.sum()), dtype=torch.bool)
    changed[number[left]] = True
    groups = _Groups(
        groups.first[kept], groups.weight[kept], groups.mean[kept], groups.height[kept], groups.single[kept]
    )
    neighbour = number[torch.cat([lists.neighbour, inherited], dim=1)[kept]]
    unused = torch.full((len(changed), LISTED), -torch.inf)
    similarity = torch.cat([lists.similarity[kept], unused], dim=1)
    return groups, _trim(groups, neighbour, similarity, lists.bound[kept], changed)


def _trim(groups: _Groups, neighbour, similarity, bound, changed) -> _Lists:
    """Lists of LISTED places out of twice as many, after some groups have changed."""
    import torch

    rows, places = (changed[:, None] | changed[neighbour]).nonzero(as_tuple=True)
    similarity[rows, places] = _products(groups.single, rows, neighbour[rows, places])
    neighbour, order = neighbour.sort(dim=1)
    similarity = similarity.gather(1, order)
    own = torch.arange(len(changed))[:, None]
    unused = neighbour == own
    unused[:, 1:] |= neighbour[:, 1:] == neighbour[:, :-1]
    neighbour, similarity = neighbour.where(~unused, own), similarity.masked_fill(unused, -torch.inf)
    top = similarity.topk(LISTED + 1)
    bound = torch.maximum(bound, top.values[:, LISTED])
    kept = top.indices[:, :LISTED]
    return _Lists(neighbour.gather(1, kept), top.values[:, :LISTED].contiguous(), bound)


def _chain(groups: _Groups) -> np.ndarray:
    """The joins of the groups left, by walking from nearest to nearest until two are each other's."""
    first, weight, mean, height = (
        tensor.numpy() for tensor in (groups.first, groups.weight, groups.mean, groups.height)
    )
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
    """Labels [count] of the groups that stand apart above a distance, or of k groups, numbered by first row."""
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
