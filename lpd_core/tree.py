"""The merge tree of an iteration's principles as a picture needs it: how many clusters a threshold gives, and the
branches nearest to the root.

Knows positions and distances, no texts. Everything is exact, however few of the branches are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Merges [n - 1] of n principles in order of cosine distance: the nodes they join (below n a principle's
    position, else n plus the merge's number) and the distance between those. `count` is n."""

    left: np.ndarray
    right: np.ndarray
    distance: np.ndarray
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Crown:
    """The part of a tree nearest to the root: its m branches and the m - 1 merges above them.

    `branch` [n] is each principle's branch, numbered in the order of drawing; `joins` [m - 1, 7] are the merges,
    lowest first, as place and distance of both parts, distance of the merge, and its node's place and number."""

    branch: np.ndarray
    joins: np.ndarray
    branches: int


def count_at(tree: Tree, threshold: float) -> int:
    """How many clusters there are when the tree is cut at a distance."""
    return tree.count - int(np.count_nonzero(tree.distance <= threshold))


def labels_at(tree: Tree, threshold: float) -> np.ndarray:
    """Labels [n] from 0 of the clusters when the tree is cut at a distance."""
    return _labels(tree, tree.distance <= threshold)


def _labels(tree: Tree, made: np.ndarray) -> np.ndarray:
    """Labels [n] when only some merges [n - 1] are made; a merge's parts are made before it."""
    up = np.arange(tree.count + len(tree.distance))
    nodes = tree.count + np.flatnonzero(made)
    up[tree.left[made]] = up[tree.right[made]] = nodes
    while not np.array_equal(further := up[up], up):
        up = further
    return np.unique(up[: tree.count], return_inverse=True)[1]


def crown(tree: Tree, most: int) -> Crown:
    """The `most` branches that the merges nearest to the root leave, or all principles where there are fewer."""
    branches = min(tree.count, most)
    if not branches:
        return Crown(np.zeros(0, dtype=np.int64), np.zeros((0, 7)), 0)
    lowest = len(tree.distance) - (branches - 1)
    order = _branches_in_order(tree, lowest)
    place = {node: float(number) for number, node in enumerate(order)}
    height = dict.fromkeys(order, 0.0)
    joins = np.zeros((branches - 1, 7))
    for row, merge in enumerate(range(lowest, len(tree.distance))):
        node, left, right = tree.count + merge, int(tree.left[merge]), int(tree.right[merge])
        left, right = sorted((left, right), key=place.__getitem__)
        place[node], height[node] = (place[left] + place[right]) / 2, float(tree.distance[merge])
        joins[row] = place[left], height[left], place[right], height[right], height[node], place[node], node
    made = np.arange(len(tree.distance)) < lowest
    return Crown(_drawn(tree, made, order), joins, branches)


def _branches_in_order(tree: Tree, lowest: int) -> list[int]:
    """The nodes below the merges from `lowest` on, as they follow each other without crossing lines."""
    waiting, order = [tree.count + len(tree.distance) - 1], []
    while waiting:
        node = waiting.pop()
        if node < tree.count + lowest:
            order.append(node)
        else:
            waiting += [int(tree.right[node - tree.count]), int(tree.left[node - tree.count])]
    return order


def _drawn(tree: Tree, made: np.ndarray, order: list[int]) -> np.ndarray:
    """Each principle's branch, by its number in the order of drawing."""
    labels = _labels(tree, made)
    firsts = np.unique(labels, return_index=True)[1]
    up = np.arange(tree.count + len(tree.distance))
    nodes = tree.count + np.flatnonzero(made)
    up[tree.left[made]] = up[tree.right[made]] = nodes
    tops = firsts.copy()
    while not np.array_equal(further := up[tops], tops):
        tops = further
    number = {node: place for place, node in enumerate(order)}
    return np.array([number[int(top)] for top in tops])[labels]
