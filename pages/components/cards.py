"""Small pieces of every page: its heading, an empty state, a run's status, numbers with n and interval."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.components.session import address
from pages.components.text import plain

STATUS_COLOURS = {
    "queued": "gray",
    "running": "blue",
    "awaiting_review": "orange",
    "finished": "green",
    "failed": "red",
    "stopped": "gray",
    "interrupted": "red",
}
STAGES = {
    "e_step": "E-step",
    "cluster": "clustering",
    "relabel": "relabelling",
    "m_step": "M-step",
    "evaluate": "evaluation",
}


def show_heading(title: str, question: str) -> None:
    """A page's title and the question it answers."""
    st.title(title, anchor=False)
    st.caption(question)


def show_empty(what: str, do: str, page: str = "", label: str = "") -> None:
    """Why there is nothing to see and what to do next, with a link to the page that does it."""
    with st.container(border=True):
        st.markdown(f"**{plain(what)}**")
        st.markdown(plain(do))
        if page:
            st.page_link(page, label=label, query_params=address())


def show_status(status: str) -> None:
    """A run's state as a coloured word."""
    st.badge(status.replace("_", " "), color=STATUS_COLOURS.get(status, "gray"))


def stage_name(stage: str) -> str:
    """A stage in words."""
    return STAGES.get(stage, stage.replace("_", " "))


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign."""
    return "–" if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def with_interval(measure: Mapping[str, Any] | None, sign: bool = False) -> str:
    """A mean with its 95 % interval and n, from a row with mean, low, high and n."""
    if not measure or not measure.get("n"):
        return "not measured"
    shown = signed if sign else number
    mean, low, high = (shown(measure[name]) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}], n = {measure['n']:,}"


def show_figures(figures: Sequence[tuple[str, str, str]]) -> None:
    """Small figures side by side, each (name, value, remark); they wrap where there is no room."""
    cells = "".join(
        f"<div><span>{html.escape(name)}</span><b>{html.escape(value)}</b><i>{html.escape(remark)}</i></div>"
        for name, value, remark in figures
    )
    st.html(f'<div class="lpd-figures">{cells}</div>')


def share(part: int, whole: int) -> str:
    """A share in per cent with its n."""
    return f"{100 * part / whole:.0f} % of {whole:,}" if whole else "–"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None or math.isnan(seconds) or math.isinf(seconds):
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
