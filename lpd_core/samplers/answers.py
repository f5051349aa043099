"""Tokens and texts as a model gave them into generations: cut at a stop text, freed of a thinking block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lpd_core.samplers.chat import END_THINK, THINK
from lpd_core.types import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class StopTexts:
    """The texts that end a completion beside the model's own stop tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]):
        self.tokenizer = tokenizer
        self.texts = tuple(texts)
        self.tail = (
            max((len(text.encode()) for text in texts), default=0) + 4
        )  # tokens that may hold a stop's end

    def __bool__(self) -> bool:
        return bool(self.texts)

    def ends(self, tokens: Sequence[int]) -> bool:
        """Do the last tokens say a stop text?"""
        return self._find(self._text(tokens[-self.tail :])) is not None

    def cut(self, tokens: Sequence[int]) -> tuple[list[int], str, bool]:
        """The tokens up to the one that completed the first stop text, the text before it, and whether there is
        one."""
        text = self._text(tokens)
        if self._find(text) is None:
            return list(tokens), text, False
        low, high = 0, len(tokens)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if self._find(self._text(tokens[:middle])) is not None else (middle, high)
            )
        said = self._text(tokens[:high])
        return list(tokens[:high]), said[: self._find(said)], True

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _find(self, text: str) -> int | None:
        places = [place for stop in self.texts if (place := text.find(stop)) >= 0]
        return min(places, default=None)


def without_thinking(generation: Generation, opened: bool = False) -> Generation:
    """The generation with what follows its `<think>` block as text and all of it as `raw`.

    `opened` tells that the prompt opened the block. A block that never ends leaves no text."""
    said = generation.text
    within = opened or said.lstrip().startswith(THINK) or (END_THINK in said and THINK not in said)
    if not within:
        return generation
    return replace(generation, text=said.partition(END_THINK)[2].lstrip(), raw=said)
