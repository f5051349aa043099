"""The judge's prompts: text files with placeholders, filled in one pass so that braces in a text are harmless."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lpd_core.config import resolve_path
from lpd_core.errors import ConfigError
from lpd_core.prompts import Chat, fill
from lpd_core.types import Message

SHIPPED = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class JudgePrompts:
    """The three prompts and the rubric that stands in each."""

    pointwise: str
    pointwise_reference: str
    pairwise: str
    rubric: str

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name these prompts."""
        whole = "\0".join((self.pointwise, self.pointwise_reference, self.pairwise, self.rubric))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def rate(self, messages: Sequence[Message], response: str, reference: str | None) -> Chat:
        """The chat that asks for a rating, beside the reference where there is one."""
        texts = {"rubric": self.rubric, "request": conversation(messages), "response": response}
        if reference:
            return _ask(fill(self.pointwise_reference, {**texts, "reference": reference}))
        return _ask(fill(self.pointwise, texts))

    def compare(self, messages: Sequence[Message], first: str, second: str) -> Chat:
        """The chat that asks which of two answers is better, in this order."""
        texts = {"rubric": self.rubric, "request": conversation(messages), "first": first, "second": second}
        return _ask(fill(self.pairwise, texts))


def load_prompts(rubric: str = "") -> JudgePrompts:
    """The shipped prompts with the shipped rubric, or with the one in a file.

    Raises `ConfigError` when the rubric's file cannot be read or is empty."""
    names = ("pointwise", "pointwise_reference", "pairwise")
    texts = {name: (SHIPPED / f"{name}.txt").read_text(encoding="utf-8").strip() for name in names}
    path = resolve_path(rubric) if rubric else SHIPPED / "rubric.txt"
    try:
        words = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"cannot read the judge's rubric {path}: {cause}") from cause
    if not words:
        raise ConfigError(f"the judge's rubric {path} is empty; write down by what to judge")
    return JudgePrompts(**texts, rubric=words)


def conversation(messages: Sequence[Message]) -> str:
    """The turns as a text, each under its speaker; a single user turn without one."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def _ask(text: str) -> Chat:
    return ({"role": "user", "content": text},)
