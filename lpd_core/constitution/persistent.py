"""A map that is never changed: an updated copy shares all but a few small pieces with the original.

Undo keeps every state of a constitution. With plain dicts each state would hold its own copy of a table of
100,000 principles; here it holds the buckets that the edit touched, and two states are compared by looking
at those only. Knows nothing of constitutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar
from zlib import crc32

Value = TypeVar("Value")
FILL = 32
"""Average number of keys in a bucket when the map is laid out, and a quarter of what makes it lay out
anew."""


class PersistentMap(Mapping[str, Value]):
    """Strings to values in hash buckets that copies share. The order of iteration means nothing."""

    __slots__ = ("_buckets", "_size")

    def __init__(self, items: Mapping[str, Value] | Iterable[tuple[str, Value]] = ()):
        flat = dict(items)
        buckets: list[dict[str, Value]] = [{} for _ in range(len(flat) // FILL + 1)]
        for key, value in flat.items():
            buckets[_place(key, len(buckets))][key] = value
        self._buckets = tuple(buckets)
        self._size = len(flat)

    def __getitem__(self, key: str) -> Value:
        return self._buckets[_place(key, len(self._buckets))][key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._buckets[_place(key, len(self._buckets))]

    def __iter__(self) -> Iterator[str]:
        return (key for bucket in self._buckets for key in bucket)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PersistentMap) and len(self) == len(other) and not self.changed_keys(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"

    def updated(self, changes: Mapping[str, Value], removed: Iterable[str] = ()) -> PersistentMap[Value]:
        """A copy with some keys set and others removed. Raises `KeyError` when a removed key is not there."""
        buckets = list(self._buckets)
        copied: dict[int, dict[str, Value]] = {}

        def own(key: str) -> dict[str, Value]:
            place = _place(key, len(buckets))
            if place not in copied:
                copied[place] = buckets[place] = dict(buckets[place])
            return copied[place]

        size = self._size
        for key in removed:
            del own(key)[key]
            size -= 1
        for key, value in changes.items():
            bucket = own(key)
            size += key not in bucket
            bucket[key] = value
        return _laid_out(buckets, size)

    def changed_keys(self, other: PersistentMap[Value]) -> set[str]:
        """The keys whose values differ or that one map lacks; buckets that both share are not looked into."""
        if len(self._buckets) != len(other._buckets):
            pairs = [(dict(self.items()), dict(other.items()))]
        else:
            pairs = zip(self._buckets, other._buckets, strict=True)
        changed: set[str] = set()
        for mine, theirs in pairs:
            if mine is not theirs:
                changed |= theirs.keys() - mine.keys()
                changed |= {key for key, value in mine.items() if _differs(value, key, theirs)}
        return changed


def _place(key: str, buckets: int) -> int:
    # Not hash(): it differs from process to process, and so would the order of iteration.
    return crc32(key.encode("utf-8", "surrogatepass")) % buckets


def _differs(value: Value, key: str, theirs: Mapping[str, Value]) -> bool:
    return key not in theirs or (value is not theirs[key] and value != theirs[key])


def _laid_out(buckets: list[dict[str, Value]], size: int) -> PersistentMap[Value]:
    if size > 4 * FILL * len(buckets):
        return PersistentMap(item for bucket in buckets for item in bucket.items())
    grown: PersistentMap[Value] = PersistentMap.__new__(PersistentMap)
    grown._buckets, grown._size = tuple(buckets), size
    return grown
