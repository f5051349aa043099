"""Which cluster of one iteration or version continues which of the one before: kept, born, merged, split,
died.

An entry that was carried over under its own id continues itself. All others are matched by shared principles
first, then by equal text, then by the distance of the clusters' means. Vectors are unit vectors by principle id;
an entry without members can be matched by its id or its text only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lpd_core.constitution.state import Constitution, Entry
from lpd_core.errors import DataError

Fate = Literal["kept", "born", "merged", "split", "died"]
How = Literal["id", "principles", "text", "distance"]
MAJORITY = 0.5
"""A shared link decides when it carries at least this share of the trajectories of one of its ends."""
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Node:
    """An active entry of one side. `fate` of a previous one says what became of it, of a current one how it
    came."""

    side: Literal["previous", "current"]
    entry_id: str
    label: str
    trajectories: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class Link:
    """A flow from a previous entry to a current one, at most one for each two. Only `decisive` links make fates;
    the others are members that came along. `weight` is in trajectories, together at most those of either entry;
    `distance` is that of the means where that made the match."""

    source: str
    target: str
    weight: int
    how: How
    decisive: bool
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """The nodes and links between two consecutive constitutions, for an alluvial chart."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def match(
    previous: Constitution | None, current: Constitution, vectors: Mapping[str, np.ndarray], threshold: float
) -> Lineage:
    """Match the active entries of two consecutive iterations or versions; means at most `threshold` apart
    match.

    Without a previous constitution every entry is born."""
    old, new = previous.active if previous else (), current.active
    flows = _Flows(old, new)
    carried = _carried(flows)
    for link in _shared(flows, carried):
        flows.put(link)
    for pair in carried:
        flows.join(pair, "id")
    for pair in _same_text(*flows.unmatched()):
        flows.join(pair, "text")
    for distance, pair in _near(flows, vectors, threshold):
        flows.join(pair, "distance", distance)
    links = [flows.links[pair] for pair in sorted(flows.links)]
    parents, children = relatives(Lineage((), tuple(links)))
    nodes = [
        Node("previous", e.entry_id, e.label, e.trajectories, _fate(e.entry_id, children, parents, "died"))
        for e in old
    ]
    nodes += [
        Node("current", e.entry_id, e.label, e.trajectories, _fate(e.entry_id, parents, children, "born"))
        for e in new
    ]
    return Lineage(tuple(nodes), tuple(links))


def relatives(lineage: Lineage) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By the decisive links: the previous entries of each current one, and the current ones of each previous
    one: itself under its own id first, then the heaviest."""
    parents: dict[str, list[str]] = defaultdict(list)
    children: dict[str, list[str]] = defaultdict(list)
    for link in sorted(
        lineage.links, key=lambda link: (link.how != "id", -link.weight, link.distance or 0.0)
    ):
        if link.decisive:
            parents[link.target].append(link.source)
            children[link.source].append(link.target)
    return dict(parents), dict(children)


def successors(lineage: Lineage) -> dict[str, str]:
    """For each previous entry that goes on, the current entry that continues it most: the matching for a
    replay, which tells by the order, heaviest first, which of several entries the current one mostly is."""
    return {source: targets[0] for source, targets in relatives(lineage)[1].items()}


def discovery_rate(
    earlier: Sequence[Constitution],
    current: Constitution,
    vectors: Mapping[str, np.ndarray],
    threshold: float,
) -> float:
    """The share of the principles of the current constitution, wherever they are in it, that are farther than
    the threshold from the mean of every active entry of the earlier (approved) ones; 1.0 when there is nothing
    earlier. An entry without vectors has no mean. Raises `DataError` for a principle without a vector."""
    means = [mean for constitution in earlier for mean in _means(constitution.active, vectors).values()]
    if not means:
        return 1.0
    missing = [each for each in current.texts if each not in vectors]
    if missing:
        raise DataError(f"{len(missing)} principles have no vector, the first is {missing[0]}")
    ids, clusters, new = list(current.texts), np.stack(means), 0
    for start in range(0, len(ids), BLOCK):
        block = np.stack([vectors[each] for each in ids[start : start + BLOCK]])
        new += int(((1.0 - block @ clusters.T).min(axis=1) > threshold).sum())
    return new / len(ids) if ids else 0.0


def _fate(
    entry_id: str, partners: Mapping[str, list[str]], back: Mapping[str, list[str]], alone: Fate
) -> Fate:
    """`partners` are an entry's relatives on the other side, `back` those relatives' own on this side."""
    many: Fate = "split" if alone == "died" else "merged"
    shared: Fate = "merged" if alone == "died" else "split"
    others = partners.get(entry_id, [])
    if not others:
        return alone
    if len(others) > 1:
        return many
    return shared if len(back[others[0]]) > 1 else "kept"


class _Flows:
    """The links found so far, one a pair, and what each entry has left to give or take: the links out of an
    entry, or into one, never carry more trajectories than it has."""

    def __init__(self, old: Iterable[Entry], new: Iterable[Entry]):
        self.old = {entry.entry_id: entry for entry in old}
        self.new = {entry.entry_id: entry for entry in new}
        self.links: dict[tuple[str, str], Link] = {}
        self._leaving = {entry_id: entry.trajectories for entry_id, entry in self.old.items()}
        self._coming = {entry_id: entry.trajectories for entry_id, entry in self.new.items()}

    def put(self, link: Link) -> None:
        """Add a link, in place of the pair's earlier one."""
        source, target = link.source, link.target
        earlier = self.links.get((source, target))
        gained = link.weight - (earlier.weight if earlier else 0)
        self._leaving[source] -= gained
        self._coming[target] -= gained
        self.links[source, target] = link

    def join(self, pair: tuple[str, str], how: How, distance: float | None = None) -> None:
        """Add a decisive link that carries what no other one of its two entries does."""
        earlier = self.links.get(pair)
        weight = min(self._leaving[pair[0]], self._coming[pair[1]]) + (earlier.weight if earlier else 0)
        self.put(Link(*pair, weight, how, True, distance))

    def unmatched(self) -> tuple[list[Entry], list[Entry]]:
        """The previous and the current entries without a decisive link."""
        sources = {link.source for link in self.links.values() if link.decisive}
        targets = {link.target for link in self.links.values() if link.decisive}
        return (
            [entry for entry_id, entry in self.old.items() if entry_id not in sources],
            [entry for entry_id, entry in self.new.items() if entry_id not in targets],
        )


