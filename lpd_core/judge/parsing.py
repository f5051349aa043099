"""A judge's words into its verdict, or None: what is not said plainly, or said in two ways, is no verdict."""

from __future__ import annotations

import re

MARKED_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*\]\]")
BARE_RATING = re.compile(
    r"\A\W*(?:(?:overall|final)\s+)?(?:(?:rating|score)\W*(?:is\W*)?)?(\d+(?:\.\d+)?)\s*(?:/\s*10)?\W*\Z",
    re.IGNORECASE,
)
MARKED_CHOICE = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
BARE_CHOICE = re.compile(
    r"\A\W*(?:(?:final\s+)?(?:verdict|answer|winner)\W*(?:is\W*)?)?(A|B|C|tie)\W*\Z", re.IGNORECASE
)
CHOICES = {"a": "first", "b": "second", "c": "tie", "tie": "tie"}


def read_rating(text: str) -> float | None:
    """The rating from 1 to 10 in [[double brackets]], or alone on the last line; None where there is none, it
    is out of range, or two differ."""
    found = {float(rating) for rating in MARKED_RATING.findall(text)}
    if not found:
        bare = BARE_RATING.match(_last_line(text))
        found = {float(bare[1])} if bare else set()
    rating = found.pop() if len(found) == 1 else None
    return rating if rating is not None and 1 <= rating <= 10 else None


def read_choice(text: str) -> str | None:
    """ "first", "second" or "tie" from [[A]], [[B]] or [[C]], or from the letter alone on the last line; None
    where there is none or two differ."""
    found = {CHOICES[choice.lower()] for choice in MARKED_CHOICE.findall(text)}
    if not found:
        bare = BARE_CHOICE.match(_last_line(text))
        found = {CHOICES[bare[1].lower()]} if bare else set()
    return found.pop() if len(found) == 1 else None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""
