"""Our CPU kernels compute what those of torch compute."""

import pytest
import torch

from lpd_core.samplers import cpu
from lpd_core.samplers.cpu import PackedLinear, attend


class Attention(torch.nn.Module):
    """What transformers' attention functions read of a layer."""

    def __init__(self, groups: int):
        super().__init__()
        self.num_key_value_groups = groups
        self.is_causal = True


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("by_column", [False, True])
def test_attention_of_one_query_equals_that_of_torch(key_heads, masked, by_column, monkeypatch):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    monkeypatch.setattr(cpu, "reads_columns", lambda: by_column)
    torch.manual_seed(0)
    query = torch.randn(3, 1, 4, 8).transpose(1, 2)
    key, value = torch.randn(3, key_heads, 11, 8), torch.randn(3, key_heads, 8, 11).transpose(2, 3)
    mask = torch.zeros(3, 1, 1, 11)
    mask[1, ..., :4] = torch.finfo(torch.float32).min
    layer = Attention(4 // key_heads)
    arguments = (layer, query, key, value, mask if masked else None)
    ours, theirs = attend(*arguments, scaling=0.3)[0], sdpa_attention_forward(*arguments, scaling=0.3)[0]
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_a_packed_linear_layer_equals_the_plain_one(bias, rows):
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 80, bias=bias)
    inputs = torch.randn(rows, 1, 48)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(inputs), linear(inputs))


@pytest.mark.parametrize("by_column", [False, True])
def test_weights_too_small_to_count_are_no_denormal_numbers(by_column, monkeypatch):
    monkeypatch.setattr(cpu, "reads_columns", lambda: by_column)
    key = torch.tensor([0.0, -60.0, -95.0]).view(1, 1, 3, 1)  # of weights 1, 1e-26 and a denormal number
    value = torch.tensor([0.0, 0.0, 1e30]).view(1, 1, 3, 1)
    said = attend(Attention(1), torch.ones(1, 1, 1, 1), key, value, None, scaling=1.0)[0]
    assert said.item() == 0.0
