"""What is told of a sampler before it starts."""

import json
import sys

import pytest
from conftest import PROJECT
from models import save_model, tiny_model
from scripted_server import said, serving

from lpd_core.config import parse_config
from lpd_core.findings import Preflight
from lpd_core.model_config import ModelConfig
from lpd_core.sampler_checks import check_sampler
from lpd_core.samplers.chat import load_tokenizer

CHATS = [[{"role": "user", "content": "Hello"}]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def found(weights, tokenizer=None, chats=CHATS, model=None, e_step=None, **sampler) -> str:
    model = {"path": str(weights), "max_length": 256, **(model or {})}
    config = parse_config({"model": model, "sampler": sampler, "e_step": e_step or {}})
    report = Preflight()
    check_sampler(report, config, tokenizer, chats)
    return "\n".join(f"{f.level}: {f.what}: {f.mend}" for f in report.findings)


def test_a_sampler_that_fits_is_not_spoken_of(weights):
    assert found(weights, load_tokenizer(str(weights))) == ""


def test_vllm_is_looked_for_in_its_interpreter(weights):
    assert "has no vLLM: name an interpreter that has it in sampler.python" in found(weights, kind="vllm")


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_that_is_none_is_told(weights, python):
    assert "error: sampler.python" in found(weights, kind="vllm", python=python)


def test_an_interpreter_without_the_stages_libraries_is_told(weights, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -S -I "$@"\n')
    bare.chmod(0o755)
    told = found(weights, python=str(bare))
    assert "lacks duckdb, pyarrow" in told and "requirements-cpu-vllm.txt" in told


def test_a_server_is_asked_whether_it_is_there_and_serves_the_model(weights):
    with serving(lambda body, n: said(body), models=("tiny",)) as (_, url):
        assert "error" not in found(weights, kind="openai", url=url, served="tiny")
        assert "the run pauses after training" in found(weights, kind="openai", url=url, served="tiny")
        assert "does not serve 'other' (it serves tiny)" in found(
            weights, kind="openai", url=url, served="other"
        )
    assert "no server answers" in found(weights, kind="openai", url=url, served="tiny")
    assert "error: sampler.url = ''" in found(weights, kind="openai")


def test_a_command_that_serves_is_checked(weights):
    told = found(weights, kind="openai", serve="no-such-program --port {port}")
    assert "no program 'no-such-program'" in told and "has no {model}" in told


def test_an_unknown_architecture_and_too_few_positions_are_told(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "odd", "architectures": ["OddForCausalLM"], "max_position_embeddings": 128})
    )
    told = found(folder)
    assert "no causal language model of type 'odd'" in told
    assert "model.max_length = 256 exceeds the model's 128 positions" in told


def test_a_template_without_system_role_and_one_that_thinks_are_told(tmp_path):
    from test_architectures import FORCED, GEMMA, IM, SPECIALS
    from transformers import LlamaConfig

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=320, **small)
    gemma = save_model(tmp_path / "gemma", config, template=GEMMA, specials=SPECIALS["gemma"])
    chats = [[{"role": "system", "content": "Be kind."}, *CHATS[0]]]
    assert "has no system turn" in found(gemma, load_tokenizer(str(gemma)), chats)
    forced = save_model(tmp_path / "forced", config, template=FORCED, specials=IM)
    assert "makes the model think" in found(forced, load_tokenizer(str(forced)))
    off = ModelConfig(thinking="off")
    assert "makes" not in found(forced, load_tokenizer(str(forced), off), model={"thinking": "off"})


def test_what_the_probe_asks_for_is_what_the_environment_of_vllm_installs():
    from lpd_core.sampler_checks import NEEDED

    listed = (PROJECT / "requirements-cpu-vllm.txt").read_text().replace("pyyaml", "yaml").replace("-", "_")
    assert [name for name in NEEDED if f"\n{name}==" not in listed] == []
