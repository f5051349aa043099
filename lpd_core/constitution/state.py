"""The constitution as people edit it: entries, the principles that stand behind them, and where each one is.

A principle is in exactly one place: in an active or pruned entry, pruned by itself, or unclustered. Entries
that a merge or split used up stay visible with the members they had, and hold none of them. Nothing here is
ever changed; an edit makes a new `Constitution` that shares all it did not touch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lpd_core.constitution.persistent import PersistentMap
from lpd_core.errors import DataError
from lpd_core.types import Cluster, Clustering, Member

Status = Literal["active", "pruned", "merged", "split"]
"""`merged` and `split` entries were used up by an edit; `Entry.into` names what took their members."""

Origin = Literal["clustered", "merged", "split", "added"]


@dataclass(frozen=True, slots=True)
class Made:
    """What an edit that made an entry gave it, so that a difference tells what later edits changed."""

    label: str
    text: str
    pinned: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an entry comes from: the clustering, or edit `seq` acting on the entries `sources`. `made` is None
    for a cluster, and in documents from before it was kept."""

    origin: Origin = "clustered"
    sources: tuple[str, ...] = ()
    seq: int | None = None
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One principle of the constitution. `text` replaces the principle of every trajectory of its members.

    `label` is a short name for people. `medoid_principle_id` is the member whose text this is, None when the
    text is a person's own. `accepted` says that a person accepted the entry with its present text and
    members. A member's distance is that to the mean of the cluster in which it was found."""

    entry_id: str
    label: str
    text: str
    members: tuple[Member, ...] = ()
    medoid_principle_id: str | None = None
    status: Status = "active"
    pinned: bool = False
    accepted: bool = False
    note: str = ""
    into: tuple[str, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def trajectories(self) -> int:
        """How many trajectories state the members."""
        return sum(member.count for member in self.members)

    @property
    def holds_members(self) -> bool:
        """Whether the members are this entry's now, and not only what a used-up entry once had."""
        return self.status in ("active", "pruned")


@dataclass(frozen=True, slots=True)
class Pruned:
    """A principle pruned by itself, and the entry it was taken from (None: it was unclustered).

    `stand_in` is the member that represents the entry in its place; None: it was not the entry's medoid. While
    the stand-in still is the medoid, no person has changed the text since, and a restored principle represents
    the entry again."""

    member: Member
    entry_id: str | None
    stand_in: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Constitution:
    """Entries by id; `home` is the entry that holds a principle; `texts` are the principles' own texts.

    `prefix` begins the ids of entries that edits make: with "e2.", edit 17 makes "e2.17", or "e2.17.1" and
    "e2.17.2" (see `edit_prefix`)."""

    by_id: PersistentMap[Entry]
    home: PersistentMap[str]
    pruned: PersistentMap[Pruned]
    unclustered: PersistentMap[Member]
    texts: Mapping[str, str]
    prefix: str = "e"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, used-up ones too, in the natural order of their ids."""
        return tuple(sorted(self.by_id.values(), key=lambda entry: natural_key(entry.entry_id)))

    @property
    def active(self) -> tuple[Entry, ...]:
        """The entries that make up the constitution, in the natural order of their ids."""
        return tuple(entry for entry in self.entries if entry.status == "active")


@dataclass(frozen=True, slots=True)
class Share:
    """How many distinct principles, in how many trajectories."""

    principles: int
    trajectories: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Where the principles are; `active`, `pruned` and `unclustered` add up to `total`."""

    active: Share
    pruned: Share
    unclustered: Share
    total: Share


def from_clustering(
    clustering: Clustering, texts: Mapping[str, str], pinned: Collection[str] = ()
) -> Constitution:
    """The constitution that a clustering proposes, before any edit. A cluster's label is its text; where no
    medoid states it, it is a person's own. `pinned` names the clusters that carry pinned entries of the
    iteration before.

    Raises `DataError` when a text is missing or the clusters are not disjoint."""
    return assemble(
        [_entry(cluster, texts, cluster.cluster_id in pinned) for cluster in clustering.clusters],
        pruned=(),
        unclustered=clustering.unclustered,
        texts=texts,
    )


def _entry(cluster: Cluster, texts: Mapping[str, str], pinned: bool) -> Entry:
    medoid = cluster.medoid_principle_id or None
    if medoid and _own_text(medoid, texts) != cluster.label:
        medoid = None
    return Entry(cluster.cluster_id, cluster.label, cluster.label, cluster.members, medoid, pinned=pinned)


def assemble(
    entries: Iterable[Entry],
    pruned: Iterable[Pruned],
    unclustered: Iterable[Member],
    texts: Mapping[str, str],
    prefix: str | None = None,
) -> Constitution:
    """Put a constitution together. Without a prefix, one is chosen that no entry's id has yet.

    Raises `DataError` for an id used twice, a principle in two places, a missing text, or a medoid that is no
    member."""
    by_id: dict[str, Entry] = {}
    for entry in entries:
        if entry.entry_id in by_id:
            raise DataError(f"two entries have the id {entry.entry_id!r}; ids are unique")
        if entry.medoid_principle_id and entry.medoid_principle_id not in {
            m.principle_id for m in entry.members
        }:
            raise DataError(
                f"entry {entry.entry_id}: its medoid {entry.medoid_principle_id} is none of its members"
            )
        by_id[entry.entry_id] = entry
    home = [(m.principle_id, e.entry_id) for e in by_id.values() if e.holds_members for m in e.members]
    single = [(each.member.principle_id, each) for each in pruned]
    loose = [(member.principle_id, member) for member in unclustered]
    places: set[str] = set()
    for principle_id, _ in (*home, *single, *loose):
        if principle_id in places:
            raise DataError(f"principle {principle_id} is in two places; each belongs to one entry at most")
        places.add(principle_id)
    return Constitution(
        PersistentMap(by_id),
        PersistentMap(home),
        PersistentMap(single),
        PersistentMap(loose),
        {principle_id: _own_text(principle_id, texts) for principle_id in sorted(places)},
        free_prefix(by_id) if prefix is None else prefix,
    )


def _own_text(principle_id: str, texts: Mapping[str, str]) -> str:
    if principle_id not in texts:
        raise DataError(f"principle {principle_id} has no text")
    return texts[principle_id]


def edit_prefix(iteration: int) -> str:
    """How the ids of entries made by an iteration's edits begin, so that no two iterations give the same id:
    edit 17 of iteration 2 makes "e2.17"."""
    return f"e{iteration}."


def free_prefix(ids: Iterable[str], wanted: str = "e") -> str:
    """The wanted prefix for the ids of new entries, with as many "e" before it as it takes that none of these
    ids begins with it and a number.

    A pinned entry may come from the iteration before as "e17"; edit 17 of this one must not reuse that."""
    taken = [re.match(rf"(e*){re.escape(wanted)}\d", entry_id) for entry_id in ids]
    return "e" * max((len(match[1]) + 1 for match in taken if match), default=0) + wanted


def natural_key(entry_id: str) -> list[tuple[int, int, str]]:
    """Sorts "1.9" before "1.10", and numbers before words."""
    parts = re.split(r"(\d+)", entry_id)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def replacement(constitution: Constitution, principle_id: str) -> str | None:
    """The text that stands for a principle: its entry's, or None when it or its entry is pruned; an
    unclustered principle keeps its own. Raises `KeyError` for an unknown principle."""
    if principle_id in constitution.pruned:
        return None
    if principle_id in constitution.unclustered:
        return constitution.texts[principle_id]
    entry = constitution.by_id[constitution.home[principle_id]]
    return entry.text if entry.status == "active" else None


def replacements(constitution: Constitution) -> dict[str, str | None]:
    """The label replacement map, for every principle: the text that replaces it, or None when its
    trajectories leave the training set. The principles in `constitution.unclustered` map to their own
    text."""
    texts: dict[str, str | None] = {
        member.principle_id: entry.text if entry.status == "active" else None
        for entry in constitution.by_id.values()
        if entry.holds_members
        for member in entry.members
    }
    texts |= dict.fromkeys(constitution.pruned)
    return texts | {each: constitution.texts[each] for each in constitution.unclustered}


def tally(constitution: Constitution) -> Tally:
    """Count principles and trajectories by where they are."""
    held = {"active": [], "pruned": [each.member for each in constitution.pruned.values()]}
    for entry in constitution.by_id.values():
        if entry.holds_members:
            held[entry.status].extend(entry.members)
    active, pruned = _share(held["active"]), _share(held["pruned"])
    loose = _share(constitution.unclustered.values())
    shares = (active, pruned, loose)
    total = Share(sum(s.principles for s in shares), sum(s.trajectories for s in shares))
    return Tally(active, pruned, loose, total)


def _share(members: Iterable[Member]) -> Share:
    counts = [member.count for member in members]
    return Share(len(counts), sum(counts))
