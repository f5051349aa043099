"""What distinguishes two versions: the edits between them, or, across clusterings, what lineage tells.

Versions of one clustering share its ids, so the edits are read off the entries: each merge, split, move and
so on between them is listed once. The difference is symmetric: an undone merge shows as a split. An entry that
an edit made shows with the text it was made with, and what later edits changed of it as their own changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from lpd_core.constitution.lineage import Lineage, relatives
from lpd_core.constitution.state import Constitution, Entry, natural_key

ChangeKind = Literal[
    "added",
    "removed",
    "restored",
    "merged",
    "split",
    "moved",
    "principles_pruned",
    "principles_restored",
    "renamed",
    "reworded",
    "pinned",
    "unpinned",
    "noted",
    "accepted",
    "unaccepted",
]
"""`removed` is a pruned entry (or one whose addition was undone); `moved` means members, from `others` to the
entry. A text or members that changed end an acceptance without an `unaccepted` of its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` and `after` are texts (labels or notes where those changed); `others` are the
    sources of a merge or move, the parts of a split, or the id that the entry had in the earlier clustering;
    `principles` are the ids that moved, left or came back. An empty `entry_id` stands for the unclustered."""

    kind: ChangeKind
    entry_id: str
    before: str = ""
    after: str = ""
    others: tuple[str, ...] = ()
    principles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes from one version to another, and their training rows where known."""

    changes: tuple[Change, ...]
    same_clustering: bool
    rows_before: int | None
    rows_after: int | None


def diff(
    before: Constitution,
    after: Constitution,
    rows_before: int | None = None,
    rows_after: int | None = None,
    lineage: Lineage | None = None,
) -> Diff:
    """The changes from one version to another. Across clusterings the entries are paired by a lineage from
    `before` to `after`; without one, nothing there can be said to continue."""
    same = _same_clustering(before, after)
    changes = _edits_between(before, after) if same else _across(before, after, lineage or Lineage((), ()))
    return Diff(tuple(changes), same, rows_before, rows_after)


def _same_clustering(before: Constitution, after: Constitution) -> bool:
    return before.texts.keys() == after.texts.keys() and _found(before) == _found(after)


def _found(constitution: Constitution) -> set[str]:
    return {e.entry_id for e in constitution.by_id.values() if e.provenance.origin == "clustered"}


def _edits_between(before: Constitution, after: Constitution) -> Iterator[Change]:
    changed = sorted(before.by_id.changed_keys(after.by_id), key=natural_key)
    pairs = [(before.by_id.get(each), after.by_id.get(each)) for each in changed]
    yield from _made(after, [new for old, new in pairs if old is None])
    yield from _unmade(before, [old for old, new in pairs if new is None])
    for old, new in pairs:
        if new is None:
            continue
        if new.status == "pruned" and (old is None or old.status != "pruned"):
            yield Change("removed", new.entry_id, before=new.text)
        if new.status != "pruned" and old is not None and old.status == "pruned":
            yield Change("restored", new.entry_id, after=new.text)
        old = old or _as_made(after, new)
        yield from _fields(old, new)
        yield from _acceptance(old, new)
    yield from _moves(before, after)
    yield from _single(before, after)


def _made(after: Constitution, entries: Iterable[Entry]) -> Iterator[Change]:
    """The merges, splits and additions that made entries."""
    told = set()
    for entry in entries:
        origin, sources = entry.provenance.origin, entry.provenance.sources
        if origin == "added":
            yield Change("added", entry.entry_id, after=_as_made(after, entry).text)
        elif origin == "merged":
            yield Change("merged", entry.entry_id, after=_as_made(after, entry).text, others=sources)
        elif sources[0] not in told:
            told.add(sources[0])
            source = after.by_id[sources[0]]
            yield Change("split", source.entry_id, before=source.text, others=source.into)


def _unmade(before: Constitution, entries: Iterable[Entry]) -> Iterator[Change]:
    """What the lack of entries that `before` had amounts to: their making, undone."""
    told = set()
    for entry in entries:
        origin, sources = entry.provenance.origin, entry.provenance.sources
        if origin == "added":
            yield Change("removed", entry.entry_id, before=entry.text)
        elif origin == "merged":
            yield Change("split", entry.entry_id, before=entry.text, others=sources)
        elif sources[0] not in told:
            told.add(sources[0])
            source = before.by_id[sources[0]]
            yield Change("merged", source.entry_id, after=source.text, others=source.into)


def _as_made(constitution: Constitution, entry: Entry) -> Entry:
    """The entry as the edit that made it left it, so that later edits of it show; as far as can be told, where
    it does not remember."""
    entry, made = replace(entry, accepted=False), entry.provenance.made
    if made:
        return replace(entry, label=made.label, text=made.text, pinned=made.pinned, note=made.note)
    if entry.provenance.origin == "added":
        return entry
    sources = [constitution.by_id[source] for source in entry.provenance.sources]
    largest = max(sources, key=lambda source: source.trajectories)
    if entry.provenance.origin == "merged":
        pinned = any(source.pinned for source in sources)
        return replace(entry, label=largest.label, text=largest.text, pinned=pinned, note="")
    heir = entry.text == largest.text or entry.label == largest.label
    return replace(
        entry,
        text=entry.text if entry.medoid_principle_id else largest.text,
        label=largest.label if heir else entry.text,
        pinned=largest.pinned and heir,
        note=largest.note if heir else "",
    )


def _fields(old: Entry, new: Entry, others: tuple[str, ...] = ()) -> Iterator[Change]:
    if old.text != new.text:
        yield Change("reworded", new.entry_id, old.text, new.text, others)
    if old.label != new.label and (old.label, new.label) != (old.text, new.text):
        yield Change("renamed", new.entry_id, old.label, new.label, others)
    if old.pinned != new.pinned:
        yield Change("pinned" if new.pinned else "unpinned", new.entry_id, others=others)
    if old.note != new.note:
        yield Change("noted", new.entry_id, old.note, new.note, others)


def _acceptance(old: Entry, new: Entry) -> Iterator[Change]:
    if new.accepted and not old.accepted:
        yield Change("accepted", new.entry_id, after=new.text)
    if old.accepted and not new.accepted and new.holds_members and _content(old) == _content(new):
        yield Change("unaccepted", new.entry_id, before=old.text)


def _content(entry: Entry) -> tuple[str, set[str]]:
    return entry.text, {member.principle_id for member in entry.members}


def _moves(before: Constitution, after: Constitution) -> Iterator[Change]:
    """Members that are where neither a merge nor a split took them."""
    moved: dict[tuple[str, str], list[str]] = defaultdict(list)
    expected: dict[str, set[str]] = {}
    candidates = before.home.changed_keys(after.home) | before.unclustered.changed_keys(after.unclustered)
    for principle_id in candidates:
        if principle_id in before.pruned or principle_id in after.pruned:
            continue
        source, target = before.home.get(principle_id, ""), after.home.get(principle_id, "")
        if source not in expected:
            expected[source] = _continued(source, before, after) if source else set()
        if target not in expected[source]:
            moved[target, source].append(principle_id)
    for (target, source), principles in sorted(moved.items()):
        yield Change(
            "moved", target, others=(source,) if source else (), principles=tuple(sorted(principles))
        )


def _continued(entry_id: str, before: Constitution, after: Constitution) -> set[str]:
    """The entries of `after` that an entry's members came to by merges and splits, done or undone."""
    found, waiting = set(), [entry_id]
    while waiting:
        each = waiting.pop()
        entry = after.by_id.get(each)
        if entry is None:
            waiting.extend(before.by_id[each].provenance.sources)
        elif entry.holds_members:
            found.add(each)
        else:
            waiting.extend(entry.into)
    return found


def _single(before: Constitution, after: Constitution) -> Iterator[Change]:
    """Principles pruned one by one, by the entry they left, and restored ones, by the entry they are in."""
    pruned: dict[str, list[str]] = defaultdict(list)
    restored: dict[str, list[str]] = defaultdict(list)
    for principle_id in before.pruned.changed_keys(after.pruned):
        if principle_id not in before.pruned:
            pruned[after.pruned[principle_id].entry_id or ""].append(principle_id)
        elif principle_id not in after.pruned:
            restored[after.home.get(principle_id, "")].append(principle_id)
    for entry_id, principles in sorted(pruned.items()):
        yield Change("principles_pruned", entry_id, principles=tuple(sorted(principles)))
    for entry_id, principles in sorted(restored.items()):
        yield Change("principles_restored", entry_id, principles=tuple(sorted(principles)))


def _across(before: Constitution, after: Constitution, lineage: Lineage) -> Iterator[Change]:
    """The changes between two clusterings, whose entries a lineage pairs."""
    parents, children = relatives(lineage)
    for entry in before.active:
        parts = tuple(children.get(entry.entry_id, ()))
        if not parts:
            yield Change("removed", entry.entry_id, before=entry.text)
        elif len(parts) > 1:
            yield Change("split", entry.entry_id, before=entry.text, others=parts)
    for entry in after.active:
        sources = tuple(parents.get(entry.entry_id, ()))
        if not sources:
            yield Change("added", entry.entry_id, after=entry.text)
        elif len(sources) > 1:
            yield Change("merged", entry.entry_id, after=entry.text, others=sources)
        elif len(children[sources[0]]) == 1:
            yield from _fields(before.by_id[sources[0]], entry, sources)
