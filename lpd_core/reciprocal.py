"""The first stage of average linkage: rounds in which all mutual nearest neighbours join at once.

Reciprocal agglomerative clustering (Sumengen et al. 2021, arXiv 2105.11653) with torch, for more groups than
a matrix of all pairs has room for. Each group keeps a short list of its nearest ones and a bound on all
others, and looks at all groups again only when its list no longer decides. Decisions fall in float64: float32
products only rule out what is farther by more than their error.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

LISTED = 16
"""Nearest groups that each group remembers."""
BLOCK_BYTES = 64 * 2**20
"""Memory of one block of products."""
ROUNDING = 2e-6
"""Twice the error of a float32 product of two vectors of norm at most 1, generously."""


@dataclass
class Groups:
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
    group outside the list exceeds in similarity. Unused entries name the group itself, at -inf."""

    neighbour: torch.Tensor
    similarity: torch.Tensor
    bound: torch.Tensor


def join_in_rounds(
    first: np.ndarray, mean: np.ndarray, weight: np.ndarray, limit: int
) -> tuple[list[np.ndarray], Groups]:
    """Join distinct groups until at most `limit` are left: the joins [pairs, 3] of each round, and the rest.

    A group is named by its first row, in ascending order; a join is (left, right, distance)."""
    mean = torch.from_numpy(mean)
    groups = Groups(
        first=torch.from_numpy(first),
        weight=torch.from_numpy(weight),
        mean=mean,
        single=mean.float(),
        height=torch.zeros(len(first), dtype=torch.float64),
        alive=torch.ones(len(first), dtype=torch.bool),
    )
    lists = _look_at_all(groups, torch.arange(len(first)))
    joins, left_over = [], len(first)
    while left_over > max(limit, 2 * LISTED):
        left, right = _mutual(_nearest(groups, lists))
        joins.append(_join(groups, lists, left, right))
        _update(groups, lists, left, right)
        left_over -= len(left)
        # Compacting copies everything: worth it only now and then.
        if left_over < 0.75 * len(groups.alive):
            groups, lists = _compact(groups, lists)
    return joins, _alive(groups)


def _look_at_all(groups: Groups, rows: torch.Tensor) -> _Lists:
    """Fresh lists for some groups, from the products with all groups, a block at a time."""
    blocks = rows.split(max(1, BLOCK_BYTES // (4 * len(groups.alive))))
    tops = [_products_with_all(groups, block).topk(LISTED + 1) for block in blocks]
    values = torch.cat([top.values for top in tops])
    indices = torch.cat([top.indices for top in tops])
    return _Lists(indices[:, :LISTED], values[:, :LISTED].contiguous(), values[:, LISTED].clone())


def _products_with_all(groups: Groups, rows: torch.Tensor) -> torch.Tensor:
    """Float32 similarities [rows, m] of some groups to all; -inf to themselves and to dead places."""
    products = groups.single[rows] @ groups.single.T
    products[torch.arange(len(rows)), rows] = -torch.inf
    return products.masked_fill_(~groups.alive, -torch.inf)


def _nearest(groups: Groups, lists: _Lists) -> torch.Tensor:
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


def _decide(groups: Groups, rows: torch.Tensor, contenders: torch.Tensor, nearest: torch.Tensor) -> None:
    """Set `nearest` of the rows named to the best of their contenders in float64, the first at a tie."""
    products = _products(groups.mean, rows, contenders)
    top = torch.full((len(nearest),), -torch.inf, dtype=torch.float64)
    top.scatter_reduce_(0, rows, products, "amax")
    winners = products == top[rows]
    nearest.scatter_reduce_(0, rows[winners], contenders[winners], "amin", include_self=False)


def _products(vectors: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """<vectors[rows[i]], vectors[columns[i]]> for each i; the same number whichever of the two is first."""
    step = max(1, BLOCK_BYTES // (32 * vectors.shape[1]))
    pairs = zip(rows.split(step), columns.split(step), strict=True)
    return torch.cat([(vectors[row] * vectors[column]).sum(1) for row, column in pairs])


def _mutual(nearest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairs that are each other's nearest; the lower number comes first. There is always one."""
    own = torch.arange(len(nearest))
    left = own[(nearest[nearest] == own) & (own < nearest)]
    return left, nearest[left]


def _join(groups: Groups, lists: _Lists, left: torch.Tensor, right: torch.Tensor) -> np.ndarray:
    """Put the right groups into the left ones; the joins made, [pairs, 3]. The lists get new bounds only."""
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


def _update(groups: Groups, lists: _Lists, left: torch.Tensor, right: torch.Tensor) -> None:
    """Bring the lists up to date after the right groups have gone into the left ones."""
    own = torch.arange(len(groups.alive))
    place = own.clone()
    place[right] = left
    inherited = place[torch.cat([lists.neighbour[left], lists.neighbour[right]], dim=1)]
    groups.alive[right] = False
    lists.neighbour[right], lists.similarity[right] = right[:, None], -torch.inf
    lists.bound[right] = -torch.inf
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


def _inherit(groups: Groups, lists: _Lists, left: torch.Tensor, inherited: torch.Tensor) -> None:
    """Give each whole the best of what its parts listed, [pairs, 2 LISTED] with repetitions and itself."""
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


def _compact(groups: Groups, lists: _Lists) -> tuple[Groups, _Lists]:
    """The same without the dead places."""
    alive = groups.alive
    number = alive.cumsum(0) - 1
    return _alive(groups), _Lists(number[lists.neighbour[alive]], lists.similarity[alive], lists.bound[alive])


def _alive(groups: Groups) -> Groups:
    return Groups(*(getattr(groups, part.name)[groups.alive] for part in fields(Groups)))
