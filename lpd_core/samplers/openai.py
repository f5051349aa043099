"""The sampler over a server of the OpenAI protocol: chats or their tokens as requests, answers as generations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lpd_core.config import Sampling
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.answers import without_thinking
from lpd_core.samplers.chat import END_THINK, THINK, fold_system, load_tokenizer
from lpd_core.samplers.fleet import Fleet
from lpd_core.samplers.groups import CUTS, Prompter, rows_by_chat, shorten
from lpd_core.samplers.server import Failure, Server
from lpd_core.samplers.serving import start_server
from lpd_core.types import Generation, Message, SampleRequest

log = logging.getLogger(__name__)
SEEDS = 2**31  # servers take seeds below this
MOST_CHOICES = 64  # completions asked with one request


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: the rows that its answers are for, what is asked (`prompt` or `messages` and the most tokens), and
    what is known of the prompt."""

    rows: tuple[int, ...]
    prompt: Mapping[str, Any]
    opens_thinking: bool = False
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The choices of one response with the tokens that they and the prompt have."""

    choices: tuple[Mapping[str, Any], ...]
    tokens: int
    prompt_tokens: int
    cached_tokens: int


class ServerSampler:
    """Samples from the weights at `path` by asking servers that know them as `name`; from several threads at once.

    Raises `Interrupted` when there is no server or none that serves the model."""

    def __init__(
        self, path: str, name: str, model: ModelConfig, settings: SamplerConfig, fleet: Fleet | None = None
    ):
        self.name, self.config, self.settings = name, model, settings
        self.by_tokens = settings.endpoint == "completions"
        self.prompter = Prompter(load_tokenizer(path, model), model) if self.by_tokens else None
        self.folds = False
        self.fleet = fleet or Fleet(_servers(path, name, settings), name, settings)
        self.fleet.check()

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """One generation a request, in their order. Without temperature the rows of a chat are asked once; without
        seeds they are one request for several completions."""
        generations: dict[int, Generation] = {}
        waiting = self._asks(requests, sampling, generations)
        cuts = 0
        while waiting:
            bodies = [self._body(ask, requests, sampling) for ask in waiting]
            path = "/completions" if self.by_tokens else "/chat/completions"
            answers = self.fleet.ask(path, bodies, self._read)
            further: list[Ask] = []
            for ask, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, Answer):
                    further += self._take(ask, answer, generations, sampling)
                    continue
                mended = self._mend(ask, answer, cuts)
                further += [mended] if mended else []
                if not mended:
                    failed = Generation("", answer.reason, 0, 0, answer.message)
                    generations.update(dict.fromkeys(ask.rows, failed))
            waiting, cuts = further, cuts + 1
        return [generations[row] for row in range(len(requests))]

    def _asks(
        self, requests: Sequence[SampleRequest], sampling: Sampling, generations: dict[int, Generation]
    ) -> list[Ask]:
        """The requests to send; those that cannot be are answered in `generations` at once."""
        if self.prompter is None:
            asks = [
                Ask(tuple(rows), {"messages": self._messages(requests[rows[0]].messages)})
                for rows in rows_by_chat(requests)
            ]
            return [part for ask in asks for part in self._parts(ask, sampling)]
        groups, refused = self.prompter.groups(requests, sampling)
        generations.update(refused)
        asks = [
            Ask(
                group.rows,
                {"prompt": list(group.tokens), "max_tokens": group.limit},
                group.opens_thinking,
                group.truncated,
            )
            for group in groups
        ]
        return [part for ask in asks for part in self._parts(ask, sampling)]

    def _parts(self, ask: Ask, sampling: Sampling) -> list[Ask]:
        if sampling.temperature == 0:
            return [ask]
        size = 1 if self.settings.seeded else MOST_CHOICES
        return [replace(ask, rows=ask.rows[n : n + size]) for n in range(0, len(ask.rows), size)]

    def _messages(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        chat = [dict(message) for message in messages]
        return fold_system(chat) if self.folds and chat[0]["role"] == "system" else chat

    def _body(self, ask: Ask, requests: Sequence[SampleRequest], sampling: Sampling) -> dict[str, Any]:
        body = {
            "model": self.name,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **ask.prompt,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if self.settings.stop:
            body["stop"] = self.settings.stop
        if self.settings.seeded and sampling.temperature:
            body["seed"] = requests[ask.rows[0]].seed % SEEDS
        if len(ask.rows) > 1 and sampling.temperature:
            body["n"] = len(ask.rows)
        if self.config.thinking == "off" and not self.by_tokens:
            body["chat_template_kwargs"] = {"enable_thinking": False, "thinking": False}
        return body

    def _read(self, told: Any) -> Answer:
        """A response as choices with texts. Raises `ValueError` for anything else."""
        try:
            choices = tuple(self._choice(choice) for choice in told["choices"])
            usage = told.get("usage") or {}
            details = usage.get("prompt_tokens_details") or {}
            counts = usage.get("completion_tokens"), usage.get("prompt_tokens"), details.get("cached_tokens")
            answer = Answer(choices, *(int(count or 0) for count in counts))
        except (KeyError, TypeError, AttributeError) as cause:
            raise ValueError("no completion in the response") from cause
        if not choices:
            raise ValueError("no choices in the response")
        return answer

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        said = choice if self.by_tokens else choice["message"]
        text = said["text"] if self.by_tokens else said.get("content") or ""
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        if not isinstance(text, str):
            raise TypeError
        before = f"{THINK}{reasoning}{END_THINK}" if isinstance(reasoning, str) else ""
        return {"text": before + text, "finish_reason": choice.get("finish_reason")}

    def _take(
        self, ask: Ask, answer: Answer, generations: dict[int, Generation], sampling: Sampling
    ) -> list[Ask]:
        """Give the rows their answers; what is left to ask, where a server gives fewer than it was asked for."""
        choices = answer.choices[:1] * len(ask.rows) if sampling.temperature == 0 else answer.choices
        shares = (
            _split(answer.tokens, len(choices)) if sampling.temperature else [answer.tokens] * len(choices)
        )
        for place, (row, choice, tokens) in enumerate(zip(ask.rows, choices, shares, strict=False)):
            cached = answer.prompt_tokens if place else answer.cached_tokens
            generations[row] = self._generation(choice, tokens, answer.prompt_tokens, cached, ask)
        left = ask.rows[len(choices) :]
        return [replace(ask, rows=left)] if left else []

    def _generation(
        self, choice: Mapping[str, Any], tokens: int, prompt_tokens: int, cached: int, ask: Ask
    ) -> Generation:
        told = choice["finish_reason"]
        reason = told if told in ("stop", "length") else "error" if told == "content_filter" else "stop"
        made = Generation(
            choice["text"],
            reason,
            tokens,
            prompt_tokens,
            error="the server withheld the answer (content_filter)" if reason == "error" else None,
            cached_tokens=cached,
            truncated=ask.truncated,
        )
        return made if self.config.thinking == "keep" else without_thinking(made, ask.opens_thinking)

    def _mend(self, ask: Ask, failure: Failure, cuts: int) -> Ask | None:
        """The request changed so that the server may take it: shorter, or without a system turn; None where nothing
        is to be done."""
        messages = ask.prompt.get("messages")
        if messages is None:
            return None
        if failure.reason == "overlong" and self.config.overlong == "truncate" and cuts < CUTS:
            shorter = [dict(message) for message in shorten(messages, 1, 4)]
            return replace(ask, prompt={"messages": shorter}, truncated=True)
        if messages[0]["role"] == "system" and "system" in failure.message.lower():
            if not self.folds:
                log.warning("the server takes no system turn; it goes to the head of the first user turn")
            self.folds = True
            return replace(ask, prompt={"messages": fold_system(messages)})
        return None


def _servers(path: str, name: str, settings: SamplerConfig) -> list[Server]:
    if settings.serve:
        return [start_server(path, name, settings)]
    return [Server(url, settings) for url in settings.addresses()]


def _split(total: int, parts: int) -> list[int]:
    """A total as whole parts that add up to it; servers tell the tokens of all choices together."""
    return [total // parts + (n < total % parts) for n in range(parts)]
