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
from dataclasses import dataclass, fields
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
    """Places for m groups, in the order of their first rows: first [m], weight [m], mean [m, d] in float64,
    single [m, d] (the means in float32), height [m] (distance of the last join), alive [m]. A group that has
    joined one before it leaves a dead place behind."""

    first: torch.Tensor
    weight: torch.Tensor
    mean: torch.Tensor
    single: torch.Tensor
    height: torch.Tensor
    alive: torch.Tensor


@dataclass
class _Lists:
    """The nearest groups of each of m: neighbour [m, LISTED], similarity [m, LISTED] and bound [m], which no
    group outside the list exceeds in similarity. An unused entry names the group itself, at -inf; a dead place
    has no other entries."""

    neighbour: torch.Tensor
    similarity: torch.Tensor
    bound: torch.Tensor


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
    owner = _first_equal_row(means)
    first = np.unique(owner)
    repeats = np.flatnonzero(owner != np.arange(len(owner)))
    joins = [np.stack([owner[repeats], repeats, np.zeros(len(repeats))], axis=1)]
    if len(first) > 1:
        total = np.bincount(owner, weights=weights, minlength=len(means))[first]
        distinct = means[first] if len(repeats) else means
        joins += _join_distinct(first, distinct, total, max(dense_limit, 2 * LISTED))
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
        single=mean.float(),
        height=torch.zeros(len(first), dtype=torch.float64),
        alive=torch.ones(len(first), dtype=torch.bool),
    )
    joins, left_over = [], len(first)
    if left_over > limit:
        lists = _look_at_all(groups, torch.arange(left_over))
    while left_over > limit:
        left, right = _mutual(_nearest(groups, lists))
        joins.append(_join(groups, lists, left, right))
        _update(groups, lists, left, right)
        left_over -= len(left)
        # Compacting costs a copy of everything: worth it only now and then.
        if left_over < 0.75 * len(groups.alive):
            groups, lists = _compact(groups, lists)
    return [*joins, _chain(_select(groups, groups.alive))]


