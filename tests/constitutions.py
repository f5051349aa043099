"""Small constitutions for tests: clusters of principles p0, p1, ... with a text, a count and a distance
each."""

from __future__ import annotations

from collections.abc import Sequence

from lpd_core.constitution import Constitution, History, from_clustering, record, start
from lpd_core.types import Cluster, Clustering, Member

TEXTS = {f"p{n}": f"Principle number {n}." for n in range(200)}


def member(number: int) -> Member:
    """Principle p<number>: 1 to 3 trajectories, farther from the mean the higher its number."""
    return Member(f"p{number}", 1 + number % 3, number / 100)


def clustering(
    groups: Sequence[Sequence[int]], unclustered: Sequence[int] = (), iteration: int = 1
) -> Clustering:
    """Clusters "1.1", "1.2", ...; the first of each group is its medoid."""
    clusters = tuple(
        Cluster(f"{iteration}.{n}", TEXTS.get(f"p{group[0]}", "?"), f"p{group[0]}", tuple(map(member, group)))
        for n, group in enumerate(groups, start=1)
    )
    return Clustering(clusters, (), (), (), tuple(member(p) for p in unclustered))


def constitution(
    groups: Sequence[Sequence[int]] = ((0, 1, 2), (3, 4), (5, 6, 7, 8), (9,)),
    unclustered: Sequence[int] = (10, 11),
    iteration: int = 1,
) -> Constitution:
    """Four clusters and two unclustered principles, or the ones given."""
    return from_clustering(clustering(groups, unclustered, iteration), TEXTS)


def edited(base: Constitution | History, *edits: tuple[str, dict]) -> History:
    """A history with some more edits, made by "ann"."""
    history = start(base) if isinstance(base, Constitution) else base
    for op, args in edits:
        history = record(history, op, args, author="ann", at="2026-01-02T03:04:05+00:00")
    return history
