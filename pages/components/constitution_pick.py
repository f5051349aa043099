"""Choosing one entry of thousands: a search that leads to at most a few dozen choices."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from lpd_core.constitution import Entry
from pages.components.reviews import Desk
from pages.components.text import clip

CHOICES = 40


def pick_entry(found: Desk, label: str, key: str, without: Collection[str] = ()) -> str | None:
    """The id of an active entry that a person chose, None before; `without` are not offered."""
    active = [
        e
        for e in found.review.history.current.by_id.values()
        if e.status == "active" and e.entry_id not in without
    ]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(active) > CHOICES:
            wanted = st.text_input("Search an entry", key=f"{key}.search", width=200).strip().casefold()
            active = [e for e in active if wanted in f"{e.entry_id} {e.label} {e.text}".casefold()]
        active.sort(key=lambda entry: -entry.trajectories)
        names = {entry.entry_id: _name(entry) for entry in active[:CHOICES]}
        return st.selectbox(
            label, list(names), index=None, format_func=names.get, key=key, placeholder="Choose an entry"
        )


def _name(entry: Entry) -> str:
    return f"{entry.entry_id}  {clip(' '.join(entry.label.split()), 90)}"
