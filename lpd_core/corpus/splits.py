"""The held-out split and the identity of a prompt, both functions of the prompt's text alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from lpd_core.types import Message

SPLITS = ("train", "dev", "test")
SHARES = (0.8, 0.1, 0.1)
"""Of train, dev and test, where nobody says otherwise."""


def content_key(messages: Sequence[Message]) -> str:
    """SHA-256 of a prompt's roles and words. Runs of white space count as one blank, so that the same prompt
    from another file, with other line breaks, has the same key."""
    turns = [[message["role"], " ".join(message["content"].split())] for message in messages]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest()


def split_of(messages: Sequence[Message], shares: Sequence[float] = SHARES) -> str:
    """train, dev or test with the given shares by `content_key`: neither id, order nor file counts."""
    place = int(content_key(messages)[:16], 16) / 2**64
    if place < shares[0]:
        return "train"
    return "dev" if place < shares[0] + shares[1] else "test"