def _carried(flows: _Flows) -> list[tuple[str, str]]:
    """Entries of both sides under one id: with the same text, or pinned on both sides."""
    pairs = [(flows.old[each], flows.new[each]) for each in flows.new if each in flows.old]
    return [
        (before.entry_id, after.entry_id)
        for before, after in pairs
        if (before.pinned and after.pinned) or _folded(before) == _folded(after)
    ]


def _shared(flows: _Flows, carried: Iterable[tuple[str, str]]) -> list[Link]:
    """The links by shared principles. A carried entry is continued by itself; what else shares its principles
    is linked decisively only by the share of the other entry."""
    before = {m.principle_id: (entry, m.count) for entry in flows.old.values() for m in entry.members}
    kept = {entry_id for pair in carried for entry_id in pair}
    links = []
    for entry in flows.new.values():
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for member in entry.members:
            if member.principle_id in before:
                source, count = before[member.principle_id]
                shared = (count, member.count, min(count, member.count))
                counts[source.entry_id] = [
                    a + b for a, b in zip(counts[source.entry_id], shared, strict=True)
                ]
        for source_id, (left, right, weight) in counts.items():
            of_source = 0.0 if source_id in kept else left / (flows.old[source_id].trajectories or 1)
            of_target = 0.0 if entry.entry_id in kept else right / (entry.trajectories or 1)
            decisive = max(of_source, of_target) >= MAJORITY
            links.append(Link(source_id, entry.entry_id, weight, "principles", decisive))
    return links


def _same_text(old: Iterable[Entry], new: Iterable[Entry]) -> list[tuple[str, str]]:
    before: dict[str, str] = {}
    for entry in old:
        before.setdefault(_folded(entry), entry.entry_id)
    return [(before[_folded(entry)], entry.entry_id) for entry in new if _folded(entry) in before]


def _folded(entry: Entry) -> str:
    return " ".join(entry.text.casefold().split())


def _near(
    flows: _Flows, vectors: Mapping[str, np.ndarray], threshold: float
) -> list[tuple[float, tuple[str, str]]]:
    """Each unmatched current entry to the nearest previous one, then each previous one still left alone to
    the nearest current one; the nearest pairs first."""
    befores, afters = _means(flows.old.values(), vectors), _means(flows.new.values(), vectors)
    if not befores or not afters:
        return []
    distances = 1.0 - np.stack(list(befores.values())) @ np.stack(list(afters.values())).T
    lonely_old, lonely_new = ({entry.entry_id for entry in side} for side in flows.unmatched())
    sources, targets = list(befores), list(afters)
    found: dict[tuple[str, str], float] = {}
    for column, target in enumerate(targets):
        row = int(distances[:, column].argmin())
        if target in lonely_new and distances[row, column] <= threshold:
            found[sources[row], target] = float(distances[row, column])
    reached = {source for source, _ in found}
    for row, source in enumerate(sources):
        column = int(distances[row].argmin())
        if source in lonely_old - reached and distances[row, column] <= threshold:
            found[source, targets[column]] = float(distances[row, column])
    return sorted((distance, pair) for pair, distance in found.items())


def _means(entries: Iterable[Entry], vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Unit means of the members' vectors, weighted by their counts, of the entries that have any."""
    means = {}
    for entry in entries:
        known = [(vectors[m.principle_id], m.count) for m in entry.members if m.principle_id in vectors]
        if known:
            mean = np.average(np.stack([v for v, _ in known]), axis=0, weights=[count for _, count in known])
            means[entry.entry_id] = mean / (np.linalg.norm(mean) or 1.0)
    return means
