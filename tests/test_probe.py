"""What can be measured before a run: its time and memory from a few prompts, and what the weights take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from lpd_core import jobs
from lpd_core.config import PROJECT, parse_config, resolve_path
from lpd_core.errors import DataError, UserError
from lpd_core.findings import Preflight
from lpd_core.memory import cache_bytes_of_token, check_memory, needs_of
from lpd_core.model_files import parameter_count
from lpd_core.probe import Probe, run_probe
from lpd_core.types import Example

MODEL = "data/demo/model"
PROBE = Probe(
    prompts=10, generations=90, tokens_of_generation=50.0, seconds_of_generation=0.5, tokens_per_second=100.0,
    trained_rows=5, seconds_of_row=2.0, starting=7.0, peak_memory=1000, peak_gpu_memory=0,
)  # fmt: skip


def example(name: str, prompt: str, gold: str) -> Example:
    return Example(
        prompt_id=name,
        dataset_id="d",
        messages=({"role": "user", "content": prompt},),
        gold=gold,
        split="train",
    )


def settings(**tree):
    return parse_config({"model": {"path": MODEL, "max_length": 512}, **tree})


def test_a_probe_tells_the_runs_time_by_stage_and_its_tokens():
    config = settings(iterations=2, e_step={"n": 4}, m_step={"epochs": 3})
    told = PROBE.facts(config, mined=200, held=40)
    assert told["stages"] == {
        "e_step": 200 * 9 * 0.5,
        "m_step": 200 * 0.5 * 3 * 2.0,
        "evaluate": 3 * 40 * 3 * 0.5,
        "starting": 14.0,
    }
    assert told["seconds"] == sum(told["stages"].values())
    assert told["tokens"] == (200 * 9 + 3 * 40 * 3) * 50


def test_a_probe_runs_as_the_run_would_and_leaves_nothing(scripted_settings, home):
    few = [example(f"p{n}", f"Say something about {n}.", f"Gold number {n}.") for n in range(4)]
    (home / "probe-killed" / "runs").mkdir(parents=True)
    os.utime(home / "probe-killed", (0, 0))
    found = run_probe(parse_config({**scripted_settings, "review": True}), few, home)
    assert (found.prompts, found.trained_rows > 0, found.peak_memory > 2**20) == (4, True, True)
    assert found.seconds_of_generation > 0 and found.tokens_of_generation > 0
    assert not list(home.glob("probe-*")) and not list(home.glob("runs/*"))


def test_a_driver_that_is_attached_ends_with_the_process_that_started_it(scripted_settings, store):
    folder = jobs.create_run(store, parse_config(scripted_settings))
    code = (
        "import os; from lpd_core import jobs; from lpd_core.store import Store; "
        f"pid = jobs.start(Store(), {folder.run_id!r}, attached=True); "
        f"jobs.wait_for_driver(Store().run({folder.run_id!r}), pid); os._exit(0)"
    )
    environment = {**os.environ, "LPD_HOME": str(store.home)}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True)
    give_up = time.monotonic() + 60
    while folder.is_driven() or folder.state().status in ("queued", "running"):
        assert time.monotonic() < give_up, folder.state()
        time.sleep(0.1)
    assert folder.state().status == "interrupted"


def test_a_probe_that_fails_says_why(scripted_settings, home):
    tree = {**scripted_settings, "cluster": {"embedder": str(home / "nothing")}}
    few = [example("p", "Say something.", "Gold.")]
    with pytest.raises(UserError, match=r"the probe failed: .*nothing"):
        run_probe(parse_config(tree), few, home)


def test_weights_cache_and_training_are_counted_from_the_checkpoints_shapes():
    folder = resolve_path(MODEL)
    told = json.loads((folder / "config.json").read_text())
    count = parameter_count(folder)
    full = needs_of(settings(), folder)
    heads = told.get("num_key_value_heads") or told["num_attention_heads"]
    size = told.get("head_dim") or told["hidden_size"] // told["num_attention_heads"]
    assert full.weights == 4 * count and full.training == 16 * count
    assert full.cache == 512 * 2 * told["num_hidden_layers"] * heads * size * 4
    half = needs_of(settings(model={"path": MODEL, "dtype": "bfloat16", "max_length": 512}), folder)
    assert (half.weights, half.cache, half.training) == (2 * count, full.cache // 2, 16 * count)
    adapters = needs_of(settings(m_step={"lora_rank": 4}), folder)
    assert 4 * count < adapters.training < 8 * count
    spread = needs_of(settings(m_step={"processes": 4, "accelerate_config": "fsdp2"}), folder)
    assert spread.training == 4 * count


def test_what_does_not_fit_is_said_with_what_to_do(home, monkeypatch):
    from lpd_core import machine

    small = machine.Machine(2, 0.0, 0, 2**30, 1000, 2**40, ())
    monkeypatch.setattr(machine, "look", lambda home: small)
    report = Preflight()
    check_memory(report, settings(), home)
    assert [f.what.split(" needs")[0] for f in report.findings] == ["sampling", "training"]
    assert "lora_rank" in report.findings[1].mend and report.facts["memory"]["place"] == "this machine"
    gpu = machine.Gpu("A card", 0, 2**40)
    monkeypatch.setattr(machine, "look", lambda home: machine.Machine(2, 0.0, 0, 2**30, 1000, 2**40, (gpu,)))
    report = Preflight()
    check_memory(report, settings(), home)
    assert not report.findings and report.facts["memory"]["available_bytes"] == 2**40


def test_a_configuration_that_is_no_json_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        cache_bytes_of_token(tmp_path, 4)
    (tmp_path / "config.json").write_text("{}")
    assert cache_bytes_of_token(tmp_path, 4) == 0
