"""Which cluster of one iteration or version continues which of the one before: kept, born, merged, split,
died.

Matched by shared principles first, then by equal text, then by the distance of the clusters' means. Vectors
are unit vectors by principle id; an entry without members can be matched by its text only.
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
    """A flow from a previous entry to a current one. Only `decisive` links make fates; the others are members
    that came along. `weight` is in trajectories; `distance` is that of the means where that made the
    match."""

    source: str
    target: str
    weight: int
    how: Literal["principles", "text", "distance"]
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
    links = _shared(old, new)
    links += _same_text(*_unmatched(old, new, links))
    links += _near(old, new, links, vectors, threshold)
    links.sort(key=lambda link: (link.source, link.target))
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
    one, the heaviest first."""
    parents: dict[str, list[str]] = defaultdict(list)
    children: dict[str, list[str]] = defaultdict(list)
    for link in sorted(lineage.links, key=lambda link: -link.weight):
        if link.decisive:
            parents[link.target].append(link.source)
            children[link.source].append(link.target)
    return dict(parents), dict(children)


def successors(lineage: Lineage) -> dict[str, str]:
    """For each previous entry that goes on, the current entry that continues it most: the matching for a
    replay."""
    return {source: targets[0] for source, targets in relatives(lineage)[1].items()}


def discovery_rate(
    earlier: Sequence[Constitution],
    current: Constitution,
    vectors: Mapping[str, np.ndarray],
    threshold: float,
) -> float:
    """The share of the principles whose nearest earlier active entry is farther than the threshold; 1.0 when
    there is nothing earlier. Raises `DataError` for a principle without a vector."""
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


def _shared(old: Iterable[Entry], new: Iterable[Entry]) -> list[Link]:
    before = {m.principle_id: (entry, m.count) for entry in old for m in entry.members}
    links = []
    for entry in new:
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        sources = {}
        for member in entry.members:
            if member.principle_id in before:
                source, count = before[member.principle_id]
                sources[source.entry_id] = source
                counts[source.entry_id][0] += count
                counts[source.entry_id][1] += member.count
        for source_id, (left, right) in counts.items():
            share = max(left / (sources[source_id].trajectories or 1), right / (entry.trajectories or 1))
            links.append(Link(source_id, entry.entry_id, right, "principles", share >= MAJORITY))
    return links


def _unmatched(
    old: Iterable[Entry], new: Iterable[Entry], links: Iterable[Link]
) -> tuple[list[Entry], list[Entry]]:
    sources = {link.source for link in links if link.decisive}
    targets = {link.target for link in links if link.decisive}
    return [e for e in old if e.entry_id not in sources], [e for e in new if e.entry_id not in targets]


def _same_text(old: Iterable[Entry], new: Iterable[Entry]) -> list[Link]:
    before: dict[str, Entry] = {}
    for entry in old:
        before.setdefault(" ".join(entry.text.casefold().split()), entry)
    links = []
    for entry in new:
        twin = before.get(" ".join(entry.text.casefold().split()))
        if twin:
            links.append(_link(twin, entry, "text"))
    return links


def _near(
    old: Iterable[Entry],
    new: Iterable[Entry],
    links: Sequence[Link],
    vectors: Mapping[str, np.ndarray],
    threshold: float,
) -> list[Link]:
    """Each unmatched current entry to the nearest previous one, then each previous one still left alone to
    the nearest current one."""
    befores, afters = _means(old, vectors), _means(new, vectors)
    left, right = [e for e in old if e.entry_id in befores], [e for e in new if e.entry_id in afters]
    if not left or not right:
        return []
    distances = 1.0 - np.stack(list(befores.values())) @ np.stack(list(afters.values())).T
    rows = {entry.entry_id: row for row, entry in enumerate(left)}
    columns = {entry.entry_id: column for column, entry in enumerate(right)}
    found: list[Link] = []
    for entry in _unmatched(left, right, links)[1]:
        row = int(distances[:, columns[entry.entry_id]].argmin())
        distance = float(distances[row, columns[entry.entry_id]])
        if distance <= threshold:
            found.append(_link(left[row], entry, "distance", distance))
    for entry in _unmatched(left, right, [*links, *found])[0]:
        column = int(distances[rows[entry.entry_id]].argmin())
        distance = float(distances[rows[entry.entry_id], column])
        if distance <= threshold:
            found.append(_link(entry, right[column], "distance", distance))
    return found


def _link(
    source: Entry, target: Entry, how: Literal["text", "distance"], distance: float | None = None
) -> Link:
    weight = min(source.trajectories, target.trajectories)
    return Link(source.entry_id, target.entry_id, weight, how, True, distance)


def _means(entries: Iterable[Entry], vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Unit means of the members' vectors, weighted by their counts, of the entries that have any."""
    means = {}
    for entry in entries:
        known = [(vectors[m.principle_id], m.count) for m in entry.members if m.principle_id in vectors]
        if known:
            mean = np.average(np.stack([v for v, _ in known]), axis=0, weights=[count for _, count in known])
            means[entry.entry_id] = mean / (np.linalg.norm(mean) or 1.0)
    return means
