"""Settings one by one: every field becomes a widget's description, differences are minimal, the command says the same."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpd_core.cli.runs import configure
from lpd_core.config import RunConfig, load_config, parse_config, presets, to_toml
from lpd_core.settings import assignment, command, differences, flatten, groups, nest, problems, settings


def options_of(line: str, name: str) -> list[str]:
    words = shlex.split(line)
    return [words[i + 1] for i, word in enumerate(words) if word == name]


def rerun(line: str) -> RunConfig:
    """What the command line makes of a command."""
    preset = options_of(line, "--preset")
    return configure(preset[0] if preset else None, None, options_of(line, "--set"))


def test_every_setting_has_a_kind_a_help_text_and_its_default():
    found = settings()
    assert set(found) == set(flatten(RunConfig()))
    assert all(setting.help for setting in found.values())
    assert {key: setting.default for key, setting in found.items()} == flatten(RunConfig())
    assert {setting.group for setting in found.values()} == set(groups())


def test_bounds_come_from_the_tree():
    found = settings()
    assert (found["e_step.n"].kind, found["e_step.n"].low, found["e_step.n"].high) == ("integer", 1, 1024)
    margin = found["e_step.margin"]
    assert (margin.low, margin.above, margin.high, margin.below) == (0.0, False, 1.0, True)
    rate = found["m_step.learning_rate"]
    assert (rate.low, rate.above, rate.high) == (0.0, True, None)
    assert found["e_step.skip_above"].optional
    assert found["cluster.choose"].choices == ("auto", "threshold", "k")
    assert found["data.shifted"].kind == "sources"
    assert "prompts" in groups()["data"]


@pytest.mark.parametrize("name", sorted(presets()))
def test_an_untouched_preset_needs_no_settings(name):
    assert command(load_config(name), name) == f"python -m lpd_core run --preset {name}"


def test_only_what_differs_is_told_and_the_command_makes_the_same_configuration():
    wanted = load_config("demo", None, ["e_step.n=8", "review=true", 'name="it\'s $HOME"', "seed=1"])
    line = command(wanted, "demo")
    assert sorted(each.partition("=")[0] for each in options_of(line, "--set")) == [
        "e_step.n",
        "name",
        "review",
    ]
    assert rerun(line) == wanted


def test_one_changed_value_of_a_section_keeps_the_others():
    """`--set e_step.propose.temperature` alone would reset max_tokens to the class's default."""
    values = flatten(load_config("smoke")) | {"e_step.propose.temperature": 0.9}
    wanted = parse_config(nest(values))
    assert rerun(command(wanted, "smoke")) == wanted


def test_an_unset_value_needs_the_file(monkeypatch, tmp_path):
    shipped = tmp_path / "skip.toml"
    shipped.write_text("[e_step]\nskip_above = 0.9\n")
    monkeypatch.setattr("lpd_core.config.presets", lambda: {"skip": shipped})
    assert command(RunConfig(), "skip") == "python -m lpd_core run --config run.toml"
    with pytest.raises(ValueError, match="skip_above"):
        assignment("e_step.skip_above", None)


def test_without_a_preset_the_command_names_the_file():
    assert command(RunConfig(), None, "my run.toml") == "python -m lpd_core run --config 'my run.toml'"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompts.system": st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
            "data.train": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=2),
            "data.shifted": st.dictionaries(st.text("ab .=", max_size=4), st.text(max_size=4), max_size=2),
            "m_step.learning_rate": st.floats(1e-9, 1.0),
            "e_step.skip_above": st.none() | st.floats(0, 1),
            "e_step.n": st.integers(1, 1024),
        },
    )
)
def test_any_change_survives_the_shell_and_the_toml(changed):
    wanted = parse_config(nest(flatten(load_config("smoke")) | changed))
    line = command(wanted, "smoke")
    assert rerun(line) == wanted
    assert differences(wanted, load_config("smoke")).keys() <= changed.keys()
    import tomllib

    assert parse_config(tomllib.loads(to_toml(wanted))) == wanted


def test_problems_are_told_at_their_setting():
    values = flatten(RunConfig()) | {
        "e_step.n": 0,
        "data.prompts_per_iteration": ["x"],
        "m_step.learning_rate": "fast",
        "m_step.packing": True,
    }
    found = problems(values)
    assert set(found) == {"e_step.n", "data.prompts_per_iteration", "m_step.learning_rate"}
    assert "(given 0)" in found["e_step.n"]
    assert "balanced" in problems(flatten(RunConfig()) | {"m_step.packing": True})["m_step"]
    assert problems(flatten(RunConfig())) == {}
