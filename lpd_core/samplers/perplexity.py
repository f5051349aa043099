"""Perplexity of completions under a checkpoint: how little each surprises the model after its chat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lpd_core.errors import Interrupted
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.batching import Batch, pad_left, positions_of, run_batches
from lpd_core.samplers.chat import end_of_turn, load_tokenizer, render
from lpd_core.samplers.checkpoint import load_model
from lpd_core.samplers.groups import Group
from lpd_core.types import Message

IGNORED = -100
LOGITS = 1 << 27  # numbers that a batch may hold: its logits, not its tokens, fill the memory


class TransformersPerplexity:
    """Measures with the weights at `path`; the settings mean what they mean to the sampler.

    Raises `UserError` for a checkpoint that cannot be used."""

    def __init__(self, path: str, model: ModelConfig | None = None, settings: SamplerConfig | None = None):
        config, settings = model or ModelConfig(), settings or SamplerConfig()
        torch.set_num_threads(settings.threads)
        self.tokenizer = load_tokenizer(path, config)
        self.closing = end_of_turn(self.tokenizer)
        self.model = load_model(path, config.dtype, config.device, config.trust_remote_code)
        vocabulary = self.model.config.get_text_config(decoder=True).vocab_size
        self.token_budget = min(settings.token_budget, LOGITS // vocabulary)

    def perplexities(self, chats: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """exp of the mean negative log-likelihood of each completion's tokens, its end of turn included.

        Raises `UserError` for a chat that the template refuses, `Interrupted` if one exceeds the memory."""
        groups, said = [], []
        for row, (messages, completion) in enumerate(chats):
            prompt = self._encode(render(self.tokenizer, messages))
            answer = self._encode(completion) + ([] if self.closing is None else [self.closing])
            groups.append(Group((*prompt, *answer), 0, (row,)))
            said.append(len(answer))
        means: dict[int, float] = {}

        def give_up(row: int) -> None:
            raise Interrupted(f"memory does not suffice for a chat of {len(groups[row].tokens)} tokens")

        run_batches(groups, self.token_budget, lambda batch: means.update(self._means(batch, said)), give_up)
        return [math.exp(means[row]) for row in range(len(chats))]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @torch.inference_mode()
    def _means(self, batch: Batch, said: Sequence[int]) -> dict[int, float]:
        """The mean negative log-likelihood of each row, by its number; rows end at the same column."""
        rows = [group.rows[0] for group in batch]
        ids, is_token = pad_left([group.tokens for group in batch], self.model.device)
        counts = torch.tensor([said[row] for row in rows], device=ids.device)
        width = int(counts.max())
        is_context = torch.arange(width, device=ids.device) < width - counts[:, None]
        labels = ids[:, -width:].masked_fill(is_context, IGNORED)
        logits = self.model(
            input_ids=ids,
            attention_mask=is_token.long(),
            position_ids=positions_of(is_token),
            use_cache=False,
            logits_to_keep=width + 1,
        ).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        means = losses.double().sum(-1) / counts
        return dict(zip(rows, means.tolist(), strict=True))
