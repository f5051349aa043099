"""What stands behind an entry, counted: its principles, their trajectories and prompts, the gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lpd_core.constitution import Entry
from lpd_core.types import Member


@dataclass(frozen=True, slots=True)
class Support:
    """Distinct principles, trajectories and prompts, and the mean gain of the trajectories (None without any)."""

    principles: int
    trajectories: int
    prompts: int
    mean_gain: float | None


class SupportBook:
    """The support of any entry of an iteration, from its trajectories given as columns in the principles' order.

    An entry's support is computed once for each set of members it has: edits leave nearly all of them alone."""

    def __init__(self, principle_ids: Sequence[str], prompt_ids: Sequence[str], gains: Sequence[float]):
        names, starts = np.unique(np.asarray(principle_ids, dtype=object), return_index=True)
        bounds = [*starts.tolist(), len(principle_ids)]
        self._rows = dict(zip(names.tolist(), pairwise(bounds), strict=True))
        numbers: dict[str, int] = {}
        self._prompts = [numbers.setdefault(each, len(numbers)) for each in prompt_ids]
        self._gains = [float(gain) for gain in gains]
        self._known: dict[str, tuple[tuple[Member, ...], Support]] = {}

    def of(self, entry: Entry) -> Support:
        """An entry's support."""
        known = self._known.get(entry.entry_id)
        if known is None or known[0] is not entry.members:
            known = self._known[entry.entry_id] = (entry.members, self._count(entry))
        return known[1]

    def gains(self, entry: Entry) -> list[float]:
        """The gain of each trajectory of an entry."""
        return [self._gains[row] for row in self._rows_of(entry)]

    def _rows_of(self, entry: Entry) -> list[int]:
        spans = (self._rows.get(member.principle_id, (0, 0)) for member in entry.members)
        return [row for start, end in spans for row in range(start, end)]

    def _count(self, entry: Entry) -> Support:
        rows = self._rows_of(entry)
        gain = sum(self._gains[row] for row in rows) / len(rows) if rows else None
        return Support(len(entry.members), len(rows), len({self._prompts[row] for row in rows}), gain)
