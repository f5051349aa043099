"""What makes a float32 model decode faster on a CPU, whatever its architecture.

Attention of one new token a row as two batched products of vector and matrix: torch's fused attention is made for
many queries. MKL's kernels for AMD want keys and values the other way round than those for other processors
(`reads_columns`), each half as fast with the other's. On AMD also linear layers with weights packed once for oneDNN: a
tenth faster than MKL, twice where there is AVX-512, which MKL leaves idle; on Intel they gain nothing. And weights of
attention without denormal numbers, of which softmax makes many and which take a hundred times as long.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "lpd_cpu"
NOTHING = 1e-30  # a weight that adds nothing to a float32 sum, above the denormal ones and their products
PACKED_FOR = 128  # rows that the packed layout is chosen for; others run with it too


def accelerate(model: PreTrainedModel) -> bool:
    """Install the kernels in a float32 model on a CPU, in place; return whether values are to be stored by column."""
    if model.device.type != "cpu" or model.dtype != torch.float32:
        return False
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ATTENTION)
    if (
        reads_columns()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
    ):
        _pack_linear_layers(model)
    return model.config._attn_implementation == ATTENTION and reads_columns()


@cache
def reads_columns() -> bool:
    """Whether this processor multiplies faster by columns: AMD's do. Asked of the processor and never timed, so that a
    resumed run rounds as it did before."""
    told = Path("/proc/cpuinfo")
    return told.is_file() and "AuthenticAMD" in told.read_text(encoding="utf-8", errors="replace")


class PackedLinear(nn.Module):
    """A linear layer for inference whose weight lies in oneDNN's layout; takes the place of `nn.Linear`."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]"""
        return torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.bias, "none", [], "")


def _pack_linear_layers(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child))


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' sdpa attention gives, by our products where a row has one query and a float mask.

    query [rows, heads, queries, size], key and value [rows, key heads, columns, size] ->
    [rows, queries, heads, size]."""
    rows, heads, queries, size = query.shape
    is_plain = attention_mask is None or attention_mask.is_floating_point()
    if queries > 1 or not is_plain or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    scale = size**-0.5 if scaling is None else scaling
    grouped = (query * scale).view(rows, key.shape[1], -1, size)  # heads that share a key head, side by side
    by_column = reads_columns()
    if by_column:
        scores = torch.matmul(key, grouped.transpose(2, 3)).transpose(2, 3)
    else:
        scores = torch.matmul(grouped, key.transpose(2, 3))
    if attention_mask is not None:
        scores += attention_mask
    weights = torch.nn.functional.threshold_(scores.softmax(-1), NOTHING, 0.0)
    if by_column:
        weighted = torch.matmul(value.transpose(2, 3), weights.transpose(2, 3)).transpose(2, 3)
    else:
        weighted = torch.matmul(weights, value)
    return weighted.reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
