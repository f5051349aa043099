"""The sampler on a tiny real model: what it says, that batches do not matter, and what it does in need."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lpd_core.config import Sampling
from lpd_core.errors import UserError
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers.batching import cost, plan
from lpd_core.samplers.chat import load_tokenizer, render
from lpd_core.samplers.checkpoint import load_model
from lpd_core.samplers.decode import DecodeLoop
from lpd_core.samplers.generate import GenerateLoop
from lpd_core.samplers.groups import Group
from lpd_core.samplers.transformers import TransformersSampler
from lpd_core.types import SampleRequest
from tests.models import save_model, tiny_messages, tiny_model

GREEDY = Sampling(temperature=0.0, max_tokens=40)
WARM = Sampling(temperature=1.0, top_p=0.9, max_tokens=40)
STOPS = [2, *range(30, 60)]  # many, so that rows end early and at different steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"), eos_token_id=STOPS)


@pytest.fixture(scope="module")
def sampler(folder):
    return TransformersSampler(str(folder))


def requests(prompts: int = 12, samples: int = 3) -> list[SampleRequest]:
    chats = tiny_messages(prompts)
    return [SampleRequest(chat, 1000 * n + s) for n, chat in enumerate(chats) for s in range(samples)]


def greedy_reference(folder, chats, limit: int) -> list[tuple[str, int]]:
    """What transformers' own generate says to the chats as one batch: text and tokens."""
    tokenizer, model = load_tokenizer(str(folder)), load_model(str(folder), "float32", "cpu", False)
    tokenizer.padding_side = "left"
    inputs = tokenizer([render(tokenizer, chat) for chat in chats], return_tensors="pt", padding=True)
    made = model.generate(**inputs, do_sample=False, max_new_tokens=limit)[:, inputs["input_ids"].shape[1] :]
    ends = [next((n + 1 for n, t in enumerate(row) if t in STOPS), limit) for row in made.tolist()]
    return [
        (tokenizer.decode(row[:end], skip_special_tokens=True), end)
        for row, end in zip(made, ends, strict=True)
    ]


def test_greedy_text_equals_generate(folder, sampler):
    asked = requests()
    expected = greedy_reference(folder, [request.messages for request in asked], GREEDY.max_tokens)
    said = sampler.sample(asked, GREEDY)
    assert isinstance(sampler.loop, DecodeLoop)
    assert [(g.text, g.tokens) for g in said] == expected
    assert {g.finish_reason for g in said} == {"stop", "length"}
    assert len({g.tokens for g in said}) > 4


def test_a_rows_text_does_not_depend_on_its_batch(sampler):
    asked = requests(prompts=20)
    together = sampler.sample(asked, WARM)
    assert sampler.sample(asked[::-1], WARM) == together[::-1]
    assert [sampler.sample([request], WARM)[0] for request in asked[::7]] == together[::7]
    assert len({g.text for g in together}) > 50  # some end at once


def test_the_same_call_gives_the_same_texts(sampler):
    assert sampler.sample(requests(), WARM) == sampler.sample(requests(), WARM)


def test_generate_of_transformers_says_what_our_loop_says(folder, sampler):
    other = TransformersSampler(str(folder), settings=SamplerConfig(engine="generate"))
    assert isinstance(other.loop, GenerateLoop)
    for sampling in (GREEDY, WARM, Sampling(temperature=0.8, top_k=20, max_tokens=9)):
        assert other.sample(requests(), sampling) == sampler.sample(requests(), sampling)


def test_an_overlong_prompt_is_refused_and_counted(folder):
    short, long = tiny_messages(1)[0], ({"role": "user", "content": "and " * 300},)
    sampler = TransformersSampler(str(folder), ModelConfig(max_length=100))
    asked = [SampleRequest(long, 1), SampleRequest(short, 2), SampleRequest(long, 3)]
    said = sampler.sample(asked, GREEDY)
    assert [g.finish_reason == "overlong" for g in said] == [True, False, True]
    assert said[0].prompt_tokens > 100 and said[0].text == "" and said[0].tokens == 0


