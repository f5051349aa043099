"""One widget a setting, made from its description: kind, bounds, help. What is wrong is told below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lpd_core.settings import Setting, settings
from pages.components import choices
from pages.components.text import clip, plain

SAFE_INTEGER = 2**53 - 1
"""Beyond this a browser's numbers are not exact."""
LONG_TEXTS = ("prompts.system",)


def show_field(key: str, problems: dict[str, str], label: str = "", options: Sequence[str] = ()) -> None:
    """The widget of a setting, with what is wrong about its value. `options` are offered beside what can be typed."""
    setting, value = settings()[key], choices.values()[key]
    name = choices.drawn(key)
    draw, shown = _widget(setting, value, options)
    if name not in st.session_state:
        st.session_state[name] = shown
    draw(
        label or setting.name[:1].upper() + setting.name[1:],
        key=name,
        help=_help(setting),
        on_change=_keep,
        args=(setting, name),
    )
    if key in problems:
        st.markdown(f":red[{plain(clip(problems[key].removeprefix(f'{key}: '), 300))}]")


def _help(setting: Setting) -> str:
    told = [setting.help]
    if setting.low is not None or setting.high is not None:
        low = "" if setting.low is None else f"{'above' if setting.above else 'from'} {setting.low:g}"
        high = "" if setting.high is None else f"{'below' if setting.below else 'up to'} {setting.high:g}"
        told.append(f"Allowed: {' '.join(filter(None, (low, high)))}.")
    if setting.optional:
        told.append("Leave it empty to unset it.")
    return f"{' '.join(told)}\n\n`{setting.key}`"


def _widget(setting: Setting, value: Any, options: Sequence[str]) -> tuple[Callable[..., Any], Any]:
    """What draws a setting's value, and that value as the widget holds it."""
    match setting.kind:
        case "switch" if isinstance(value, bool):
            return st.toggle, value
        case "choice" if value in setting.choices:
            return _bound(st.selectbox, options=setting.choices), value
        case "integer" if _is_in_bounds(setting, value):
            low = None if setting.low is None else int(setting.low)
            high = None if setting.high is None else int(setting.high)
            return _bound(st.number_input, min_value=low, max_value=high, step=1), value
        case "texts" if _is_list_of_texts(value):
            offered = list(dict.fromkeys([*value, *options]))
            return _bound(
                st.multiselect, options=offered, accept_new_options=True, placeholder="Choose or type"
            ), value
        case "text" if options and isinstance(value, str):
            offered = list(dict.fromkeys([*([value] if value else []), *options]))
            placeholder = "Choose or type"
            draw = _bound(
                st.selectbox, options=offered, accept_new_options=True, index=None, placeholder=placeholder
            )
            return draw, value or None
        case "sources":
            return _bound(
                st.text_area, height=100, placeholder="name = data set or file, one a line"
            ), as_typed(value)
        case "shares":
            return _bound(st.text_area, height=100, placeholder="name = 25000 or 0.25, one a line"), as_typed(
                value
            )
        case "text" if setting.key in LONG_TEXTS:
            return _bound(st.text_area, height=100), as_typed(value)
        case _:
            return st.text_input, as_typed(value)


def _bound(draw: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The widget with options of its own; its value comes from the session alone."""
    return lambda label, **more: draw(label, **options, **more)


def _is_in_bounds(setting: Setting, value: Any) -> bool:
    low = setting.low if setting.low is not None else -SAFE_INTEGER
    high = min(setting.high if setting.high is not None else SAFE_INTEGER, SAFE_INTEGER)
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def as_typed(value: Any) -> str:
    """A value as people type it in a text field."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "\n".join(f"{name} = {source}" for name, source in value.items())
    return repr(value) if isinstance(value, float) else str(value)


def as_value(setting: Setting, typed: Any) -> Any:
    """What was typed as the setting's value; as typed where it is none, so that the check can say so."""
    if typed is None:
        return "" if setting.kind == "text" else None
    if not isinstance(typed, str) or setting.kind in ("text", "choice"):
        return typed
    text = typed.strip()
    match setting.kind:
        case "number" | "integer":
            return None if setting.optional and not text else _number(text, setting.kind)
        case "integers":
            return [_number(part.strip(), "integer") for part in text.split(",") if part.strip()]
        case "texts":
            return [part.strip() for part in text.split(",") if part.strip()]
        case "sources":
            return _sources(text)
        case "shares":
            return _shares(text)
        case _:
            return typed


def _number(text: str, kind: str) -> Any:
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError:
        return text


def _sources(text: str) -> Any:
    """`name = source` lines as a mapping; the text itself where a line is none."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(equals and name.strip() and source.strip() for name, equals, source in pairs):
        return text
    return {name.strip(): source.strip() for name, _, source in pairs}


def _shares(text: str) -> Any:
    """`name = number` lines as a mapping, whole numbers kept whole; the text itself where a line is none."""
    pairs = _sources(text)
    if not isinstance(pairs, dict):
        return text
    numbers = {
        name: _number(share, "integer" if share.isdecimal() else "number") for name, share in pairs.items()
    }
    return text if any(isinstance(share, str) for share in numbers.values()) else numbers


def _keep(setting: Setting, name: str) -> None:
    """A widget's new value becomes the setting's; one of an earlier drawing, which a browser may still send, does not."""
    if not choices.is_drawn(name):
        return
    choices.change({setting.key: as_value(setting, st.session_state[name])}, redraw=False)
