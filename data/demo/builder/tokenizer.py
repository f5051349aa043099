"""The tokenizer: a byte-level BPE trained on the pretraining conversations, with a chat template."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from data.demo.builder.corpus import Turn, conversation

VOCABULARY = 2048
SPECIAL = {
    "pad": "<|pad|>",
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
    "end": "<|end|>",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def _texts(seed: int, count: int) -> Iterator[str]:
    """The turns of `count` conversations."""
    rng = random.Random(f"tokenizer/{seed}")
    for _ in range(count):
        yield from (turn.content for turn in conversation(rng, progress=0.0))


def train_tokenizer(seed: int, conversations: int = 6000) -> PreTrainedTokenizerFast:
    """Train the BPE on fresh conversations and wrap it with the chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL.values()),
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(seed, conversations), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=SPECIAL["pad"],
        eos_token=SPECIAL["end"],
        padding_side="left",
        additional_special_tokens=[SPECIAL["system"], SPECIAL["user"], SPECIAL["assistant"]],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, turns: list[Turn]) -> tuple[list[int], list[float]]:
    """Token ids of a conversation, as the chat template gives them, and each token's weight in the loss."""
    ids: list[int] = []
    weights: list[float] = []
    end = tokenizer.eos_token_id
    for turn in turns:
        body = [*tokenizer.encode(turn.content, add_special_tokens=False), end]
        ids += [tokenizer.convert_tokens_to_ids(SPECIAL[turn.role]), *body]
        weights += [0.0] + [turn.weight if turn.role == "assistant" else 0.0] * len(body)
    return ids, weights
