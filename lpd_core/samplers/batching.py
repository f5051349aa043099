"""Rows cut into batches by a budget of tokens, and cut smaller when memory runs out.

The cut is a function of the rows alone, so that the same call makes the same batches.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from lpd_core.samplers.groups import Group

log = logging.getLogger(__name__)


Batch = list[Group]


def cost(batch: Batch) -> int:
    """Tokens of a batch: its rows times its longest row."""
    return sum(len(group.rows) for group in batch) * max(group.length for group in batch)


def plan(groups: Iterable[Group], budget: int) -> list[Batch]:
    """Batches that cost at most `budget`, the longest rows first.

    A group is split only if it alone exceeds the budget, down to single rows, which may exceed it."""
    batches: list[Batch] = []
    for group in sorted(groups, key=lambda group: (-group.length, group.rows)):
        for part in _split(group, budget):
            if batches and cost([*batches[-1], part]) <= budget:
                batches[-1].append(part)
            else:
                batches.append([part])
    return batches


def run_batches(
    groups: Iterable[Group], budget: int, run: Callable[[Batch], None], give_up: Callable[[int], None]
) -> None:
    """Run every batch; when memory runs out, halve the budget and cut what is left anew.

    A row for which memory does not suffice even alone is given up."""
    batches = plan(groups, budget)
    while batches:
        batch, batches = batches[0], batches[1:]
        if _fits_memory(run, batch):
            continue
        if sum(len(group.rows) for group in batch) == 1:
            give_up(batch[0].rows[0])
            continue
        budget = min(budget, cost(batch)) // 2
        log.warning("out of memory in a batch of %d tokens; going on with %d", cost(batch), budget)
        batches = plan((group for waiting in (batch, *batches) for group in waiting), budget)


def pad_left(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids as a matrix [rows, longest] whose rows end together, and where it holds tokens (bool)."""
    longest = max(map(len, rows))
    pads = torch.tensor([longest - len(row) for row in rows])
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    is_token = torch.arange(longest) >= pads[:, None]
    return ids.to(device), is_token.to(device)


def positions_of(is_token: torch.Tensor) -> torch.Tensor:
    """Each token's position in its own row, [rows, longest]; 0 in the padding."""
    return (is_token.cumsum(-1) - 1).clamp(min=0)


def is_out_of_memory(error: BaseException) -> bool:
    """Does the error say that memory ran out? PyTorch has no class for it on CPUs."""
    told = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in told)
    )


def _split(group: Group, budget: int) -> Sequence[Group]:
    size = max(1, budget // group.length)
    return [replace(group, rows=group.rows[i : i + size]) for i in range(0, len(group.rows), size)]


def _fits_memory(run: Callable[[Batch], None], batch: Batch) -> bool:
    try:
        run(batch)
        return True
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # Here, and not above, because the error's traceback keeps the batch's tensors alive.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
