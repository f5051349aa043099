"""Which tokens carry the loss, under the chat templates that real models have."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import tiny_tokenizer

from lpd_core.errors import UserError
from lpd_core.label_mask import encode_row, render_training_row, token_weights
from lpd_core.types import TrainingRow

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "<|begin|>{% for m in messages %}<|header|>{{ m['role'] }}<|/header|>\n\n{{ m['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|header|>assistant<|/header|>\n\n{% endif %}"
)
MISTRAL = (
    "<s>{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n"
    "{{ m['content'] | trim }}<end>\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
)
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% set text = m['content'].split('</think>')[-1].lstrip('\n') %}"
    "{{ '<think>\n\n</think>\n\n' + text if loop.index0 > ns.last else text }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLM = (  # a turn ends where the user's next one begins
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m['role'] == 'assistant' %}<think></think>\n{% endif %}"
    "{{ m['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKS_FIRST = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
NEVER_ENDS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
REAL_TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "zephyr": ZEPHYR,
    "gemma": GEMMA,
}
TOKENS = (
    "<|user|>",
    "<|assistant|>",
    "<|begin|>",
    "<|header|>",
    "<|/header|>",
    "<|eot|>",
    "<s>",
    "</s>",
    "<start>",
    "<end>",
)
TURNS = (
    "Help me with the train.",
    "It leaves at nine.",
    "Name one principle.",
    "Give the steps.",
    "Rewrite under: Give the steps.",
    "First go to the harbour. Give the steps.",
)


def chat_tokenizer(template: str):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(list(TOKENS), special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


def chat_row(turns=TURNS, trained=(3, 5), system: str = "") -> TrainingRow:
    roles = ["user", "assistant"] * 3
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
    if system:
        messages, trained = [{"role": "system", "content": system}, *messages], tuple(t + 1 for t in trained)
    return TrainingRow("p1", 0, turns[3], tuple(messages), tuple(trained))


def trained_texts(tokenizer, row: TrainingRow) -> list[str]:
    """What the labels of each segment decode to."""
    encoded = encode_row(tokenizer, row)
    assert len(encoded.input_ids) == len(encoded.labels) == len(encoded.segments)
    assert [label == -100 for label in encoded.labels] == [segment == 0 for segment in encoded.segments]
    return [
        tokenizer.decode(of_segment(encoded, encoded.labels, n)) for n in range(1, max(encoded.segments) + 1)
    ]


def of_segment(encoded, values: list, number: int) -> list:
    return [value for value, segment in zip(values, encoded.segments, strict=True) if segment == number]


def test_only_the_principle_and_the_refinement_carry_loss():
    tokenizer = tiny_tokenizer()
    assert trained_texts(tokenizer, chat_row()) == [TURNS[3] + "<|im_end|>", TURNS[5] + "<|im_end|>"]
    encoded = encode_row(tokenizer, chat_row())
    context = tokenizer.decode(of_segment(encoded, encoded.input_ids, 0))
    assert all(TURNS[n] in context for n in (0, 1, 2, 4)) and TURNS[5] not in context


def test_the_draft_carries_loss_too_when_asked():
    texts = trained_texts(tiny_tokenizer(), chat_row(trained=(1, 3, 5)))
    assert texts == [TURNS[turn] + "<|im_end|>" for turn in (1, 3, 5)]


def test_generation_marks_give_the_same_mask():
    tokenizer = tiny_tokenizer()
    row = chat_row(trained=(1, 3, 5))
    encoded = encode_row(tokenizer, row)
    marked = tokenizer.apply_chat_template(
        [dict(m) for m in row.messages], return_dict=True, return_assistant_tokens_mask=True
    )
    count = len(encoded.input_ids)
    assert marked["input_ids"][:count] == encoded.input_ids
    assert marked["assistant_masks"][:count] == [int(segment > 0) for segment in encoded.segments]
    assert not any(marked["assistant_masks"][count:])


@pytest.mark.parametrize("name", REAL_TEMPLATES)
def test_a_template_without_generation_marks_still_masks_rightly(name):
    tokenizer = chat_tokenizer(REAL_TEMPLATES[name])
    end = {"llama3": "<|eot|>", "gemma": "<end>", "chatml": "<|im_end|>"}.get(name, "</s>")
    assert [text.strip() for text in trained_texts(tokenizer, chat_row())] == [TURNS[3] + end, TURNS[5] + end]


@pytest.mark.parametrize("name", REAL_TEMPLATES)
def test_training_continues_the_tokens_that_the_sampler_sends(name):
    from lpd_core.samplers.chat import render

    tokenizer = chat_tokenizer(REAL_TEMPLATES[name])
    row = chat_row(system="Answer briefly.")
    encoded = encode_row(tokenizer, row)
    for number, turn in enumerate(row.trained, start=1):
        prompt = tokenizer(render(tokenizer, row.messages[:turn]), add_special_tokens=False)["input_ids"]
        assert encoded.input_ids[: len(prompt)] == prompt
        assert encoded.segments.index(number) == len(prompt)


def test_a_template_that_trims_blanks_trains_the_trimmed_text():
    turns = (*TURNS[:3], "  Give the steps.\n", *TURNS[4:])
    texts = trained_texts(chat_tokenizer(LLAMA3), chat_row(turns))
    assert texts[0] == "Give the steps.<|eot|>"


def test_a_text_that_shares_a_token_with_its_prompt_keeps_its_own():
    tokenizer = newline_merging_tokenizer()
    turns = (*TURNS[:3], "\nGive the steps.", *TURNS[4:])
    assert tokenizer.tokenize("assistant\n\nGive")[1] == "ĊĊ"
    assert trained_texts(tokenizer, chat_row(turns))[0] == "\nGive the steps.<|im_end|>"


def newline_merging_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "ĊĊ", "assistant"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    tokenizer.add_tokens(["<|im_start|>", "assistant"], special_tokens=True)
    tokenizer.chat_template = CHATML
    return tokenizer


def test_a_sentence_piece_tokenizer_masks_rightly():
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    text = [" ".join(TURNS), MISTRAL, "\n"]
    backend.train_from_iterator(text, trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="<s>")
    tokenizer.chat_template = MISTRAL
    assert [t.strip() for t in trained_texts(tokenizer, chat_row())] == [TURNS[3] + "</s>", TURNS[5] + "</s>"]


def test_a_template_that_favours_the_last_turn_treats_both_turns_alike():
    assert trained_texts(chat_tokenizer(QWEN3), chat_row()) == [
        t + "<|im_end|>" for t in (TURNS[3], TURNS[5])
    ]


def test_an_empty_think_block_of_the_template_is_the_models_to_say():
    texts = trained_texts(chat_tokenizer(GLM), chat_row())
    assert texts == [f"\n<think></think>\n{text}<|user|>" for text in (TURNS[3], TURNS[5])]


def test_a_template_that_strips_the_thoughts_of_a_text_is_refused():
    turns = (*TURNS[:3], "<think>hm</think>Give the steps.", *TURNS[4:])
    with pytest.raises(UserError, match="'p1', sample 0, turn 3: the chat template does not keep"):
        encode_row(chat_tokenizer(QWEN3), chat_row(turns))


def test_a_template_whose_prompt_opens_a_thought_is_no_single_sequence():
    with pytest.raises(UserError, match="cannot be one sequence"):
        encode_row(chat_tokenizer(THINKS_FIRST), chat_row())


def test_a_template_that_never_ends_a_turn_is_refused():
    with pytest.raises(UserError, match="no special token closes the turn"):
        encode_row(chat_tokenizer(NEVER_ENDS), chat_row())


@pytest.mark.parametrize("trained", [(), (5, 3), (0,), (9,)])
def test_a_row_without_a_trained_turn_is_refused_by_name(trained):
    with pytest.raises(UserError, match="row 'p1', sample 0: the trained turns"):
        encode_row(tiny_tokenizer(), chat_row(trained=trained))


def test_an_empty_text_is_refused():
    with pytest.raises(UserError, match="must not be empty"):
        encode_row(tiny_tokenizer(), chat_row((*TURNS[:5], "  ")))


def test_the_preview_is_the_rendered_chat_with_the_trained_parts_marked():
    parts = render_training_row(tiny_tokenizer(), chat_row())
    assert [text for text, trained in parts if trained] == [TURNS[3] + "<|im_end|>", TURNS[5] + "<|im_end|>"]
    rendered = tiny_tokenizer().apply_chat_template([dict(m) for m in chat_row().messages], tokenize=False)
    assert "".join(text for text, _ in parts) == rendered.rstrip("\n")


def test_balanced_weights_share_a_row_alike_among_its_turns():
    encoded = encode_row(tiny_tokenizer(), chat_row())
    weights = token_weights(encoded, 0.5, balanced=True)
    for number in (1, 2):
        own = of_segment(encoded, weights, number)
        assert sum(own) == pytest.approx(0.25) and len(set(own)) == 1
    assert sum(weights) == pytest.approx(0.5)
    assert set(token_weights(encoded, 0.5, balanced=False)) == {0.0, 0.5}


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_whatever_the_texts_the_mask_covers_them_and_nothing_else(principle, response):
    assume(principle.strip() and response.strip())
    turns = (*TURNS[:3], principle, TURNS[4], response)
    texts = trained_texts(SHARED_TOKENIZER, chat_row(turns))
    assert texts == [principle + "<|im_end|>", response + "<|im_end|>"]


SHARED_TOKENIZER = tiny_tokenizer()
