"""Which entries of one clustering stand for those of another while a log is replayed on it.

The clustering may have joined several old entries in one: what an edit does to one of them it would then do to
all, so each new entry knows the old ones that it continues, the one that makes up most of it first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping


class Counterparts:
    """From the ids of an old log to those of the constitution it is replayed on, kept up to date edit by edit.

    `match` lists old entries heaviest first; `carried` are entries of the old log that are here under their own
    ids."""

    def __init__(self, match: Mapping[str, str], carried: Iterable[str] = ()):
        self.carried = frozenset(carried)
        self._ids = {each: each for each in sorted(self.carried)}
        self._ids |= {old: new for old, new in match.items() if old not in self.carried}
        self._rank = {old: rank for rank, old in enumerate(self._ids)}
        self._continued: dict[str, list[str]] = defaultdict(list)
        for old, new in self._ids.items():
            self._continued[new].append(old)

    def get(self, old: str) -> str | None:
        """The entry here that stands for an old one."""
        return self._ids.get(old)

    def beside(self, olds: Collection[str], new: str) -> list[str]:
        """What a new entry continues besides these old ones."""
        return [each for each in self._continued[new] if each not in olds]

    def lead(self, olds: Collection[str], new: str) -> bool:
        """Whether the old entry that makes up most of a new one is among these."""
        return set(self._continued[new][:1]).issubset(olds)

    def made(self, old: str, new: str, sources: Collection[str] = (), used_up: Iterable[str] = ()) -> None:
        """The old log made an entry of `sources`, for which `new` stands here. That continues too whatever else
        it did, and whatever else the entries did that were used up for it."""
        self._ids[old] = new
        self._rank[old] = min((self._rank[each] for each in sources), default=len(self._rank))
        before = {each for name in (*used_up, new) for each in self._continued.pop(name, ())}
        self._continued[new] = sorted({*before - set(sources), old}, key=lambda each: self._rank[each])