def _look_at_all(groups: _Groups, rows: torch.Tensor) -> _Lists:
    """Fresh lists for some groups, from the products with all groups, a block at a time."""
    import torch

    tops = []
    for block in rows.split(max(1, BLOCK_BYTES // (4 * len(groups.alive)))):
        tops.append(_products_with_all(groups, block).topk(LISTED + 1))
    values = torch.cat([top.values for top in tops])
    indices = torch.cat([top.indices for top in tops])
    return _Lists(indices[:, :LISTED], values[:, :LISTED].contiguous(), values[:, LISTED].clone())


def _products_with_all(groups: _Groups, rows: torch.Tensor) -> torch.Tensor:
    """Float32 similarities [rows, m] of some groups to all; -inf to themselves and to dead places."""
    import torch

    products = groups.single[rows] @ groups.single.T
    products[torch.arange(len(rows)), rows] = -torch.inf
    return products.masked_fill_(~groups.alive, -torch.inf)


def _nearest(groups: _Groups, lists: _Lists) -> torch.Tensor:
    """Each group's nearest other one [m], the first at a tie. Renews the lists that no longer decide."""
    spent = (lists.similarity.amax(1) < lists.bound + ROUNDING).nonzero()[:, 0]
    if len(spent):
        fresh = _look_at_all(groups, spent)
        lists.neighbour[spent], lists.similarity[spent] = fresh.neighbour, fresh.similarity
        lists.bound[spent] = fresh.bound
    best, place = lists.similarity.max(1)
    nearest = lists.neighbour.gather(1, place[:, None])[:, 0]
    contends = (lists.similarity >= best[:, None] - ROUNDING) & groups.alive[:, None]
    rows, places = (contends & (contends.sum(1, keepdim=True) > 1)).nonzero(as_tuple=True)
    _decide(groups, rows, lists.neighbour[rows, places], nearest)
    # More contenders than a list holds (vectors on a lattice): take them from all groups.
    crowded = (best < lists.bound + ROUNDING).nonzero()[:, 0]
    for block in crowded.split(max(1, BLOCK_BYTES // (32 * len(groups.alive)))):
        products = _products_with_all(groups, block)
        contends = products >= products.amax(1, keepdim=True) - ROUNDING
        rows, contenders = contends.nonzero(as_tuple=True)
        _decide(groups, block[rows], contenders, nearest)
    return nearest


def _decide(groups: _Groups, rows: torch.Tensor, contenders: torch.Tensor, nearest: torch.Tensor) -> None:
    """Set `nearest` of the rows named to the best of their contenders in float64, the first at a tie."""
    import torch

    products = _products(groups.mean, rows, contenders)
    top = torch.full((len(nearest),), -torch.inf, dtype=torch.float64)
    top.scatter_reduce_(0, rows, products, "amax")
    winners = products == top[rows]
    nearest.scatter_reduce_(0, rows[winners], contenders[winners], "amin", include_self=False)


def _products(vectors: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """<vectors[rows[i]], vectors[columns[i]]> for each i; the same number whichever of the two is first."""
    import torch

    step = max(1, BLOCK_BYTES // (32 * vectors.shape[1]))
    pairs = zip(rows.split(step), columns.split(step), strict=True)
    return torch.cat([(vectors[row] * vectors[column]).sum(1) for row, column in pairs])


def _mutual(nearest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs that are each other's nearest; the lower number comes first. There is always one."""
    import torch

    own = torch.arange(len(nearest))
    left = own[(nearest[nearest] == own) & (own < nearest)]
    return left, nearest[left]


def _join(groups: _Groups, lists: _Lists, left: torch.Tensor, right: torch.Tensor) -> np.ndarray:
    """Put the right groups into the left ones; the joins made, [pairs, 3]. The lists get new bounds only."""
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


def _update(groups: _Groups, lists: _Lists, left: torch.Tensor, right: torch.Tensor) -> None:
    """Bring the lists up to date after the right groups have gone into the left ones."""
    import torch

    own = torch.arange(len(groups.alive))
    place = own.clone()
    place[right] = left
    inherited = place[torch.cat([lists.neighbour[left], lists.neighbour[right]], dim=1)]
    groups.alive[right] = False
    lists.neighbour[right], lists.similarity[right], lists.bound[right] = right[:, None], -torch.inf, -torch.inf
    changed = torch.zeros(len(own), dtype=torch.bool)
    changed[left] = changed[right] = True
    stale = changed[lists.neighbour] & (lists.neighbour != own[:, None])
    rows, entries = stale.nonzero(as_tuple=True)
    whole = place[lists.neighbour[rows, entries]]
    lists.neighbour[rows, entries] = whole
    # Both parts may have been listed: the whole needs one entry only.
    repeated = (lists.neighbour[rows] == whole[:, None]).int().argmax(1) != entries
    lists.neighbour[rows, entries] = torch.where(repeated, rows, whole)
    products = _products(groups.single, rows, whole)
    lists.similarity[rows, entries] = products.masked_fill(repeated, -torch.inf)
    _inherit(groups, lists, left, inherited)


def _inherit(groups: _Groups, lists: _Lists, left: torch.Tensor, inherited: torch.Tensor) -> None:
    """Give each whole the best of what its parts listed, [pairs, 2 LISTED] with repetitions and itself."""
    import torch

    neighbour, _ = inherited.sort(dim=1)
    unused = neighbour == left[:, None]
    unused[:, 1:] |= neighbour[:, 1:] == neighbour[:, :-1]
    rows, entries = (~unused).nonzero(as_tuple=True)
    similarity = torch.full(neighbour.shape, -torch.inf)
    similarity[rows, entries] = _products(groups.single, left[rows], neighbour[rows, entries])
    top = similarity.topk(LISTED + 1)
    kept = neighbour.where(~unused, left[:, None]).gather(1, top.indices[:, :LISTED])
    lists.neighbour[left], lists.similarity[left] = kept, top.values[:, :LISTED]
    lists.bound[left] = torch.maximum(lists.bound[left], top.values[:, LISTED])


def _compact(groups: _Groups, lists: _Lists) -> tuple[_Groups, _Lists]:
    """The same without the dead places."""
    alive = groups.alive
    number = alive.cumsum(0) - 1
    lists = _Lists(number[lists.neighbour[alive]], lists.similarity[alive], lists.bound[alive])
    return _select(groups, alive), lists


def _select(groups: _Groups, kept: torch.Tensor) -> _Groups:
    return _Groups(*(getattr(groups, part.name)[kept] for part in fields(_Groups)))


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
