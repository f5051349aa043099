"""The settings being chosen on the Launch page: what they start from, what was changed, and both in the address.

They live in `st.session_state` under plain keys, so that they outlive their widgets: a page switch, a folded group.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from lpd_core.config import RunConfig, load_config, parse_config, parse_toml, presets
from lpd_core.errors import LpdError
from lpd_core.settings import flatten, settings
from pages.components import reads, session

BASE, CHANGED, ROUND, BEFORE = "launch.base", "launch.changed", "launch.round", "launch.before"
HELD = "launch.held"
RISKY = {
    "python",
    "launcher",
    "serve",
    "url",
    "urls",
    "key_variable",
    "accelerate_config",
    "trust_remote_code",
}
"""Settings that run a program, send a key somewhere or run a model's code, by their last name: the checks use them, so
a link does not set them before somebody has read what they are."""
FIRST = ("preset", "demo")
ADDRESS_SIGNS = 1800
"""Changes longer than this are not put into the address: browsers and proxies cut long ones."""


def take_address() -> str:
    """Follow the address: `preset` or `from` says what to start from, `set` what was changed. Returns why it could
    not be followed, in one line, or nothing."""
    asked = {name: session.param(name) for name in ("preset", "from", "set")}
    if BASE in st.session_state and asked in (_written(), dict.fromkeys(asked, "")):
        write_address()
        return ""
    problem = ""
    kind, name = ("run", asked["from"]) if asked["from"] else ("preset", asked["preset"])
    if not (asked["from"] or asked["preset"] or asked["set"]):
        kind, name = FIRST
    try:
        start_from(kind, name)
        changed = json.loads(asked["set"] or "{}")
        known = {k: v for k, v in changed.items() if k in settings() and v != base_values()[k]}
        st.session_state[HELD] = {k: v for k, v in known.items() if k.rpartition(".")[2] in RISKY}
        st.session_state[CHANGED] = {k: v for k, v in known.items() if k not in st.session_state[HELD]}
    except LpdError as cause:
        problem = str(cause)
        if BASE not in st.session_state:
            start_from(*FIRST)
    except (ValueError, AttributeError, RecursionError):
        problem = "the changes in the address cannot be read; only the preset or run was loaded"
    write_address()
    return problem


def start_from(kind: str, name: str, text: str = "") -> None:
    """Take a preset (an empty name: the defaults), an earlier run or a TOML text as what the settings start from.
    What was chosen before is kept for `go_back`.

    Raises `LpdError` where there is no such thing; then nothing changes."""
    values = flatten(_load(kind, name, text))
    if BASE in st.session_state:
        st.session_state[BEFORE] = (st.session_state[BASE], st.session_state[CHANGED])
    st.session_state[BASE] = {"kind": kind, "name": name, "values": values}
    st.session_state[CHANGED], st.session_state[HELD] = {}, {}
    _redraw()


def _load(kind: str, name: str, text: str) -> RunConfig:
    if kind == "toml":
        return parse_config(parse_toml(text, name or "the text"))
    if kind == "run":
        return reads.store().run(name).config()
    return load_config(name) if name else RunConfig()


def held() -> dict[str, Any]:
    """What the address asked for and was not set yet."""
    return st.session_state.get(HELD, {})


def take_held() -> None:
    """Set what the address asked for, too."""
    change(st.session_state.pop(HELD, {}))


def go_back() -> None:
    """To what was chosen before the last `start_from`."""
    now = (st.session_state[BASE], st.session_state[CHANGED])
    st.session_state[BASE], st.session_state[CHANGED] = st.session_state[BEFORE]
    st.session_state[BEFORE] = now
    _redraw()
    write_address()


def _redraw() -> None:
    """Let every widget take its value anew."""
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def drawn(name: str) -> str:
    """The key of a widget in the present drawing of the form."""
    return f"launch.{st.session_state[ROUND]}.{name}"


def is_drawn(key: str) -> bool:
    """Whether a widget's key is of the present drawing. Streamlit calls back for widgets that are gone, too, when a
    browser that has not heard of it yet sends their values."""
    return key.startswith(drawn(""))


def base() -> dict[str, Any]:
    """What the settings start from: its kind (preset, run, toml) and name."""
    return st.session_state[BASE]


def base_values() -> dict[str, Any]:
    """The settings of what they start from, by key."""
    return st.session_state[BASE]["values"]


def changed() -> dict[str, Any]:
    """What was changed, as typed: a value may be one that is not allowed."""
    return st.session_state[CHANGED]


def values() -> dict[str, Any]:
    """Every setting as it is chosen now."""
    return {**base_values(), **changed()}


def change(new: dict[str, Any], redraw: bool = True) -> None:
    """Change some settings; the same as in what they start from is no change."""
    both = {**changed(), **new}
    st.session_state[CHANGED] = {key: value for key, value in both.items() if value != base_values()[key]}
    if redraw:
        _redraw()
    write_address()


def reset() -> None:
    """Take every change back; `go_back` brings them again."""
    st.session_state[BEFORE] = (st.session_state[BASE], st.session_state[CHANGED])
    st.session_state[CHANGED] = {}
    _redraw()
    write_address()


def _written() -> dict[str, str]:
    """What the address says of the settings as they are."""
    kind, name = base()["kind"], base()["name"]
    said = changed()
    if kind == "toml":
        default = flatten(RunConfig())
        said = {key: value for key, value in values().items() if value != default[key]}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":")) if said else ""
    return {
        "preset": name if kind == "preset" else "",
        "from": name if kind == "run" else "",
        "set": text if len(text) <= ADDRESS_SIGNS else "",
    }


def write_address() -> None:
    """Put what is chosen into the address."""
    for name, value in _written().items():
        session.set_param(name, value)


def preset_names() -> list[str]:
    """The presets to choose from, the defaults (an empty name) last."""
    return [*sorted(presets(), key=lambda name: name != FIRST[1]), ""]
