"""Launch: from a preset, an earlier run or TOML to a checked, started or queued run; nothing typed is lost."""

from __future__ import annotations

import json
import time

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.conftest import open_page, words
from lpd_core import jobs
from lpd_core.config import RunConfig, load_config, parse_config
from lpd_core.errors import UserError
from lpd_core.queue import Queue
from lpd_core.settings import flatten, nest, settings
from lpd_core.store import Store
from pages.components import creation


def checked(app):
    """The page once its checks have answered."""
    give_up = time.monotonic() + 90
    while time.monotonic() < give_up:
        app.run()
        if any(button.key == "launch.again" for button in app.button):
            return app
        time.sleep(0.2)
    raise AssertionError("the checks gave no answer")


def field(app, key):
    """The widget of a setting."""
    name = f"launch.{app.session_state['launch.round']}.{key}"
    kinds = (app.number_input, app.text_input, app.selectbox, app.multiselect, app.toggle, app.text_area)
    return next(widget for kind in kinds for widget in kind if widget.key == name)


def command_of(app) -> str:
    return next(block.value for block in app.code if block.value.startswith("python -m lpd_core run"))


def address_of(app, name) -> str:
    value = app.query_params[name]
    return value[0] if isinstance(value, list) else value


def open_group(app, name):
    app.session_state[f"launch.group.{name}"] = True
    return app.run()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LPD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_smoke_run_is_set_up_checked_and_started(home):
    app = open_page("launch", preset="smoke")
    field(app, "e_step.n").set_value(3).run()
    field(app, "name").set_value("mine").run()
    assert command_of(app) == "python -m lpd_core run --preset smoke --set 'name=\"mine\"' --set e_step.n=3"
    checked(app)
    assert not app.error
    said = words(app)
    (mined,) = (metric for metric in app.metric if metric.label == "Prompts to mine")
    assert mined.value == "48" and "of 971 distinct prompts" in mined.help
    assert "16 of 240 dev, 16 of 320 test" in said
    assert "Nothing stands in the way" in said
    assert "how long it takes is not known" in said.lower()
    app.button(key="launch.start").click().run()
    assert not app.exception
    store = Store(home)
    (run,) = store.run_ids()
    config = store.run(run).config()
    assert (config.name, config.e_step.n, config.sampler.kind) == ("mine", 3, "scripted")
    give_up = time.monotonic() + 60
    while not (folder := store.run(run)).is_driven() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert folder.is_driven(), "a driver works on it"
    assert jobs.stop(store, run, seconds=60).status in ("stopped", "finished")


def test_a_file_that_takes_too_much_memory_makes_no_run_and_costs_the_server_nothing(
    home, monkeypatch, tmp_path
):
    bomb = tmp_path / "bomb.json"
    bomb.write_bytes(b"[" + b'{"prompt": "p", "gold": "' + b"x" * (150 * 2**20) + b'"}]')
    monkeypatch.setattr(creation, "LIMITS", {"seconds": 60.0, "memory": 400 * 2**20})
    with pytest.raises(UserError) as told:
        creation.create_run(load_config("smoke", assignments=[f"data.train=[{str(bomb)!r}]"]))
    assert "\n" not in str(told.value)
    assert not Store(home).run_ids()


def test_code_that_comes_with_a_model_is_shown_in_red_before_and_after_the_start(home):
    trusting = load_config("smoke", assignments=["model.trust_remote_code=true"])
    run = jobs.create_run(Store(home), trusting).run_id
    assert any(
        "runs on this machine with your rights" in each.value for each in open_page("runs", run=run).error
    )
    plain = jobs.create_run(Store(home), load_config("smoke")).run_id
    assert not open_page("runs", run=plain).error


def test_a_run_can_be_queued(home, monkeypatch):
    monkeypatch.setattr(Queue, "attend", lambda self, seconds=10.0: None)
    app = checked(open_page("launch", preset="smoke"))
    app.button(key="launch.queue").click().run()
    assert not app.exception
    store = Store(home)
    assert Queue(store).read().waiting == tuple(store.run_ids())


