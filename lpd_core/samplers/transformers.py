"""The sampler over a transformers checkpoint: chats in, texts out.

Each distinct chat is rendered and read once for all its rows. Batches are cut by a budget of tokens from rows
sorted by length, as a function of the call's requests alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from lpd_core.config import Sampling
from lpd_core.errors import UserError
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.answers import StopTexts, without_thinking
from lpd_core.samplers.batching import Batch, run_batches
from lpd_core.samplers.chat import end_of_turn, load_tokenizer
from lpd_core.samplers.checkpoint import forget_generation_settings, load_model, stop_tokens
from lpd_core.samplers.choice import BROKEN
from lpd_core.samplers.cpu import accelerate
from lpd_core.samplers.decode import (
    Completion,
    DecodeLoop,
    Row,
    Watch,
    fits,
    has_full_attention,
    plain_logits,
)
from lpd_core.samplers.generate import GenerateLoop
from lpd_core.samplers.groups import Group, Prompter
from lpd_core.types import Generation, SampleRequest

NOT_NUMBERS = "the model's logits are not numbers: its weights have diverged, or its data type is too small"
NO_MEMORY = "memory does not suffice for this chat even alone"


class TransformersSampler:
    """Samples from the weights at `path`, a folder or a hub name.

    `model.max_length` bounds prompt and completion together; `settings.token_budget` bounds rows times longest row
    of a batch. `settings.engine` is our decode loop, that of transformers, or ours where it fits. What the
    checkpoint itself says about sampling is ignored but for its stop tokens.
    Raises `UserError` for a checkpoint that cannot be used."""

    def __init__(self, path: str, model: ModelConfig | None = None, settings: SamplerConfig | None = None):
        self.config, self.settings = model or ModelConfig(), settings or SamplerConfig()
        torch.set_num_threads(self.settings.threads)
        self.tokenizer = load_tokenizer(path, self.config)
        self.prompter = Prompter(self.tokenizer, self.config)
        self.stops = StopTexts(self.tokenizer, self.settings.stop)
        loaded = self._load(path)
        closing = end_of_turn(self.tokenizer)
        self.stop_ids = stop_tokens(loaded, closing, self.tokenizer.eos_token_id)
        forget_generation_settings(loaded)
        self.loop = self._choose_loop(path, loaded)

    def _load(self, path: str) -> PreTrainedModel:
        return load_model(path, self.config.dtype, self.config.device, self.config.trust_remote_code)

    def _choose_loop(self, path: str, loaded: PreTrainedModel) -> DecodeLoop | GenerateLoop:
        if self.settings.engine == "generate":
            return GenerateLoop(loaded, self.stop_ids)
        loop = _our_loop(loaded, self.stop_ids, self.stops)
        if loop is not None:
            return loop
        if self.settings.engine == "loop":
            raise UserError(
                f'our decode loop does not fit {type(loaded).__name__} ({path}); set sampler.engine = "auto"'
            )
        plain = self._load(path)  # anew, because trying our loop may have changed its layers
        forget_generation_settings(plain)
        return GenerateLoop(plain, self.stop_ids)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """One generation a request, in their order; a chat that is too long, that the template refuses or
        that exceeds the memory comes back as such. Tokens count the stop token."""
        groups, generations = self.prompter.groups(requests, sampling)

        def run(batch: Batch) -> None:
            generations.update(self._decode(batch, requests, sampling))

        def give_up(row: int) -> None:
            generations[row] = Generation("", "error", 0, lengths[row], NO_MEMORY)

        lengths = {row: len(group.tokens) for group in groups for row in group.rows}
        run_batches(groups, self.settings.token_budget, run, give_up)
        return [generations[row] for row in range(len(requests))]

    def stream(self, request: SampleRequest, sampling: Sampling, told: Callable[[str], None]) -> Generation:
        """The generation that `sample` gives for the request alone; `told` gets its text so far after each token,
        with what may be cut off in the end (thinking, stop texts). What `told` raises ends the
        generation. Memory that does not suffice raises."""
        said: list[int] = []

        def watch(tokens: np.ndarray) -> None:
            said.append(int(tokens[0]))
            if said[-1] != BROKEN:
                told(self._text(said))

        groups, generations = self.prompter.groups([request], sampling)
        if groups:
            generations = self._decode(groups, [request], sampling, watch)
        return generations[0]

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _decode(
        self,
        batch: Batch,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        watch: Watch | None = None,
    ) -> dict[int, Generation]:
        numbered = [(number, group, row) for number, group in enumerate(batch) for row in group.rows]
        rows = [Row(number, requests[row].seed, group.limit) for number, group, row in numbered]
        completions = self.loop.decode([group.tokens for group in batch], rows, sampling, watch)
        texts = self.tokenizer.batch_decode(
            [completion.tokens for completion in completions],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return {
            row: self._generation(text, completion, group, shares=row != group.rows[0])
            for (_, group, row), text, completion in zip(numbered, texts, completions, strict=True)
        }

    def _generation(self, text: str, completion: Completion, group: Group, shares: bool) -> Generation:
        tokens, reason = completion.tokens, completion.finish_reason
        if self.stops and reason != "error":
            tokens, text, found = self.stops.cut(tokens)
            reason = "stop" if found else reason
        made = Generation(
            text,
            reason,
            len(tokens),
            len(group.tokens),
            error=NOT_NUMBERS if reason == "error" else None,
            cached_tokens=len(group.tokens) if shares and isinstance(self.loop, DecodeLoop) else 0,
            truncated=group.truncated,
        )
        return made if self.config.thinking == "keep" else without_thinking(made, group.opens_thinking)


def _our_loop(model: PreTrainedModel, stop_ids: Sequence[int], stops: StopTexts) -> DecodeLoop | None:
    """Our decode loop over the model, accelerated; None where it does not say what the model says."""
    if not has_full_attention(model):
        return None
    expected = plain_logits(model)
    loop = DecodeLoop(model, stop_ids, by_column=accelerate(model), stops=stops)
    return loop if fits(loop, expected) else None
