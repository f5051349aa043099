"""Our decode loop around a transformers model: each prompt prefilled once, its rows decoded side by side.

Against `model.generate` it writes keys and values in place, draws tokens without sorting the vocabulary,
repeats a prompt's cache instead of its computation, and drops rows that have ended. It needs full attention
in every layer; `fits` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from lpd_core.config import Sampling
from lpd_core.samplers.answers import StopTexts
from lpd_core.samplers.batching import pad_left, positions_of
from lpd_core.samplers.cache import InPlaceCache
from lpd_core.samplers.choice import BROKEN, choose

Watch = Callable[[np.ndarray], None]
"""Told the tokens of each step as they are chosen, one for each row still open."""
CROWDED = 16  # finished rows are dropped when they are more than one in so many
PROBES = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (9, 7, 5, 3, 1))  # two short rows of token ids that any model has


@dataclass(frozen=True, slots=True)
class Row:
    """One completion to decode: which of the batch's prompts it answers, its seed, its most tokens."""

    prompt: int
    seed: int
    limit: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The tokens that a row has said, its stop token included, and why it ended."""

    tokens: list[int]
    finish_reason: Literal["stop", "length", "error"]


def trim(tokens: np.ndarray, stop_ids: Sequence[int]) -> Completion:
    """The completion in `tokens`, which may go on after its end."""
    ends = np.flatnonzero((tokens == BROKEN) | np.isin(tokens, stop_ids))
    if not len(ends):
        return Completion(tokens.tolist(), "length")
    if tokens[ends[0]] == BROKEN:
        return Completion(tokens[: ends[0]].tolist(), "error")
    return Completion(tokens[: ends[0] + 1].tolist(), "stop")


class Ledger:
    """What the rows have said, and which row is at which place of the shrinking batch."""

    def __init__(self, rows: Sequence[Row], stop_ids: Sequence[int], stops: StopTexts | None = None):
        self.stop_ids = np.array(stop_ids, dtype=np.int64)
        self.stops = stops
        self.limits = np.array([row.limit for row in rows])
        self.seeds = np.array([row.seed for row in rows], dtype=np.uint64)
        self.said = np.zeros((len(rows), self.limits.max()), dtype=np.int64)
        self.row = np.arange(len(rows))
        self.open = np.ones(len(rows), dtype=bool)
        self.step = 0

    def record(self, tokens: np.ndarray) -> None:
        """Note the tokens [places] of this step and which rows end with them."""
        self.said[self.row, self.step] = tokens
        self.step += 1
        is_end = (tokens == BROKEN) | np.isin(tokens, self.stop_ids)
        self.open &= ~is_end & (self.limits[self.row] > self.step)
        if self.stops:
            for place in np.flatnonzero(self.open):
                self.open[place] = not self.stops.ends(self.said[self.row[place], : self.step].tolist())

    def compact(self) -> np.ndarray | None:
        """Where enough rows have ended: the places that remain, the last ones filling the holes before."""
        left = int(self.open.sum())
        if (len(self.open) - left) * CROWDED <= len(self.open):
            return None
        order = np.arange(left)
        order[~self.open[:left]] = left + np.flatnonzero(self.open[left:])
        self.row, self.open = self.row[order], self.open[order]
        return order

    def completions(self) -> list[Completion]:
        """One completion a row, in the order of the rows."""
        return [trim(said[:limit], self.stop_ids) for said, limit in zip(self.said, self.limits, strict=True)]


class Context:
    """What the model has read: keys and values, where each row stands, and what is only padding."""

    def __init__(self, model: PreTrainedModel, by_column: bool):
        self.model = model
        self.cache = InPlaceCache(model.config.get_text_config(decoder=True).num_hidden_layers, by_column)

    def read(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read the prompts as one batch; the logits [prompts, vocabulary] of the token after each."""
        ids, is_token = pad_left(prompts, self.model.device)
        self.is_padded = not bool(is_token.all())
        self.positions = positions_of(is_token)
        logits = self._forward(ids, is_token if self.is_padded else None)
        self.positions = self.positions[:, -1:]
        hidden = torch.finfo(self.model.dtype).min
        self.mask = torch.zeros(ids.shape, dtype=self.model.dtype, device=ids.device)
        self.mask = self.mask.masked_fill_(~is_token, hidden)[:, None, None]
        return logits

    def repeat(self, owner: torch.Tensor) -> None:
        """Go on with one row for each entry of `owner` [rows], the number of its prompt."""
        self.cache.repeat(owner)
        self.positions, self.mask = self.positions[owner], self.mask[owner]

    def compact(self, order: np.ndarray) -> None:
        """Keep the rows `order`."""
        self.cache.compact(order)
        self.positions, self.mask = self.positions[order], self.mask[order]

    def advance(self, tokens: torch.Tensor) -> torch.Tensor:
        """Read one more token a row [rows]; the logits [rows, vocabulary] of the next."""
        self.positions = self.positions + 1
        self.mask = torch.nn.functional.pad(self.mask, (0, 1))
        return self._forward(tokens[:, None], self.mask if self.is_padded else None)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        made = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return made.logits[:, -1]


