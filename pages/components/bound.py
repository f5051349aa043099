"""Widgets whose values stand in the address: the address is the truth, and a change writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.components import session

Range = tuple[float | None, float | None]


class Bound:
    """The widgets of one page. A change of any of them also drops the parameters `resets` (a page number, say)."""

    def __init__(self, page: str, resets: Sequence[str] = ()):
        self._page = page
        self._resets = resets

    def _place(self, name: str, value: Any, write: Callable[[Any], object]) -> dict[str, Any]:
        key = f"{self._page}.{name}"
        st.session_state[key] = value
        return {"key": key, "on_change": self._changed, "args": (name, write)}

    def _changed(self, name: str, write: Callable[[Any], object]) -> None:
        session.set_param(name, write(st.session_state[f"{self._page}.{name}"]))
        for other in self._resets:
            session.set_param(other, None)

    def text(self, name: str, label: str, **options: Any) -> str:
        """A line of text."""
        return st.text_input(label, **self._place(name, session.param(name), str.strip), **options).strip()

    def choice(self, name: str, label: str, options: Sequence[str], default: str = "", **more: Any) -> str:
        """One of some options; the default one is not written."""
        value = session.param(name, default)
        value = value if value in options else default
        placed = self._place(name, value, lambda chosen: None if chosen == default else chosen)
        return st.selectbox(label, options, **placed, **more)

    def segment(self, name: str, label: str, options: Sequence[str], default: str, **more: Any) -> str:
        """One of a few options side by side; the default one is not written."""
        value = session.param(name, default)
        value = value if value in options else default
        placed = self._place(name, value, lambda chosen: None if chosen == default else chosen)
        return st.segmented_control(label, options, required=True, **placed, **more)

    def choices(self, name: str, label: str, options: Sequence[str], **more: Any) -> tuple[str, ...]:
        """Any of some options; none means all."""
        value = [each for each in listed(name) if each in options]
        return tuple(st.multiselect(label, options, **self._place(name, value, ",".join), **more))

    def switch(self, name: str, label: str, **more: Any) -> bool:
        """On or off (not written)."""
        placed = self._place(name, session.param(name) == "1", lambda on: "1" if on else None)
        return st.toggle(label, **placed, **more)

    def span(self, name: str, label: str, low: float, high: float, **more: Any) -> Range:
        """A range; an end at the limit is open."""
        begin, end = read_span(session.param(name))
        value = (
            low if begin is None else min(max(begin, low), high),
            high if end is None else min(max(end, low), high),
        )
        placed = self._place(name, tuple(sorted(value)), lambda pair: _span_text(pair, low, high))
        begin, end = st.slider(label, low, high, step=0.01, **placed, **more)
        return (None if begin <= low else begin, None if end >= high else end)


def listed(name: str) -> list[str]:
    """The values of a parameter that holds several."""
    return [each for each in session.param(name).split(",") if each]


def read_span(text: str) -> Range:
    """A range from its text, `0.2..0.8` with either end open; what cannot be read is open."""
    begin, _, end = text.partition("..")
    return _number(begin), _number(end)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e6 else None


def _span_text(pair: tuple[float, float], low: float, high: float) -> str | None:
    begin = "" if pair[0] <= low else f"{pair[0]:g}"
    end = "" if pair[1] >= high else f"{pair[1]:g}"
    return f"{begin}..{end}" if begin or end else None
