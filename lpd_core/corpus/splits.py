"""The held-out split and the identity of a prompt, both functions of the prompt's text alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from lpd_core.types import Message

SPLITS = ("train", "dev", "test")
TRAIN_SHARE = 0.8
DEV_SHARE = 0.1


def content_key(messages: Sequence[Message]) -> str:
    """SHA-256 of a prompt's roles and words. Runs of white space count as one blank, so that the same prompt
    from another file, with other line breaks, has the same key."""
    turns = [[message["role"], " ".join(message["content"].split())] for message in messages]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest()


def split_of(messages: Sequence[Message]) -> str:
    """train (80 %), dev (10 %) or test (10 %) by `content_key`: neither id, order nor file counts."""
    share = int(content_key(messages)[:16], 16) / 2**64
    if share < TRAIN_SHARE:
        return "train"
    return "dev" if share < TRAIN_SHARE + DEV_SHARE else "test"
