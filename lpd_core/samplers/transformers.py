"""The sampler over a transformers checkpoint: chats in, texts out.

Each distinct chat is rendered and read once for all its rows. Batches are cut by a budget of tokens from rows
sorted by length, as a function of the call's requests alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from transformers import PreTrainedModel

from lpd_core.config import Sampling
from lpd_core.errors import UserError
from lpd_core.samplers.batching import Batch, Group, run_batches
from lpd_core.samplers.chat import end_of_turn, load_tokenizer, render
from lpd_core.samplers.checkpoint import forget_generation_settings, load_model, stop_tokens
from lpd_core.samplers.cpu import accelerate
from lpd_core.samplers.decode import Completion, DecodeLoop, Row, fits, has_full_attention, plain_logits
from lpd_core.samplers.generate import GenerateLoop
from lpd_core.types import Generation, Message, SampleRequest

NOT_NUMBERS = "the model's logits are not numbers: its weights have diverged, or its data type is too small"
NO_MEMORY = "memory does not suffice for this chat even alone"


class TransformersSampler:
    """Samples from the weights at `path`, a folder or a hub name.

    `max_length` bounds prompt and completion together; `token_budget` bounds rows times longest row of a
    batch. `engine` is our decode loop, that of transformers, or ours where it fits. What the
    checkpoint itself says about sampling is ignored but for its stop tokens.
    Raises `UserError` for a checkpoint that cannot be used."""

    def __init__(
        self,
        path: str,
        dtype: str = "float32",
        device: str = "auto",
        max_length: int = 4096,
        token_budget: int = 32_768,
        threads: int = 1,
        engine: Literal["auto", "loop", "generate"] = "auto",
        trust_remote_code: bool = False,
    ):
        torch.set_num_threads(threads)
        self.max_length = max_length
        self.token_budget = token_budget
        self.tokenizer = load_tokenizer(path, trust_remote_code)

        def load() -> PreTrainedModel:
            return load_model(path, dtype, device, trust_remote_code)

        model = load()
        closing = end_of_turn(self.tokenizer)
        self.stop_ids = stop_tokens(model, closing, self.tokenizer.eos_token_id)
        forget_generation_settings(model)
        self.loop = _our_loop(model, self.stop_ids) if engine != "generate" else None
        if self.loop is None and engine == "loop":
            raise UserError(
                f'our decode loop does not fit {type(model).__name__} ({path}); set sampler.engine = "auto"'
            )
        if self.loop is None:
            # Loaded anew, because trying our loop may have changed its layers.
            plain = model if engine == "generate" else load()
            forget_generation_settings(plain)
            self.loop = GenerateLoop(plain, self.stop_ids)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> list[Generation]:
        """One generation a request, in their order; a chat that is too long, that the template refuses or
        that exceeds the memory comes back as such. Tokens count the stop token."""
        generations: dict[int, Generation] = {}
        groups = self._groups(requests, sampling, generations)

        def run(batch: Batch) -> None:
            generations.update(self._decode(batch, requests, sampling))

        def give_up(row: int) -> None:
            generations[row] = Generation("", "error", 0, lengths[row], NO_MEMORY)

        lengths = {row: len(group.tokens) for group in groups for row in group.rows}
        run_batches(groups, self.token_budget, run, give_up)
        return [generations[row] for row in range(len(requests))]

    def _groups(
        self, requests: Sequence[SampleRequest], sampling: Sampling, generations: dict[int, Generation]
    ) -> list[Group]:
        """The rows to decode by their chat; what cannot be sent is answered in `generations` at once."""
        rows_of: dict[tuple, list[int]] = {}
        for row, request in enumerate(requests):
            key = tuple((message["role"], message["content"]) for message in request.messages)
            rows_of.setdefault(key, []).append(row)
        groups = []
        for rows in rows_of.values():
            tokens, error = self._tokens(requests[rows[0]].messages)
            limit = min(sampling.max_tokens, self.max_length - len(tokens))
            if error is None and limit > 0:
                groups.append(Group(tokens, limit, tuple(rows)))
                continue
            refused = Generation("", "overlong" if error is None else "error", 0, len(tokens), error)
            generations.update(dict.fromkeys(rows, refused))
        return groups

    def _tokens(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], str | None]:
        """The chat's tokens, and why there are none."""
        try:
            text = render(self.tokenizer, messages)
        except UserError as error:
            return (), str(error)
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]), None

    def _decode(
        self, batch: Batch, requests: Sequence[SampleRequest], sampling: Sampling
    ) -> dict[int, Generation]:
        numbered = [(number, group, row) for number, group in enumerate(batch) for row in group.rows]
        rows = [Row(number, requests[row].seed, group.limit) for number, group, row in numbered]
        completions = self.loop.decode([group.tokens for group in batch], rows, sampling)
        texts = self.tokenizer.batch_decode(
            [completion.tokens for completion in completions],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return {
            row: _generation(text, completion, len(group.tokens))
            for (_, group, row), text, completion in zip(numbered, texts, completions, strict=True)
        }


def _generation(text: str, completion: Completion, prompt_tokens: int) -> Generation:
    error = NOT_NUMBERS if completion.finish_reason == "error" else None
    return Generation(text, completion.finish_reason, len(completion.tokens), prompt_tokens, error)


def _our_loop(model: PreTrainedModel, stop_ids: Sequence[int]) -> DecodeLoop | None:
    """Our decode loop over the model, accelerated; None where it does not say what the model says."""
    if not has_full_attention(model):
        return None
    expected = plain_logits(model)
    loop = DecodeLoop(model, stop_ids, by_column=accelerate(model))
    return loop if fits(loop, expected) else None
