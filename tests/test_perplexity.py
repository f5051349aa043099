"""Perplexities are the model's own, whatever stands beside them in the batch."""

import pytest
import torch

from lpd_core.samplers.chat import render
from lpd_core.samplers.perplexity import TransformersPerplexity
from tests.models import SENTENCES, tiny_messages, tiny_model


@pytest.fixture(scope="module")
def perplexity(tmp_path_factory):
    return TransformersPerplexity(str(tiny_model(tmp_path_factory.mktemp("model"))))


def by_hand(perplexity, messages, completion: str) -> float:
    """exp of the mean loss of one chat, read alone."""
    tokenizer = perplexity.tokenizer
    prompt = tokenizer(render(tokenizer, messages), add_special_tokens=False)["input_ids"]
    answer = [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.inference_mode():
        logits = perplexity.model(torch.tensor([prompt + answer])).logits[0]
    said = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return (-said[torch.arange(len(answer)), torch.tensor(answer)].mean()).exp().item()


@pytest.mark.parametrize("token_budget", [32_768, 100])
def test_perplexity_is_the_mean_loss_of_the_answer_and_its_end_of_turn(perplexity, token_budget, monkeypatch):
    monkeypatch.setattr(perplexity, "token_budget", token_budget)
    answers = [*SENTENCES, ""]
    chats = list(zip(tiny_messages(len(answers)), answers, strict=True))
    assert perplexity.perplexities(chats) == pytest.approx(
        [by_hand(perplexity, *chat) for chat in chats], rel=1e-4
    )
