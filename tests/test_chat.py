"""Chat templates: what is rendered, and what a newcomer is told when a checkpoint cannot be used."""

import json
import shutil

import pytest

from lpd_core.errors import UserError
from lpd_core.samplers.chat import end_of_turn, load_tokenizer, render
from tests.models import CHAT_TEMPLATE, tiny_model, tiny_tokenizer

ASK = ({"role": "user", "content": "  What now?\n"},)
ALTERNATING = (
    "{%- if messages[0]['role'] != 'user' -%}"
    "{{ raise_exception('the first turn must be the user\\'s') }}{%- endif -%}" + CHAT_TEMPLATE
)
SILENT = CHAT_TEMPLATE.replace(
    "for message in messages", "for message in messages if message['role'] != 'system'"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def tokenizer_with(template: str):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_a_chat_is_rendered_up_to_where_the_assistant_begins():
    text = render(tiny_tokenizer(), ASK)
    assert text == "<|im_start|>user\n  What now?\n<|im_end|>\n<|im_start|>assistant\n"


def test_a_system_turn_stands_before_the_chat():
    assert render(tiny_tokenizer(), ASK, "Be kind.").startswith(
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user"
    )


@pytest.mark.parametrize("template", [ALTERNATING, SILENT])
def test_a_system_turn_that_the_template_refuses_or_drops_joins_the_first_user_turn(template):
    text = render(tokenizer_with(template), ASK, "Be kind.")
    assert text.startswith("<|im_start|>user\nBe kind.\n\n  What now?\n<|im_end|>")


def test_a_chat_that_the_template_refuses_is_told_with_its_turns():
    chat = ({"role": "assistant", "content": "Hello"}, *ASK)
    with pytest.raises(UserError, match="refuses a chat of the turns assistant, user: the first turn must"):
        render(tokenizer_with(ALTERNATING), chat)


def test_the_end_of_turn_is_the_token_that_the_template_puts_after_an_answer():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_generation_marks_of_the_tiny_model_cover_the_answer_and_its_end():
    tokenizer = tiny_tokenizer()
    chat = [*ASK, {"role": "assistant", "content": "Wait."}]
    made = tokenizer.apply_chat_template(chat, return_assistant_tokens_mask=True)
    trained = [t for t, on in zip(made["input_ids"], made["assistant_masks"], strict=True) if on]
    assert tokenizer.decode(trained) == "Wait.<|im_end|>"


def assert_told_in_one_line(path, words: str):
    with pytest.raises(UserError, match=words) as told:
        load_tokenizer(str(path))
    assert "\n" not in str(told.value)


def test_a_missing_model_folder_is_told_in_one_line(tmp_path):
    assert_told_in_one_line(tmp_path / "nowhere", "there is no model folder")


def test_a_folder_that_is_no_checkpoint_is_told_in_one_line(tmp_path):
    assert_told_in_one_line(tmp_path, "has no config.json")


def test_a_hub_name_out_of_reach_is_told_in_one_line():
    assert_told_in_one_line("nobody/no-such-model", "could not load the tokenizer of nobody/no-such-model")


def test_a_folder_without_a_tokenizer_is_told_in_one_line(folder, tmp_path):
    shutil.copy(folder / "config.json", tmp_path)
    assert_told_in_one_line(tmp_path, "could not load the tokenizer")


def test_a_tokenizer_without_a_chat_template_is_told_with_the_mend(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    assert_told_in_one_line(bare, "has no chat template.*add a chat_template.jinja")


def test_the_tiny_model_is_small(folder):
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 300
    assert (folder / "model.safetensors").stat().st_size < 1_000_000