def test_a_completion_gets_what_the_prompt_leaves_of_the_length(folder, sampler):
    chat = tiny_messages(1)[0]
    prompt_tokens = sampler.sample([SampleRequest(chat, 1)], GREEDY)[0].prompt_tokens
    for left, reason in ((3, "length"), (1, "length"), (0, "overlong")):
        tight = TransformersSampler(str(folder), ModelConfig(max_length=prompt_tokens + left))
        (said,) = tight.sample([SampleRequest(chat, 1)], GREEDY)
        assert (said.tokens, said.finish_reason) == (left, reason)


class Memory:
    """A loop in a machine whose memory holds so many tokens; keeps what it was asked."""

    def __init__(self, loop, tokens: int, error: type[Exception] = MemoryError):
        self.loop = loop
        self.tokens = tokens
        self.error = error
        self.asked: list[tuple[list, list]] = []

    def decode(self, prompts, rows, sampling, watch=None):
        longest = max(len(prompts[row.prompt]) + row.limit for row in rows)
        self.asked.append((list(prompts), list(rows)))
        if len(rows) * longest > self.tokens:
            raise self.error("DefaultCPUAllocator: can't allocate memory")
        return self.loop.decode(prompts, rows, sampling, watch)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, torch.OutOfMemoryError])
def test_memory_exhaustion_halves_the_budget(folder, sampler, error):
    tight = TransformersSampler(str(folder))
    tight.loop = Memory(tight.loop, 700, error)
    assert tight.sample(requests(), WARM) == sampler.sample(requests(), WARM)
    sizes = [len(rows) for _, rows in tight.loop.asked]
    assert sizes[0] == 36 and sizes[1] <= 18 and max(sizes[-3:]) <= 9


def test_a_row_that_memory_does_not_hold_fails_alone(folder, sampler):
    tight = TransformersSampler(str(folder))
    tight.loop = Memory(tight.loop, 90)
    asked = requests(prompts=6, samples=1)
    said = tight.sample(asked, WARM)
    failed = [g for g in said if g.finish_reason == "error"]
    assert 0 < len(failed) < len(said)
    assert all("memory" in g.error for g in failed)
    healthy = zip(said, sampler.sample(asked, WARM), strict=True)
    assert all(ours == theirs for ours, theirs in healthy if ours.finish_reason != "error")


