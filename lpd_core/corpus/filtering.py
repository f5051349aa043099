"""Which sound examples are left out all the same: too short, too long, or a benchmark's. Each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lpd_core.corpus.contamination import BenchmarkPrompt, find_contamination
from lpd_core.corpus.rows import printable
from lpd_core.types import Example

DROPPED = ("prompt_too_short", "prompt_too_long", "gold_too_short", "gold_too_long", "contaminated")
"""The reasons that are counted here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Inclusive bounds on a prompt (all turns together) and on its gold; empty bounds nothing."""

    prompt_words: Sequence[int] = ()
    prompt_characters: Sequence[int] = ()
    gold_words: Sequence[int] = ()
    gold_characters: Sequence[int] = ()

    def described(self) -> dict[str, list[int]]:
        """The bounds that are set, by name."""
        names = ("prompt_words", "prompt_characters", "gold_words", "gold_characters")
        return {name: list(getattr(self, name)) for name in names if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class Drop:
    """Why an example is left out: `kind` is one of DROPPED, `reason` says it in words."""

    kind: str
    reason: str


def find_drops(
    examples: Sequence[Example], limits: Limits, benchmarks: Sequence[BenchmarkPrompt] = ()
) -> dict[str, Drop]:
    """The examples to leave out by prompt id, each with the first reason that applies."""
    drops: dict[str, Drop] = {}
    if limits.described():
        drops = {e.prompt_id: drop for e in examples if (drop := _out_of_bounds(e, limits))}
    if benchmarks:
        for found in find_contamination(examples, benchmarks):
            shared = "the prompt" if found.kind == "exact" else "13 words in a row"
            reason = (
                f"{shared} of {printable(found.benchmark)} {printable(found.key)}: {printable(found.text)}"
            )
            drops.setdefault(found.prompt_id, Drop("contaminated", reason))
    return drops


def _out_of_bounds(example: Example, limits: Limits) -> Drop | None:
    prompt = "\n".join(message["content"] for message in example.messages)
    for what, text, words, characters in (
        ("prompt", prompt, limits.prompt_words, limits.prompt_characters),
        ("gold", example.gold, limits.gold_words, limits.gold_characters),
    ):
        for unit, bounds, size in (
            ("words", words, len(text.split()) if words else 0),
            ("characters", characters, len(text)),
        ):
            if bounds and not bounds[0] <= size <= bounds[1]:
                side = "short" if size < bounds[0] else "long"
                reason = f"the {what} has {size} {unit}, allowed are {bounds[0]} to {bounds[1]}"
                return Drop(f"{what}_too_{side}", reason)
    return None
