"""Tiny random checkpoints of four architectures, each with its own kind of chat template, go through an iteration."""

import hashlib

import pytest
from conftest import run_inline
from models import save_model

from lpd_core.errors import UserError
from lpd_core.label_mask import encode_parts
from lpd_core.model_config import ModelConfig
from lpd_core.samplers.chat import THINKING_OFF, folds_system, load_tokenizer, render
from lpd_core.store import results
from lpd_core.transcripts import mined

LLAMA = """\
{{- bos_token if bos_token else '' -}}
{%- for m in messages -%}
{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}"""

QWEN_THINKING = """\
{%- set ns = namespace(last=0) -%}
{%- for m in messages -%}{%- if m['role'] == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{{- '<|im_start|>' + m['role'] + '\\n' -}}
{%- if m['role'] == 'assistant' -%}
{%- set content = m['content'].split('</think>')[-1].lstrip('\\n') -%}
{%- if loop.index0 > ns.last -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}{{- content -}}
{%- else -%}{{- m['content'] -}}{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}"""

GRANITE = """\
{%- if messages[0]['role'] != 'system' -%}
{{- '<|start_of_role|>system<|end_of_role|>You are Granite.<|end_of_text|>\\n' -}}{%- endif -%}
{%- for m in messages -%}
{{- '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_of_role|>assistant<|end_of_role|>' -}}{%- endif -%}"""

GEMMA = """\
{%- if messages[0]['role'] == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{%- for m in messages -%}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}{%- endif -%}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}
{{- '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"""

FORCED = QWEN_THINKING.replace(
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}",
    "{{- '<think>\\n' -}}",
).replace("{{- '<think>\\n\\n</think>\\n\\n' -}}", "")

IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIALS = {
    "llama": ("<|pad|>", "<|start_header_id|>", "<|eot_id|>", "<|end_header_id|>"),
    "granite": ("<|pad|>", "<|start_of_role|>", "<|end_of_text|>", "<|end_of_role|>"),
    "gemma": ("<pad>", "<start_of_turn>", "<end_of_turn>"),
}
CASES = {
    # architecture, template, thinking
    "llama": ("llama", LLAMA, "strip"),
    "qwen2, thinking as it likes": ("qwen2", QWEN_THINKING, "strip"),
    "qwen2, thinking off": ("qwen2", QWEN_THINKING, "off"),
    "qwen2, forced thinking stripped": ("qwen2", FORCED, "strip"),
    "qwen2, forced thinking off": ("qwen2", FORCED, "off"),
    "granite": ("granite", GRANITE, "strip"),
    "gemma, no system role": ("gemma", GEMMA, "strip"),
}
PROMPT_ENDS = {
    "llama": "<|end_header_id|>\n\n",
    "qwen2, thinking as it likes": "assistant\n",
    "qwen2, thinking off": "<think>\n\n</think>\n\n",
    "qwen2, forced thinking stripped": "<think>\n",
    "qwen2, forced thinking off": "<think>\n\n</think>\n\n",
    "granite": "assistant<|end_of_role|>",
    "gemma, no system role": "<start_of_turn>model\n",
}