def test_another_error_of_the_model_is_not_taken_for_exhausted_memory(folder):
    broken = TransformersSampler(str(folder))
    broken.loop = Memory(broken.loop, 0, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        broken.sample(requests(), WARM)


def test_each_distinct_chat_is_read_once_for_all_its_rows(folder):
    sampler = TransformersSampler(str(folder))
    sampler.loop = Memory(sampler.loop, 10**9)
    sampler.sample(requests(prompts=5, samples=4), WARM)
    ((prompts, rows),) = sampler.loop.asked
    assert len(prompts) == 5 and len(rows) == 20


def test_batches_keep_to_the_budget_and_split_a_prompt_only_if_they_must():
    groups = [
        Group((1,) * length, 10, tuple(range(100 * n, 100 * n + 8)))
        for n, length in enumerate(range(5, 60, 5))
    ]
    batches = plan(groups, 400)
    rows = sorted(row for batch in batches for group in batch for row in group.rows)
    assert rows == sorted(row for group in groups for row in group.rows)
    assert all(cost(batch) <= 400 for batch in batches)
    halves = {group.tokens for batch in batches for group in batch if len(group.rows) < 8}
    assert all(8 * (len(tokens) + 10) > 400 for tokens in halves)


def test_a_chat_that_the_template_refuses_fails_alone(folder):
    sampler = TransformersSampler(str(folder))
    sampler.tokenizer.chat_template = (
        "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}"
        + sampler.tokenizer.chat_template
    )
    asked = requests(prompts=2, samples=1)
    said = sampler.sample([asked[0], replace(asked[1], messages=asked[1].messages * 2)], WARM)
    assert [g.finish_reason == "error" for g in said] == [False, True]
    assert "one turn only" in said[1].error


def test_diverged_weights_give_errors_instead_of_text(tmp_path):
    def poison(model):
        model.model.norm.weight.data.fill_(torch.nan)

    (said,) = TransformersSampler(str(tiny_model(tmp_path, alter=poison))).sample(requests(1, 1), WARM)
    assert said.finish_reason == "error" and "not numbers" in said.error


def test_special_tokens_are_left_out_of_the_text(sampler):
    assert all("<|" not in g.text for g in sampler.sample(requests(), WARM))


def test_nothing_asked_gives_nothing(sampler):
    assert sampler.sample([], WARM) == []


def architectures():
    from transformers import BloomConfig, GPT2Config, MistralConfig, Qwen2Config

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    grouped = {**small, "num_key_value_heads": 2, "vocab_size": 300, "bos_token_id": None, "eos_token_id": 2}
    return {
        "qwen2": (Qwen2Config(**grouped), DecodeLoop),
        "gpt2": (GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, eos_token_id=2), DecodeLoop),
        "sliding window": (MistralConfig(**grouped, sliding_window=8), GenerateLoop),
        "alibi": (
            BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4, eos_token_id=2),
            GenerateLoop,
        ),
    }


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "sliding window", "alibi"])
def test_our_loop_serves_the_architectures_it_fits_and_generate_the_others(name, tmp_path):
    config, kind = architectures()[name]
    folder = str(save_model(tmp_path, config))
    sampler = TransformersSampler(folder)
    assert type(sampler.loop) is kind
    other = TransformersSampler(folder, settings=SamplerConfig(engine="generate"))
    assert sampler.sample(requests(), WARM) == other.sample(requests(), WARM)


def test_our_loop_is_not_forced_on_a_model_it_does_not_fit(tmp_path):
    config, _ = architectures()["sliding window"]
    with pytest.raises(UserError, match=r'does not fit MistralForCausalLM.*engine = "auto"'):
        TransformersSampler(str(save_model(tmp_path, config)), settings=SamplerConfig(engine="loop"))


def test_a_folder_without_weights_is_told_in_one_line(folder, tmp_path):
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="could not load the model") as told:
        TransformersSampler(str(tmp_path))
    assert "\n" not in str(told.value)


def test_a_local_folder_never_touches_the_network(folder):
    script = (
        "import os, socket, sys\n"
        "socket.socket.connect = lambda *_: os._exit(3)\n"
        "socket.getaddrinfo = lambda *_, **__: os._exit(3)\n"
        "from lpd_core.samplers.transformers import TransformersSampler\n"
        "TransformersSampler(sys.argv[1])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    assert subprocess.run([sys.executable, "-c", script, str(folder)], env=environment).returncode == 0


@pytest.mark.parametrize("engine", ["loop", "generate"])
def test_a_streamed_text_grows_into_what_sample_gives(folder, engine):
    sampler = TransformersSampler(str(folder), settings=SamplerConfig(engine=engine))
    request = requests()[4]
    told = []
    streamed = sampler.stream(request, WARM, told.append)
    assert streamed == sampler.sample([request], WARM)[0]
    assert len(told) == streamed.tokens > 1
    assert told[-1] == streamed.text


def test_who_hears_a_stream_may_end_it(sampler):
    class Enough(Exception):
        pass

    def told(text):
        raise Enough

    with pytest.raises(Enough):
        sampler.stream(requests()[0], WARM, told)


def test_a_chat_that_cannot_be_sent_is_not_streamed(folder):
    sampler = TransformersSampler(str(folder), ModelConfig(max_length=16))
    long = SampleRequest(({"role": "user", "content": "and " * 300},), 1)
    assert sampler.stream(long, WARM, pytest.fail).finish_reason == "overlong"
