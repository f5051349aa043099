"""The cost model against sums done by hand."""

import json
import re

import pytest
from typer.testing import CliRunner

from lpd_core.cli.app import app
from lpd_core.config import load_config, parse_config, presets
from lpd_core.costs import DIVISORS, assume, estimate, generations, mined_prompts, tokens_at_most
from lpd_core.errors import ConfigError

SMALL = {
    "iterations": 2,
    "data": {"prompts_per_iteration": [60, 40]},
    "e_step": {"n": 2},
    "m_step": {"epochs": 3},
}


def test_a_small_run_costs_what_the_sums_on_paper_say():
    assumed = assume(
        "parameters=1e9 prompt_tokens=100 gold_tokens=30 draft_tokens=50 principle_tokens=10 refinement_tokens=40 "
        "cue_tokens=5 sampled_tokens_per_second=1000 utilisation=0.5 peak_flops_per_second=1e15 prefill_mfu=0.5 "
        "training_mfu=0.25 trained_share=0.5 bytes_per_token=10 gpus=4 price_per_gpu_hour=2".split()
    )
    told = estimate(parse_config(SMALL), assumed, mined=100, held=10)
    assert told["prompts"] == {"mined": 100, "held_out": 10, "generations": 100 * 5 + 3 * 10 * 3}
    sampled = 100 * (50 + 2 * (10 + 40))
    prefilled = 100 * (100 + (50 + 30 + 5) + 5 + 2 * (10 + 5))
    measured = 10 * (50 + 10 + 40) * 3
    trained = 100 * 0.5 * (100 + 50 + 10 + 40 + 10) * 3
    assert told["tokens"] == {
        "mined": sampled,
        "prefilled": prefilled,
        "measured": measured,
        "trained": trained,
    }
    hours = {
        "e_step": (sampled / 1000 + prefilled * 2e9 / 0.5e15) / 0.5 / 3600,
        "m_step": trained * 6e9 / 0.25e15 / 3600,
        "evaluate": measured / 1000 / 0.5 / 3600,
    }
    total = sum(hours.values())
    assert told["gpu_hours"] == pytest.approx({**hours, "total": total})
    assert (told["hours"], told["price"]) == pytest.approx((total / 4, total * 2))
    rows = 2 * (sampled + measured) * 10 / 1e9
    assert told["storage_gb"] == pytest.approx(
        {"checkpoints": 8.0, "to_resume": 36.0, "rows": rows, "at_most": 44.0 + rows}
    )
    assert told["memory_gb"] == {"sampling_weights": 2.0, "training": 16.0}


@pytest.mark.parametrize("name", ["paper-llama", "paper-granite", "paper-qwen"])
def test_the_papers_run_is_that_of_its_presets_comment(name):
    config = load_config(name)
    assert mined_prompts(config) == 80_000
    told = estimate(config, assume([]), mined=80_000, held=2 * config.data.heldout_limit)
    text = " ".join(presets()[name].read_text().replace("#", "").split())
    sampled, trained, hours = re.search(
        r"(\d+) million tokens sampled .* (\d+) million trained make ([\d.]+) h", text
    ).groups()
    assert told["tokens"]["mined"] == int(sampled) * 1e6 == 80_000 * 2450
    assert told["tokens"]["trained"] == int(trained) * 1e6
    assert told["gpu_hours"]["total"] == pytest.approx(float(hours), abs=0.05)
    memory = float(re.search(r"16 bytes a parameter, (\d+) GB", text)[1])
    assert told["memory_gb"]["training"] == pytest.approx(memory, abs=1)


@pytest.mark.parametrize("preset", ["paper-llama", "paper-granite", "paper-qwen"])
def test_each_of_the_papers_models_is_known(preset):
    told = estimate(load_config(preset), assume([]), mined=1000, held=10)
    assert 7e9 < told["parameters"] < 9e9 and told["gpu_hours"]["total"] > 0


def test_prompts_are_no_more_than_a_mixture_of_counts_holds():
    assert mined_prompts(parse_config(SMALL)) == 100
    mixed = {**SMALL, "data": {**SMALL["data"], "mixture": {"a": 30, "b": 20}}}
    assert mined_prompts(parse_config(mixed)) == 50
    shares = {**SMALL, "data": {**SMALL["data"], "mixture": {"a": 0.3, "b": 0.7}}}
    assert mined_prompts(parse_config(shares)) == 100


def test_the_preflights_bound_takes_every_text_at_its_longest():
    lengths = {role: {"max_tokens": 10 * n} for n, role in enumerate(("draft", "propose", "refine"), 1)}
    tree = {**SMALL, "e_step": {"n": 2, **lengths}}
    tree["evaluate"] = {role: {"max_tokens": 7} for role in ("draft", "principle", "refine")}
    config = parse_config(tree)
    assert tokens_at_most(config, 100, 10) == 100 * (10 + 2 * (20 + 30)) + 10 * 21 * 3
    assert generations(config, 100, 10) == 100 * 5 + 90


def test_assumptions_that_are_none_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"no assumption 'price'"):
        assume(["price=3"])
    with pytest.raises(ConfigError, match=r"gpus='many' is no int above 0"):
        assume(["gpus=many"])
    for name in DIVISORS:
        with pytest.raises(ConfigError, match=f"{name}='0' is no .* above 0"):
            assume([f"{name}=0"])
    with pytest.raises(ConfigError, match=r"parameters of 'mine/own' are not known"):
        estimate(parse_config({"model": {"path": "mine/own"}}), assume([]), 1, 1)


def test_the_command_prints_every_assumption_and_takes_others():
    words = ["estimate", "--preset", "paper-qwen"]
    text = CliRunner().invoke(app, words).output
    assert "80,000 prompts mined" in text and "sampled_tokens_per_second = 12000" in text
    told = json.loads(CliRunner().invoke(app, [*words, "--assume", "gpus=64", "--json"]).output)
    assert told["assumptions"]["gpus"] == 64
    assert told["hours"] == pytest.approx(told["gpu_hours"]["total"] / 64)
