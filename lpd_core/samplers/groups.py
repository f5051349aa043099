"""Requests as groups of rows that share a prompt: chats into tokens, refused or cut where they are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpd_core.config import Sampling
from lpd_core.errors import UserError
from lpd_core.model_config import ModelConfig
from lpd_core.samplers.chat import opens_thinking, render
from lpd_core.types import Generation, Message, SampleRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GAP = " [...] "
CUTS = 8  # tries at cutting a chat to its room, since text and tokens do not shrink alike


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a prompt: its tokens, how many a row adds at most, the rows' numbers in the call, whether
    the prompt was cut to fit, and whether it opens a `<think>` block."""

    tokens: tuple[int, ...]
    limit: int
    rows: tuple[int, ...]
    truncated: bool = False
    opens_thinking: bool = False

    @property
    def length(self) -> int:
        """Tokens of a row at its longest."""
        return len(self.tokens) + self.limit


class Prompter:
    """Renders chats for one model and sees to their length."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: ModelConfig):
        self.tokenizer = tokenizer
        self.settings = settings

    def groups(
        self, requests: Sequence[SampleRequest], sampling: Sampling
    ) -> tuple[list[Group], dict[int, Generation]]:
        """The rows to sample by their chat, chats with a common beginning side by side; and the answers, by row, to
        requests that cannot be sent."""
        groups: list[Group] = []
        refused: dict[int, Generation] = {}
        for rows in rows_by_chat(requests):
            try:
                tokens, truncated = self.encode(requests[rows[0]].messages, sampling.max_tokens)
            except UserError as error:
                refused.update(dict.fromkeys(rows, Generation("", "error", 0, 0, str(error))))
                continue
            limit = min(sampling.max_tokens, self.settings.max_length - len(tokens))
            if limit > 0:
                opens = opens_thinking(self.tokenizer.decode(tokens[-8:]))
                groups.append(Group(tokens, limit, tuple(rows), truncated, opens))
            else:
                refused.update(dict.fromkeys(rows, Generation("", "overlong", 0, len(tokens))))
        return sorted(groups, key=lambda group: group.tokens), refused

    def encode(self, messages: Sequence[Message], max_tokens: int) -> tuple[tuple[int, ...], bool]:
        """A chat's tokens, and whether it was cut to leave room for a completion of `max_tokens`.

        Raises `UserError` when the template refuses the chat."""
        tokens = self._tokens(messages)
        room = max(self.settings.max_length - max_tokens, self.settings.max_length // 2)
        if self.settings.overlong == "refuse" or len(tokens) <= room:
            return tokens, False
        for _ in range(CUTS):
            messages = shorten(messages, len(tokens) - room, len(tokens))
            tokens = self._tokens(messages)
            if len(tokens) <= room:
                break
        return tokens, True

    def _tokens(self, messages: Sequence[Message]) -> tuple[int, ...]:
        text = render(self.tokenizer, messages)
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def rows_by_chat(requests: Sequence[SampleRequest]) -> list[list[int]]:
    """The numbers of the requests that ask the same chat, chat by chat."""
    rows: dict[tuple, list[int]] = {}
    for number, request in enumerate(requests):
        key = tuple((message["role"], message["content"]) for message in request.messages)
        rows.setdefault(key, []).append(number)
    return list(rows.values())


def shorten(messages: Sequence[Message], excess: int, tokens: int) -> tuple[Message, ...]:
    """The chat with its longest turn cut in the middle by the share `excess` of all its `tokens`, or somewhat more:
    instructions stand at the ends."""
    longest = max(range(len(messages)), key=lambda n: len(messages[n]["content"]))
    text = messages[longest]["content"]
    characters = sum(len(message["content"]) for message in messages)
    kept = max(0, len(text) - characters * excess // max(1, tokens) - 2 * len(GAP))
    cut = f"{text[: (kept + 1) // 2]}{GAP}{text[len(text) - kept // 2 :]}" if kept else GAP.strip()
    return (*messages[:longest], {**messages[longest], "content": cut}, *messages[longest + 1 :])
