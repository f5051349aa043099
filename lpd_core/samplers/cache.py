"""A cache of keys and values that is written in place, repeats a prompt for its rows and drops finished rows.

The cache of transformers is copied whole at every step to grow by one column; this one has room for the next
columns and hands out views.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

BLOCK = 32  # columns by which a buffer grows


def room_for(columns: int) -> int:
    """Columns of a buffer that holds `columns` and at least one more.

    Little beyond, because gaps between rows slow the attention down, and an odd multiple of 16, because
    strides of powers of two collide in CPU caches."""
    return (columns // BLOCK + 1) * BLOCK + BLOCK // 2


class InPlaceLayer(DynamicLayer):
    """One layer's keys and values, [rows, heads, columns, size].

    `by_column` stores the values of one component side by side, as our CPU attention reads them."""

    def __init__(self, by_column: bool):
        super().__init__()
        self.by_column = by_column
        self.columns = 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Append columns and return views of all columns so far; the first (the prompt) are kept as given."""
        before, self.columns = self.columns, self.columns + key_states.shape[-2]
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        if self.columns > self.keys.shape[-2]:
            self.keys, self.values = self._roomy(self.keys, False), self._roomy(self.values, self.by_column)
        self.keys[:, :, before : self.columns] = key_states
        self.values[:, :, before : self.columns] = value_states
        return self.keys[:, :, : self.columns], self.values[:, :, : self.columns]

    def get_seq_length(self) -> int:
        """Columns written."""
        return self.columns

    def repeat(self, owner: torch.Tensor) -> None:
        """Give each row the columns of its prompt, `owner` [rows]."""
        self.keys = self._roomy(self.keys, False, owner)
        self.values = self._roomy(self.values, self.by_column, owner)

    def compact(self, holes: torch.Tensor, movers: torch.Tensor, rows: int) -> None:
        """Move the rows `movers` to `holes`, then keep the first `rows`."""
        for buffer in (self.keys, self.values):
            buffer[holes, :, : self.columns] = buffer[movers, :, : self.columns]
        self.keys, self.values = self.keys[:rows], self.values[:rows]

    def _roomy(
        self, states: torch.Tensor, by_column: bool, owner: torch.Tensor | None = None
    ) -> torch.Tensor:
        """A copy of the states (of each row's owner) with room for more columns."""
        rows, heads, held, size = states.shape
        rows, room = rows if owner is None else len(owner), room_for(held)
        buffer = states.new_empty((rows, heads, size, room) if by_column else (rows, heads, room, size))
        buffer = buffer.transpose(2, 3) if by_column else buffer
        buffer[:, :, :held] = states if owner is None else states[owner]
        return buffer


class InPlaceCache(Cache):
    """The layers of a model with full attention in every layer."""

    def __init__(self, layers: int, by_column: bool):
        super().__init__(layers=[InPlaceLayer(by_column) for _ in range(layers)])

    def repeat(self, owner: torch.Tensor) -> None:
        """Turn prompts into rows: row i continues prompt `owner[i]`."""
        for layer in self.layers:
            layer.repeat(owner)

    def compact(self, order: np.ndarray) -> None:
        """Keep the rows `order`, row `order[i]` becoming row i; only those that change place are copied."""
        device = self.layers[0].device
        holes = np.flatnonzero(order != np.arange(len(order)))
        moved = torch.from_numpy(holes).to(device), torch.from_numpy(order[holes]).to(device)
        for layer in self.layers:
            layer.compact(*moved, len(order))