def test_every_setting_has_a_widget_that_shows_its_value(home):
    app = open_page("launch", preset="demo")
    for group in {key.partition(".")[0] for key in settings()}:
        app.session_state[f"launch.group.{group}"] = True
    app.run()
    assert not app.exception, app.exception
    for key, setting in settings().items():
        assert setting.help in field(app, key).help, key
    assert field(app, "e_step.propose.max_tokens").value == 24
    assert field(app, "m_step.learning_rate").value == "0.0015"
    assert (
        field(app, "data.shifted").value.splitlines()[0] == "shifted_topics = data/demo/shifted_topics.jsonl"
    )


def test_what_is_not_allowed_is_told_beside_the_field_and_stays(home):
    app = open_page("launch", preset="smoke")
    field(app, "m_step.learning_rate").set_value("fast").run()
    assert any("valid number" in block.value for block in app.markdown), "beside the field"
    assert not any(button.key == "launch.start" for button in app.button)
    assert field(app, "m_step.learning_rate").value == "fast"
    field(app, "m_step.learning_rate").set_value("2e-5").run()
    assert "--set m_step.learning_rate=2e-05" in command_of(app)
    field(app, "data.prompts_per_iteration").set_value("8, x").run()
    assert "prompts" in app.error[0].value
    assert field(app, "data.prompts_per_iteration").value == "8, x"


def test_settings_that_do_not_fit_together_are_told(home):
    app = open_group(open_page("launch", preset="smoke"), "m_step")
    field(app, "m_step.packing").set_value(True).run()
    assert any("balanced" in error.value for error in app.error)


def test_the_form_survives_a_page_switch_and_a_reload(home):
    app = open_page("launch", preset="smoke")
    field(app, "e_step.n").set_value(7).run()
    app.switch_page("pages/home.py").run()
    app.switch_page("pages/launch.py").run()
    assert field(app, "e_step.n").value == 7
    address = {name: address_of(app, name) for name in ("preset", "set")}
    assert json.loads(address["set"]) == {"e_step.n": 7}
    again = open_page("launch", **address)
    assert field(again, "e_step.n").value == 7
    assert command_of(again).endswith("--preset smoke --set e_step.n=7")


def test_changes_are_listed_and_can_be_taken_back_and_brought_again(home):
    app = open_page("launch", preset="smoke")
    field(app, "e_step.n").set_value(7).run()
    assert "Changed from preset smoke: `e_step.n`" in words(app)
    app.button(key="launch.reset").click().run()
    assert field(app, "e_step.n").value == 4
    app.button(key="launch.back").click().run()
    assert field(app, "e_step.n").value == 7


@pytest.mark.parametrize(
    "wrong", ["{", "[1]", '{"e_step.n": "<b>x</b>", "no.such": 1, "seed": 1e400}', '"x"']
)
def test_a_damaged_address_is_no_traceback(home, wrong):
    app = open_page("launch", preset="smoke", set=wrong)
    assert not app.exception, app.exception
    assert field(app, "name").value == "smoke"


def form_with_late_values():
    """A browser sends the old form's values once more after another preset was chosen."""
    import streamlit as st

    from lpd_core.settings import settings
    from pages.components import choices, fields

    choices.start_from("preset", "demo")
    old = choices.drawn("e_step.n")
    choices.start_from("preset", "smoke")
    for key, value in ((old, 9), (choices.drawn("seed"), 7)):
        st.session_state[key] = value
        fields._keep(settings()[key.partition(".")[2].partition(".")[2]], key)


def test_values_of_widgets_that_are_gone_change_nothing(home):
    app = AppTest.from_function(form_with_late_values).run()
    assert not app.exception
    assert app.session_state["launch.changed"] == {"seed": 7}


def test_an_unknown_preset_or_run_is_told_in_one_line(home):
    assert "unknown preset" in open_page("launch", preset="nope").error[0].value.replace("\\", "")
    assert open_page("launch", **{"from": "../../etc"}).error


