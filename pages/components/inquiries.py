"""Questions that a page puts to a process, kept for this tab: asked once, never waited for, given up when stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from lpd_core.inquiry import Inquiry
from pages.components import reads

KEPT = 12


def ask(page: str, arguments: Sequence[str], about: object = None, **limits: Any) -> Inquiry:
    """The inquiry of these arguments, begun when it has not been asked yet. `about` stands for what the arguments do
    not say (the content of the files, a file's date); another question of the same `page` that is still being worked
    on is given up."""
    known: dict[str, Inquiry] = st.session_state.setdefault(f"{page}.inquiries", {})
    name = _digest(arguments, about, limits)
    if name not in known:
        for inquiry in known.values():
            if inquiry.poll() is None:
                inquiry.stop()
        while len(known) >= KEPT:
            known.pop(next(iter(known)))
        known[name] = Inquiry(arguments, reads.store().home, **limits)
    return known[name]


def forget(page: str) -> None:
    """Ask everything anew next time."""
    for inquiry in st.session_state.pop(f"{page}.inquiries", {}).values():
        inquiry.stop()


def _digest(arguments: Sequence[str], about: object, limits: dict[str, Any]) -> str:
    told = json.dumps([list(arguments), about, limits], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


@st.fragment(run_every=0.5)
def show_waiting(inquiry: Inquiry, what: str) -> None:
    """That it is being worked on, until the answer is there: then the page runs again."""
    if inquiry.poll() is not None:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/progress_activity: {what}")
    st.skeleton(height=90)
