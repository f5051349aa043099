"""A tiny random Llama with its own byte-level BPE tokenizer and chat template, made in a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

Alter = Callable[[Any], None]

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

SENTENCES = (
    "Acknowledge the feeling before you offer help.",
    "The train to the harbour leaves at nine in the morning.",
    "Give the steps in order, and number them.",
    "A rewrite should keep what was right in the answer.",
    "Name one general principle that would improve your answer.",
    "Please compare both options, then say which one you would choose and why.",
)


SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tiny_tokenizer(vocab_size: int = 300, template: str = CHAT_TEMPLATE, specials: Sequence[str] = SPECIALS):
    """A byte-level BPE tokenizer of at most `vocab_size` tokens; the first special token pads, the third ends turns."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=specials[2], pad_token=specials[0]
    )
    tokenizer.chat_template = template
    return tokenizer


def tiny_model(folder: Path, alter: Alter = lambda model: None, **overrides) -> Path:
    """Write a random Llama (some 30,000 parameters) with its tokenizer to `folder` and return it.

    `overrides` are fields of LlamaConfig, for instance `hidden_size=64` or `vocab_size=512`; `alter` may
    change the model before it is written."""
    from transformers import LlamaConfig

    settings = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,  # wide, so that greedy texts differ between prompts
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | overrides
    return save_model(folder, LlamaConfig(**settings), alter)


def save_model(folder: Path, config: Any, alter: Alter = lambda model: None, **tokenizer: Any) -> Path:
    """Write a random model (seed 0) of any configuration, with the tiny tokenizer (of the template and special tokens
    given), to `folder`."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    alter(model)
    model.save_pretrained(folder)
    tiny_tokenizer(config.vocab_size, **tokenizer).save_pretrained(folder)
    return Path(folder)


@cache
def tiny_messages(count: int) -> tuple[tuple[dict[str, str], ...], ...]:
    """`count` different chats of one user turn and of different lengths."""
    words = " ".join(SENTENCES).split()
    return tuple(
        ({"role": "user", "content": " ".join(words[row : row + 1 + 5 * row % 17])},) for row in range(count)
    )
