"""The configuration: bounds, unknown keys, layers, TOML there and back."""

import tomllib

import pytest

from lpd_core.config import RunConfig, config_digest, load_config, parse_config, presets, to_toml
from lpd_core.errors import ConfigError


def every_field(section, path=""):
    for name, field in section.model_fields.items():
        yield f"{path}{name}", field
        if hasattr(field.annotation, "model_fields"):
            yield from every_field(field.annotation, f"{path}{name}.")


def test_every_setting_says_what_it_does():
    silent = [
        name
        for name, field in every_field(RunConfig)
        if not field.description and not hasattr(field.annotation, "model_fields")
    ]
    assert silent == []


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_shipped_preset_is_valid(name):
    assert load_config(name).name == name


def test_a_configuration_survives_toml():
    config = load_config("demo", assignments=["e_step.skip_above=0.9", "review=true"])
    assert parse_config(tomllib.loads(to_toml(config))) == config
    assert config_digest(parse_config(tomllib.loads(to_toml(config)))) == config_digest(config)


def test_assignments_lie_over_the_file_which_lies_over_the_preset(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("seed = 7\n[e_step]\nn = 3\n")
    config = load_config("demo", file, ["e_step.n=5"])
    assert (config.seed, config.e_step.n, config.iterations) == (7, 5, 3)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("e_step.n=0", "e_step.n: input should be greater than or equal to 1 (given 0)"),
        ("e_step.m=4", "unknown setting 'e_step.m'"),
        ("sampler.treads=2", "did you mean 'threads'?"),
        ("e_step.draft.temperatur=1", "did you mean 'temperature'?"),
        ("seed=many", "seed"),
        ("nonsense", "is no setting"),
        ("m_step.packing=true", "set balanced = false"),
        ("e_step.margin=nan", "e_step.margin"),
        ("sampler.serve=vllm serve '{model} --port {port}", "close the quotation"),
        ("sampler.launcher=srun 'x", "close the quotation"),
        ("m_step.launcher=srun 'x", "close the quotation"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(assignment, said):
    with pytest.raises(ConfigError) as caught:
        load_config("demo", assignments=[assignment])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(presets()) - {"demo", "demo-table", "smoke", "paper"}))
def test_a_preset_for_real_models_tells_its_tokens_hours_and_memory(name):
    comment = [line for line in presets()[name].read_text().splitlines() if line.startswith("#")]
    told = " ".join(comment)
    assert (
        "Expected, by" in told
        and "arithmetic" in told
        and "tokens/s" in told
        and " h" in told
        and "GB" in told
    )


@pytest.mark.parametrize("name", ["paper", "paper-llama", "paper-granite", "paper-qwen"])
def test_the_paper_s_presets_hold_its_mixture_and_schedule(name):
    config = load_config(name)
    assert list(config.data.mixture.values()) == [25_000] * 4 and len(config.data.sources) == 4
    assert (config.iterations, config.data.prompts_per_iteration) == (4, [50_000, 10_000])


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        load_config("demmo")


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("seed == 7")
    with pytest.raises(ConfigError, match="line 1"):
        load_config(None, file)
