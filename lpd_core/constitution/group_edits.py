"""Edits that move principles between entries: merge, split, move, prune, restore, add.

An entry made by an edit takes its id from the edit's number in the log, so no id is ever reused, and remembers
what it was made with. Only the entries and principles that an edit names are touched.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lpd_core.constitution.arguments import Add, Merge, Move, Prune, Restore, Split
from lpd_core.constitution.entry_edits import prune_entry, restore_entry, text_fields
from lpd_core.constitution.lookup import find_active, find_holder, find_members, some
from lpd_core.constitution.state import Constitution, Entry, Made, Provenance, Pruned
from lpd_core.errors import EditRefused
from lpd_core.types import Member


def merge(constitution: Constitution, args: Merge, seq: int) -> Constitution:
    """Make one entry of several. The sources stay visible as merged."""
    sources = [find_active(constitution, entry_id) for entry_id in args.ids]
    largest = max(sources, key=lambda entry: entry.trajectories)
    whole = Entry(
        entry_id=f"{constitution.prefix}{seq}",
        label=largest.label,
        text=largest.text,
        members=tuple(member for source in sources for member in source.members),
        medoid_principle_id=largest.medoid_principle_id,
        pinned=any(source.pinned for source in sources),
        provenance=Provenance("merged", tuple(args.ids), seq),
    )
    if args.medoid_principle_id:
        find_members(whole, [args.medoid_principle_id])
        text = constitution.texts[args.medoid_principle_id]
        whole = replace(whole, **text_fields(whole, text, args.medoid_principle_id))
    if args.text:
        whole = replace(whole, **text_fields(whole, args.text, None))
    if args.label:
        whole = replace(whole, label=args.label)
    return _used_up(constitution, sources, "merged", [_as_made(whole)])


def split(constitution: Constitution, args: Split, seq: int) -> Constitution:
    """Make several entries of one. The source stays visible as split."""
    entry = find_active(constitution, args.id)
    _check_partition(entry, args.groups)
    groups = [tuple(find_members(entry, group).values()) for group in args.groups]
    heir = _heir(entry, groups)
    parts = []
    for number, members in enumerate(groups):
        medoid = args.medoids[number] if args.medoids else None
        part = replace(
            entry,
            entry_id=f"{constitution.prefix}{seq}.{number + 1}",
            members=members,
            accepted=False,
            provenance=Provenance("split", (entry.entry_id,), seq),
        )
        if number != heir:
            medoid = medoid or _most_frequent(members)
            part = replace(part, label=part.text, pinned=False, note="")
        if medoid:
            find_members(part, [medoid])
        if medoid and medoid != part.medoid_principle_id:
            part = replace(part, **text_fields(part, constitution.texts[medoid], medoid))
        parts.append(_as_made(part))
    return _used_up(constitution, [entry], "split", parts)


def _as_made(entry: Entry) -> Entry:
    """A new entry that remembers what it is made with."""
    made = Made(entry.label, entry.text, entry.pinned, entry.note)
    return replace(entry, provenance=replace(entry.provenance, made=made))


def _heir(entry: Entry, groups: Sequence[Sequence[Member]]) -> int:
    """The number of the group that keeps the entry's label, text, note and pin: the one with its medoid, or,
    when the text is a person's own, the one of most trajectories."""
    sizes = [
        (any(m.principle_id == entry.medoid_principle_id for m in group), sum(m.count for m in group))
        for group in groups
    ]
    return sizes.index(max(sizes))


def _check_partition(entry: Entry, groups: Sequence[Sequence[str]]) -> None:
    placed = [principle_id for group in groups for principle_id in group]
    find_members(entry, placed)
    twice = [each for each, times in Counter(placed).items() if times > 1]
    if twice:
        raise EditRefused(
            f"split of {entry.entry_id}: {some(twice)} would be in two groups; each goes into one"
        )
    missing = sorted({member.principle_id for member in entry.members} - set(placed))
    if missing:
        raise EditRefused(
            f"split of {entry.entry_id}: the groups leave out {some(missing)}; place every member"
        )


def _used_up(
    constitution: Constitution, sources: Sequence[Entry], status: str, results: Sequence[Entry]
) -> Constitution:
    into = tuple(result.entry_id for result in results)
    entries = {source.entry_id: replace(source, status=status, into=into) for source in sources}
    entries |= {result.entry_id: result for result in results}
    home = {member.principle_id: result.entry_id for result in results for member in result.members}
    return replace(
        constitution, by_id=constitution.by_id.updated(entries), home=constitution.home.updated(home)
    )


def move(constitution: Constitution, args: Move) -> Constitution:
    """Put principles into another entry; their trajectories take its text."""
    target = find_active(constitution, args.to)
    there = [each for each in args.principle_ids if constitution.home.get(each) == args.to]
    if there:
        raise EditRefused(f"{some(there)}: already in entry {args.to}; name principles that are elsewhere")
    taken = _take(constitution, args.principle_ids)
    return _join(taken.rest, target, taken.members)


def add(constitution: Constitution, args: Add, seq: int) -> Constitution:
    """Add a principle of one's own, with or without members."""
    entry = Entry(
        entry_id=f"{constitution.prefix}{seq}",
        label=args.label or args.text,
        text=args.text,
        pinned=args.pinned,
        note=args.note,
        provenance=Provenance("added", (), seq),
    )
    taken = _take(constitution, args.principle_ids or ())
    return _join(taken.rest, _as_made(entry), taken.members)