class DecodeLoop:
    """Decodes batches with a model that `fits`. `by_column` tells how its attention reads values; a row may go on
    after one of the `stops` in its text."""

    def __init__(
        self,
        model: PreTrainedModel,
        stop_ids: Sequence[int],
        by_column: bool = False,
        stops: StopTexts | None = None,
    ):
        self.model = model
        self.stop_ids = stop_ids
        self.by_column = by_column
        self.stops = stops

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[Row],
        sampling: Sampling,
        watch: Watch | None = None,
    ) -> list[Completion]:
        """One completion a row, in their order."""
        context = Context(self.model, self.by_column)
        owner = torch.tensor([row.prompt for row in rows], device=self.model.device)
        logits = context.read(prompts)[owner]
        context.repeat(owner)
        ledger = Ledger(rows, self.stop_ids, self.stops)
        while True:
            tokens = choose(logits, sampling, ledger.seeds[ledger.row], ledger.step)
            chosen = tokens.cpu().numpy()
            ledger.record(chosen)
            if watch is not None:
                watch(chosen)
            if not ledger.open.any():
                return ledger.completions()
            order = ledger.compact()
            if order is not None:
                context.compact(order)
                tokens = tokens[order]
            logits = context.advance(tokens.clamp(min=0))


def has_full_attention(model: PreTrainedModel) -> bool:
    """Is this a decoder whose layers all attend to all that was said, with a plain cache?"""
    if model.config.is_encoder_decoder or not model._supports_default_dynamic_cache():
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


@torch.inference_mode()
def plain_logits(model: PreTrainedModel) -> torch.Tensor:
    """What the model itself says after each probe, read alone and without a cache, [2, vocabulary]."""
    return torch.stack(
        [model(torch.tensor([probe], device=model.device), use_cache=False).logits[0, -1] for probe in PROBES]
    )


@torch.inference_mode()
def fits(loop: DecodeLoop, expected: torch.Tensor) -> bool:
    """Does the loop get the logits `expected` from the probes as a padded batch without their last tokens,
    then these? Positions and masks are handled in too many ways to tell it from a model's class."""
    try:
        context = Context(loop.model, loop.by_column)
        context.read([probe[:-1] for probe in PROBES])
        context.repeat(torch.arange(len(PROBES), device=expected.device))
        logits = context.advance(torch.tensor([probe[-1] for probe in PROBES], device=expected.device))
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError):
        return False
    # Of the largest logit: what rounding explains, and a wrong position or mask exceeds.
    share = 1e-3 if expected.dtype == torch.float32 else 5e-2
    return bool((logits - expected).abs().max() <= share * expected.abs().max())
