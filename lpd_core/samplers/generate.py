"""The decode loop of transformers, for models that ours does not fit; the tokens are chosen as ours are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

from lpd_core.config import Sampling
from lpd_core.samplers.batching import pad_left
from lpd_core.samplers.choice import choose
from lpd_core.samplers.decode import Completion, Row, Watch, trim


class SeededChoice(LogitsProcessor):
    """Chooses each row's token by its own seed and leaves `generate` no other; keeps what it chose."""

    def __init__(self, sampling: Sampling, seeds: np.ndarray, watch: Watch | None = None):
        self.sampling = sampling
        self.seeds = seeds
        self.watch = watch
        self.chosen: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores [rows, vocabulary] -> 0 at the chosen token and -inf elsewhere."""
        tokens = choose(scores, self.sampling, self.seeds, len(self.chosen))
        self.chosen.append(tokens)
        if self.watch is not None:
            self.watch(tokens.cpu().numpy())
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens.clamp(min=0)[:, None], 0.0)


class GenerateLoop:
    """Decodes batches with `model.generate`; every row is prefilled and goes on until the slowest ends."""

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int]):
        self.model = model
        self.stop_ids = stop_ids

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[Row],
        sampling: Sampling,
        watch: Watch | None = None,
    ) -> list[Completion]:
        """One completion a row, in their order."""
        ids, is_token = pad_left([prompts[row.prompt] for row in rows], self.model.device)
        choice = SeededChoice(sampling, np.array([row.seed for row in rows], dtype=np.uint64), watch)
        self.model.generate(
            input_ids=ids,
            attention_mask=is_token.long(),
            logits_processor=[choice],
            generation_config=GenerationConfig(
                max_new_tokens=max(row.limit for row in rows),
                eos_token_id=list(self.stop_ids) or None,
                pad_token_id=0,
                do_sample=False,
            ),
        )
        said = torch.stack(choice.chosen, dim=1).cpu().numpy()
        return [trim(line[: row.limit], self.stop_ids) for line, row in zip(said, rows, strict=True)]
