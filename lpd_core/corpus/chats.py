"""Chat turns out of a row: their types, their order, HH-RLHF's transcripts. Raises `RowError` throughout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lpd_core.corpus.reading import parse_cell
from lpd_core.corpus.rows import RowError, checked_text, describe, printable
from lpd_core.types import Message

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}
SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def prompt_turns(value: Any, name: str) -> tuple[Message, ...]:
    """The turns of a prompt that is a string (one user turn) or a chat; `messages` is always a chat."""
    if isinstance(value, str) and name != "messages":
        return ({"role": "user", "content": checked_text(value, repr(name))},)
    return chat_turns(value, name)


def chat_turns(value: Any, name: str) -> tuple[Message, ...]:
    """The turns of a list of {role, content} or ShareGPT's {from, value}, or of its JSON in a cell."""
    if isinstance(value, str):
        value = parse_cell(value, name)
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        wanted = "a string or a list" if name == "prompt" else "a list"
        reason = f"{name!r} is {describe(value)}, must be {wanted} of {{role, content}} turns"
        raise RowError("wrong_type", reason)
    return tuple(_turn(turn, f"turn {number} of {name!r}") for number, turn in enumerate(value, 1))


def _turn(turn: dict[str, Any], what: str) -> Message:
    if "from" in turn:
        speaker, content = turn["from"], turn.get("value")
        role = SHAREGPT_ROLES.get(speaker, speaker) if isinstance(speaker, str) else speaker
        allowed = (*SHAREGPT_ROLES, *ROLES)
    else:
        role, content = turn.get("role"), turn.get("content")
        allowed = ROLES
    if role not in ROLES:
        given = printable(repr(role)) if role is not None else "missing"
        raise RowError("bad_role", f"the role of {what} is {given}; allowed: {', '.join(allowed)}")
    return {"role": role, "content": checked_text(content, what)}


def split_reply(turns: Sequence[Message], name: str) -> tuple[tuple[Message, ...], str]:
    """The turns before the last reply, and that reply: the gold."""
    if turns[-1]["role"] != "assistant":
        reason = f"{name!r} ends with a {turns[-1]['role']} turn; it must end with the assistant's, the gold"
        raise RowError("bad_turns", reason)
    return tuple(turns[:-1]), turns[-1]["content"]


def check_order(messages: Sequence[Message]) -> None:
    """A prompt is an optional system turn, then user and assistant in turn, ending with the user: what every
    chat template can render."""
    roles = [message["role"] for message in messages]
    for number, role in enumerate(roles, 1):
        before = roles[number - 2] if number > 1 else None
        if role == "system" and number > 1:
            raise RowError("bad_turns", f"turn {number} is a system turn; only the first turn may be one")
        if role == "assistant" and before in (None, "system"):
            raise RowError("bad_turns", f"turn {number} is the assistant's, but no user turn comes before it")
        if role == before:
            raise RowError("bad_turns", f"turns {number - 1} and {number} are both {role}'s; merge them")
    if not roles or roles[-1] != "user":
        last = f"the last turn is the {roles[-1]}'s" if roles else "there is no turn before the gold"
        raise RowError("bad_turns", f"{last}; a prompt must end with a user turn")


def transcript_turns(value: Any, name: str) -> tuple[Message, ...]:
    """The turns of an HH-RLHF transcript, white space around each removed."""
    text = checked_text(value, repr(name))
    before, *parts = SPEAKER.split("\n\n" + text.lstrip())
    if before.strip() or not parts:
        reason = f"{name!r} must begin with 'Human:' and mark every turn with 'Human:' or 'Assistant:'"
        raise RowError("bad_turns", reason)
    speakers, contents = parts[::2], [content.strip() for content in parts[1::2]]
    for number, content in enumerate(contents, 1):
        last = "its last reply (the gold)" if number == len(contents) else f"turn {number}"
        checked_text(content, f"{last} of {name!r}")
    roles = ["user" if speaker == "Human" else "assistant" for speaker in speakers]
    return tuple({"role": role, "content": content} for role, content in zip(roles, contents, strict=True))