def checkpoint(folder, name: str, template: str):
    from transformers import GemmaConfig, GraniteConfig, LlamaConfig, Qwen2Config

    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "granite": GraniteConfig, "gemma": GemmaConfig}[name]
    config = kind(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return save_model(folder, config, template=template, specials=SPECIALS.get(name, IM))


class Fortune:
    """A scorer under which some refinements of a random model gain; in the place of Rouge-L."""

    def __init__(self, stemmer: bool):
        pass

    def score(self, pairs):
        return [hashlib.sha256(pair.response.encode()).digest()[0] / 255 for pair in pairs]


@pytest.mark.parametrize("name", CASES)
def test_an_iteration_goes_through(name, store, scripted_settings, tmp_path, monkeypatch):
    monkeypatch.setattr("lpd_core.build.RougeL", Fortune)
    architecture, template, thinking = CASES[name]
    folder = checkpoint(tmp_path / "model", architecture, template)
    short = {"temperature": 1.0, "max_tokens": 32}
    model = {"path": str(folder), "device": "cpu", "max_length": 600, "thinking": thinking}
    opened = "forced thinking stripped" in name  # a random model never closes the block: leave it in the text
    settings = {
        **scripted_settings,
        "iterations": 1,
        "model": {**model, "thinking": "keep"} if opened else model,
        "sampler": {"kind": "transformers", "stop": ["e", "o", "n"]},  # a random model rarely ends by itself
        "prompts": {"system": "Be kind."},
        "e_step": {"n": 6, "chunk_prompts": 8, **dict.fromkeys(("draft", "propose", "refine"), short)},
        "evaluate": {**dict.fromkeys(("draft", "principle", "refine"), short), "resamples": 200},
        "m_step": {"epochs": 1, "batch_size": 4, "threads": 1, "learning_rate": 1e-4},
    }
    run = run_inline(store, settings)
    assert run.state().status == "finished"
    rows = results.training_rows(store, run.run_id, 1)
    trained = {r["value"] for r in store.database.query("select value from metrics where name = 'loss'")}
    assert rows and trained
    tokenizer = load_tokenizer(str(run.checkpoint(1)), ModelConfig(thinking=thinking))
    parts = encode_parts(tokenizer, rows[0])
    assert sum(map(any, (part.segments for part in parts))) == len(parts)
    transcripts = mined(store, run, 1, rows[0].prompt_id, rows[0].sample)
    assert all(t.prompt.endswith(PROMPT_ENDS[name]) for t in transcripts)
    assert all("Be kind." in t.prompt for t in transcripts)


def tokenizer_of(tmp_path, name: str, **settings):
    architecture, template, _ = CASES[name]
    return load_tokenizer(str(checkpoint(tmp_path, architecture, template)), ModelConfig(**settings))


def test_a_template_without_a_system_role_is_known(tmp_path):
    assert folds_system(tokenizer_of(tmp_path / "a", "gemma, no system role"))
    assert not folds_system(tokenizer_of(tmp_path / "b", "granite"))


def training_row():
    from lpd_core.types import TrainingRow

    turns = ("What now?", "A draft.", "Name one.", "Be brief.", "Rewrite.", "Better.")
    roles = ("user", "assistant") * 3
    messages = tuple({"role": r, "content": c} for r, c in zip(roles, turns, strict=True))
    return TrainingRow("p", 0, "Be brief.", messages, (3, 5))


@pytest.mark.parametrize("name", CASES)
def test_what_is_trained_follows_the_prompts_that_are_sampled_from(name, tmp_path):
    """Every trained turn's context is, token for token, the prompt under which it is sampled."""
    row = training_row()
    tokenizer = tokenizer_of(tmp_path, name, thinking=CASES[name][2])
    parts = encode_parts(tokenizer, row)
    texts = []
    for part in parts:
        for segment in sorted(set(part.segments) - {0}):
            begin = part.segments.index(segment)
            said = [t for t, s in zip(part.input_ids, part.segments, strict=True) if s == segment]
            texts.append((tokenizer.decode(part.input_ids[:begin]), tokenizer.decode(said)))
    prompts = [render(tokenizer, row.messages[:turn]) for turn in row.trained]
    assert [before for before, _ in texts] == prompts
    lead = "\n</think>\n\n" if "forced thinking stripped" in name else ""
    closing = SPECIALS.get(CASES[name][0], IM)[2]
    assert [after.removeprefix(lead) for _, after in texts] == [f"Be brief.{closing}", f"Better.{closing}"]


def test_a_template_can_be_given_and_is_told_where_it_is_missing(tmp_path):
    folder = checkpoint(tmp_path / "model", "llama", "")
    with pytest.raises(UserError, match=r"name a Jinja file in model.chat_template"):
        load_tokenizer(str(folder))
    file = tmp_path / "mine.jinja"
    file.write_text(LLAMA)
    tokenizer = load_tokenizer(str(folder), ModelConfig(chat_template=str(file)))
    assert "start_header_id" in render(tokenizer, ({"role": "user", "content": "Hello"},))
    with pytest.raises(UserError, match=r"cannot read model.chat_template"):
        load_tokenizer(str(folder), ModelConfig(chat_template=str(tmp_path / "nowhere.jinja")))


def test_thinking_off_is_kept_in_a_checkpoint_once(tmp_path):
    tokenizer = tokenizer_of(tmp_path / "model", "qwen2, thinking off", thinking="off")
    tokenizer.save_pretrained(tmp_path / "model")
    again = load_tokenizer(str(tmp_path / "model"), ModelConfig(thinking="off"))
    assert again.chat_template.count(THINKING_OFF) == 1