def test_an_earlier_runs_settings_can_be_taken(looking):
    looking("finished")
    app = open_page("launch", **{"from": "demo-1"})
    assert field(app, "data.prompts_per_iteration").value == "40, 24"
    assert "--config run.toml" in command_of(app)
    checked(app)
    assert "from the rates of" in words(app), "the time is told from the run's own rates"


def test_pasted_toml_becomes_the_form_and_a_mistake_in_it_changes_nothing(home):
    app = open_page("launch", preset="smoke")
    app.session_state["launch.way"] = "TOML"
    app.run()
    app.text_area(key="launch.pasted").set_value("[e_step\nn = 3").run()
    app.button(key="launch.load").click().run()
    assert "is not TOML" in app.error[0].value
    assert field(app, "name").value == "smoke"
    app.text_area(key="launch.pasted").set_value('name = "pasted"\n[e_step]\nn = 3').run()
    app.button(key="launch.load").click().run()
    assert (field(app, "name").value, field(app, "e_step.n").value) == ("pasted", 3)
    said = json.loads(address_of(app, "set"))
    assert parse_config(nest(flatten(RunConfig()) | said)).name == "pasted", "the address alone rebuilds it"
    app.button(key="launch.back").click().run()
    assert field(app, "name").value == "smoke"


def test_errors_stop_the_start_and_say_what_to_do(home):
    app = open_page("launch", preset="smoke")
    field(app, "data.train").set_value([]).run()
    checked(app)
    assert any("names no data" in error.value for error in app.error)
    assert app.button(key="launch.start").disabled


def test_warnings_let_it_start_anyway(home):
    app = open_page("launch", preset="smoke", set=json.dumps({"data.prompts_per_iteration": [600]}))
    checked(app)
    assert app.warning
    assert app.button(key="launch.start").label == "Start anyway"


def test_the_training_row_is_shown_token_by_token_with_the_trained_ones_marked(home):
    app = checked(open_page("launch", preset="demo"))
    app.session_state["launch.chat"] = "training"
    app.run()
    shown = next(block.body for block in app.main if "lpd-token" in str(getattr(block, "body", "")))
    assert 'class="lpd-token on"' in shown
    assert 'class="lpd-token"' in shown
    assert "&lt;|user|&gt;" in shown


def test_a_visitor_who_may_only_look_starts_nothing_and_has_nothing_checked(home, monkeypatch):
    monkeypatch.setenv("LPD_EDIT_NEEDS_LOGIN", "1")
    app = open_page("launch", preset="smoke", set=json.dumps({"sampler.launcher": "touch nothing"}))
    assert "Sign in" in app.info[0].value
    assert not {button.key for button in app.button} & {"launch.start", "launch.queue", "launch.probe"}
    assert "launch.inquiries" not in app.session_state


def test_a_link_sets_no_program_key_or_code_before_somebody_has_read_it(home):
    asked = {
        "e_step.n": 3,
        "sampler.url": "http://evil.example/v1",
        "sampler.key_variable": "HF_TOKEN",
        "model.trust_remote_code": True,
        "scoring.judge.sampler.launcher": "sh",
    }
    app = open_page("launch", preset="demo", set=json.dumps(asked))
    assert app.session_state["launch.changed"] == {"e_step.n": 3}
    assert "evil.example" in words(app)
    app.button(key="launch.held.take").click().run()
    assert app.session_state["launch.changed"] == asked


def test_the_demo_preset_is_what_an_empty_form_starts_from(home):
    app = open_page("launch")
    assert field(app, "name").value == load_config("demo").name
    assert address_of(app, "preset") == "demo"


def test_some_prompts_are_timed_by_click_where_no_run_tells_the_time(home):
    app = open_page("launch", preset="smoke")
    checked(app)
    app.button(key="launch.probe").click().run()
    give_up = time.monotonic() + 120
    while "About" not in words(app) and not app.error and time.monotonic() < give_up:
        time.sleep(0.5)
        app.run()
    assert "from 8 prompts" in words(app) and "sampled tokens" in words(app)
    assert not list(home.glob("runs/*")) and not list(home.glob("probe-*"))
