"""Checkers: which attributes a text realises, which one a principle names, and Rouge-L of two texts."""

from __future__ import annotations

import re

from rapidfuzz.distance import LCSseq

from data.demo.builder.attributes import ATTRIBUTES

_STATEMENTS = {s.lower().rstrip("."): key for key, spec in ATTRIBUTES.items() for s in spec.statements}


def realised(text: str) -> list[str]:
    """The attributes whose mark stands in the text."""
    lowered = text.lower()
    return [key for key, spec in ATTRIBUTES.items() if re.search(spec.text_mark, lowered)]


def named(principle: str) -> str | None:
    """The attribute that a principle names: by its exact statement, else by its only mark, else None."""
    lowered = principle.lower().strip().rstrip(".")
    if lowered in _STATEMENTS:
        return _STATEMENTS[lowered]
    hits = [key for key, spec in ATTRIBUTES.items() if re.search(spec.statement_mark, lowered)]
    return hits[0] if len(hits) == 1 else None


def rouge_l(text: str, gold: str) -> float:
    """Rouge-L F1 on the rouge_score package's tokens, without stemming."""
    left, right = (re.findall(r"[a-z0-9]+", t.lower()) for t in (text, gold))
    if not left or not right:
        return 0.0
    return 2 * LCSseq.similarity(left, right) / (len(left) + len(right))
