"""Cutting the part of the merge tree that some principles make up: the groups for a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lpd_core.errors import EditRefused
from lpd_core.types import Merge

Groups = list[list[str]]
"""Principle ids by group: the largest group first, each in the clustering's order."""


def groups_by_threshold(
    merges: Sequence[Merge], order: Sequence[str], members: Iterable[str], threshold: float
) -> Groups:
    """The groups that members form when the tree is cut at a distance. Raises `EditRefused` for a member that
    is not in the tree."""
    joins = _joins(merges, order, set(members))
    return _groups(order, set(members), [join for join in joins if join[2] <= threshold])


def groups_by_k(merges: Sequence[Merge], order: Sequence[str], members: Iterable[str], k: int) -> Groups:
    """Members in k groups, as the tree joins them. Raises `EditRefused` for a member that is not in the tree
    and for a k that is not between 2 and their number."""
    wanted = set(members)
    if not 2 <= k <= len(wanted):
        raise EditRefused(f"{len(wanted)} members do not split into {k} groups; give 2 to {len(wanted)}")
    joins = sorted(_joins(merges, order, wanted), key=lambda join: join[2])
    return _groups(order, wanted, joins[: max(0, len(wanted) - k)])


def _joins(merges: Sequence[Merge], order: Sequence[str], members: set[str]) -> list[tuple[int, int, float]]:
    """The merges that join two members' sides, as (position, position, distance), parts before wholes."""
    speaker = {position: position for position, each in enumerate(order) if each in members}
    if len(speaker) < len(members):
        strange = sorted(members - set(order))
        raise EditRefused(
            f"{len(strange)} members are not in the merge tree ({', '.join(strange[:3])}); split by a list "
            "of members"
        )
    joins = []
    for node, merge in enumerate(merges, start=len(order)):
        left, right = speaker.pop(merge.left, None), speaker.pop(merge.right, None)
        if left is not None and right is not None:
            joins.append((left, right, merge.distance))
            if len(joins) == len(members) - 1:
                break
        if left is not None or right is not None:
            speaker[node] = right if left is None else left
    return joins


def _groups(order: Sequence[str], members: set[str], joins: Iterable[tuple[int, int, float]]) -> Groups:
    groups = {position: [position] for position, each in enumerate(order) if each in members}
    home = {position: position for position in groups}
    for left, right, _ in joins:
        kept, gone = sorted((home[left], home[right]), key=lambda root: -len(groups[root]))
        for position in groups.pop(gone):
            home[position] = kept
            groups[kept].append(position)
    found = sorted((sorted(group) for group in groups.values()), key=lambda group: (-len(group), group))
    return [[order[position] for position in group] for group in found]