def prune(constitution: Constitution, args: Prune) -> Constitution:
    """Take an entry or single principles, and their trajectories, out."""
    if args.principle_ids is None:
        return prune_entry(constitution, args)
    taken = _take(constitution, args.principle_ids)
    pruned = {}
    for each, member in taken.members.items():
        holder = taken.holders[each]
        led = holder is not None and constitution.by_id[holder].medoid_principle_id == each
        stand_in = taken.rest.by_id[holder].medoid_principle_id if led else None
        pruned[each] = Pruned(member, holder, stand_in)
    return replace(taken.rest, pruned=constitution.pruned.updated(pruned))


def restore(constitution: Constitution, args: Restore) -> Constitution:
    """Take back a pruned entry, or single pruned principles into the entry they came from (or what it was
    merged into, or `to`).

    A medoid represents its entry again, as if it had never been pruned, unless a person has since given the
    entry another text."""
    if args.principle_ids is None:
        return restore_entry(constitution, args)
    strangers = [each for each in args.principle_ids if each not in constitution.pruned]
    if strangers:
        raise EditRefused(f"{some(strangers)}: not pruned one by one; restore takes what prune took")
    destinations: dict[str | None, dict[str, Member]] = defaultdict(dict)
    medoids: dict[str | None, tuple[int, str]] = {}
    for principle_id in args.principle_ids:
        pruned = constitution.pruned[principle_id]
        destination = (
            find_active(constitution, args.to).entry_id if args.to else _origin(constitution, pruned)
        )
        destinations[destination][principle_id] = pruned.member
        led = _medoids_since(constitution, pruned, destination)
        if led > medoids.get(destination, (0, ""))[0] and args.to in (None, pruned.entry_id):
            medoids[destination] = led, principle_id
    rest = replace(constitution, pruned=constitution.pruned.updated({}, args.principle_ids))
    rest = replace(rest, unclustered=rest.unclustered.updated(destinations.pop(None, {})))
    for entry_id, members in destinations.items():
        entry, (_, medoid) = rest.by_id[entry_id], medoids.get(entry_id, (0, ""))
        if medoid:
            entry = replace(entry, **text_fields(entry, rest.texts[medoid], medoid))
        rest = _join(rest, entry, members)
    return rest


def _medoids_since(constitution: Constitution, pruned: Pruned, destination: str | None) -> int:
    """How many stand-ins, one after the other pruned too, led from a pruned medoid to the entry's present one;
    0 when it was no medoid, or a person has changed the text since."""
    stand_in = pruned.stand_in
    for number in range(1, len(constitution.pruned) + 1):
        if stand_in not in constitution.pruned:
            here = stand_in and constitution.by_id[destination].medoid_principle_id == stand_in
            return number if here else 0
        stand_in = constitution.pruned[stand_in].stand_in
    return 0


def _origin(constitution: Constitution, pruned: Pruned) -> str | None:
    """The active entry that is now what the principle was pruned from; None: it was unclustered."""
    entry_id = pruned.entry_id
    while entry_id is not None and constitution.by_id[entry_id].status == "merged":
        (entry_id,) = constitution.by_id[entry_id].into
    if entry_id is None or constitution.by_id[entry_id].status == "active":
        return entry_id
    entry = constitution.by_id[entry_id]
    why = f"was split into {' and '.join(entry.into)}" if entry.into else "is pruned itself"
    raise EditRefused(
        f"principle {pruned.member.principle_id} came from entry {entry_id}, which {why}; say which entry "
        "it goes `to`"
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """Principles on their way: who they are, which entries held them, and the constitution without them."""

    members: Mapping[str, Member]
    holders: Mapping[str, str | None]
    rest: Constitution


def _take(constitution: Constitution, principle_ids: Sequence[str]) -> _Taken:
    groups: dict[str | None, list[str]] = defaultdict(list)
    for principle_id in principle_ids:
        holder = find_holder(constitution, principle_id)
        groups[holder.entry_id if holder else None].append(principle_id)
    loose = groups.pop(None, [])
    members = {each: constitution.unclustered[each] for each in loose}
    holders: dict[str, str | None] = dict.fromkeys(loose)
    entries = {}
    for entry_id, leaving in groups.items():
        entry = constitution.by_id[entry_id]
        members |= find_members(entry, leaving)
        holders |= dict.fromkeys(leaving, entry_id)
        entries[entry_id] = _without(constitution, entry, set(leaving))
    rest = replace(
        constitution,
        by_id=constitution.by_id.updated(entries),
        home=constitution.home.updated({}, (each for leaving in groups.values() for each in leaving)),
        unclustered=constitution.unclustered.updated({}, loose),
    )
    return _Taken({each: members[each] for each in principle_ids}, holders, rest)


def _without(constitution: Constitution, entry: Entry, leaving: set[str]) -> Entry:
    """The entry that stays when members leave; if its medoid does, its most frequent member represents it."""
    staying = tuple(member for member in entry.members if member.principle_id not in leaving)
    rest = replace(entry, members=staying, accepted=False)
    if entry.medoid_principle_id not in leaving:
        return rest
    if not staying:
        raise EditRefused(
            f"entry {entry.entry_id} would be left without members, and its text is one of theirs; merge or "
            "prune the entry, or reword it to keep it"
        )
    heir = _most_frequent(staying)
    return replace(rest, **text_fields(rest, constitution.texts[heir], heir))


def _join(constitution: Constitution, entry: Entry, members: Mapping[str, Member]) -> Constitution:
    """The constitution with an entry, new or old, that has these members too."""
    whole = replace(entry, members=(*entry.members, *members.values()), accepted=False)
    return replace(
        constitution,
        by_id=constitution.by_id.updated({entry.entry_id: whole}),
        home=constitution.home.updated(dict.fromkeys(members, entry.entry_id)),
    )


def _most_frequent(members: Iterable[Member]) -> str:
    """The member that stands in for a medoid nobody computed: most trajectories, then nearest to the old
    mean."""
    return min(members, key=lambda m: (-m.count, m.distance, m.principle_id)).principle_id
