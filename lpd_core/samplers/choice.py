"""The next token of each row: greedy, or drawn from the distribution with temperature, top-k and top-p.

The random number of a draw is a function of the row's seed, the step and the attempt and of nothing else, so
that a row gets the same numbers in whatever batch it is. The nucleus of top-p needs no sorted vocabulary: a
token drawn from the whole distribution lies in the nucleus if the likelier tokens together weigh less than
top-p; if not, it is drawn anew, which leaves exactly the distribution over the nucleus.
"""

from __future__ import annotations

import numpy as np
import torch

from lpd_core.config import Sampling

BROKEN = -1
"""The choice where the logits are not numbers."""
COLDEST = 1e-5  # below it the likeliest token is all there is, and dividing by it could overflow
ATTEMPTS = 4  # draws before a row's nucleus is sorted out; at top-p 0.95 one row in 160,000 gets there

GOLDEN = 0x9E3779B97F4A7C15


def choose(logits: torch.Tensor, sampling: Sampling, seeds: np.ndarray, step: int) -> torch.Tensor:
    """One token id a row, int64 [rows], from `logits` [rows, vocabulary]; BROKEN where they are not numbers.

    `seeds` are uint64 [rows]; `step` counts the tokens that the rows have already. Equal logits at the border
    of top-k or top-p stay in together."""
    logits = logits.float()
    if sampling.temperature < COLDEST:
        tokens = logits.argmax(-1)
        return torch.where(logits.gather(1, tokens[:, None])[:, 0].isfinite(), tokens, BROKEN)
    scaled = logits / sampling.temperature
    if 0 < sampling.top_k < scaled.shape[-1]:
        least = scaled.topk(sampling.top_k).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    weights = scaled.softmax(-1)
    tokens = _draw(weights, sampling.top_p, seeds, step)
    return torch.where(weights.gather(1, tokens[:, None])[:, 0] > 0, tokens, BROKEN)


def uniforms(seeds: np.ndarray, step: int, attempt: int) -> np.ndarray:
    """One number in [0, 1) a seed, float64 [rows]: splitmix64's output at the counter (step, attempt)."""
    counter = step * (ATTEMPTS + 1) + attempt + 1
    bits = _mix(_mix(seeds) + np.uint64(counter * GOLDEN % 2**64))
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _draw(weights: torch.Tensor, top_p: float, seeds: np.ndarray, step: int) -> torch.Tensor:
    """Token ids [rows] distributed as `weights` [rows, vocabulary] restricted to their nucleus."""
    tokens = _invert(weights, uniforms(seeds, step, 0))
    if top_p >= 1:
        return tokens
    rows = torch.arange(len(tokens), device=tokens.device)
    for attempt in range(1, ATTEMPTS + 1):
        rows = rows[_outside(weights[rows] if attempt > 1 else weights, tokens[rows], top_p)]
        if len(rows) == 0:
            break
        drawn_from = weights[rows] if attempt < ATTEMPTS else _nucleus(weights[rows], top_p)
        tokens[rows] = _invert(drawn_from, uniforms(seeds[rows.cpu().numpy()], step, attempt))
    return tokens


def _invert(weights: torch.Tensor, uniform: np.ndarray) -> torch.Tensor:
    """The token at which the cumulated weights pass the share `uniform` of their total."""
    cumulated = weights.cumsum(-1)
    total = cumulated[:, -1:]
    share = torch.from_numpy(uniform).to(weights.device, weights.dtype)[:, None]
    # Strictly below the total, so that rounding never yields a token of weight zero.
    target = torch.minimum(share * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, target, right=True)[:, 0].clamp_(max=weights.shape[-1] - 1)


def _outside(weights: torch.Tensor, tokens: torch.Tensor, top_p: float) -> torch.Tensor:
    """Which rows' token lies outside the nucleus, bool [rows]."""
    own = weights.gather(1, tokens[:, None])
    is_likelier = torch.gt(weights, own, out=torch.empty_like(weights))  # as numbers: ten times faster
    return is_likelier.mul_(weights).sum(-1) >= top_p


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """The weights with zero outside the nucleus."""
    ranked = weights.sort(-1, descending=True).values
    likelier = ranked.cumsum(-1) - ranked
    least = ranked.masked_fill(likelier >= top_p, torch.inf).amin(-1, keepdim=True)
    return weights.masked_fill(weights < least, 0.0)
