"""The difference of two texts, word by word, as data."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Words:
    """A run of text that both versions share, or that only the older or only the newer one has."""

    kind: Literal["same", "removed", "added"]
    text: str


def word_diff(before: str, after: str) -> tuple[Words, ...]:
    """Runs whose same and removed ones spell `before`, and whose same and added ones spell `after`."""
    old, new = _words(before), _words(after)
    runs: list[Words] = []
    for op, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            runs.append(Words("same", "".join(old[i:j])))
            continue
        if i < j:
            runs.append(Words("removed", "".join(old[i:j])))
        if k < m:
            runs.append(Words("added", "".join(new[k:m])))
    return tuple(runs)


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)
