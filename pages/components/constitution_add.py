"""Adding a principle of one's own."""

from __future__ import annotations

import streamlit as st

from pages.components.constitution_effect import show_staged
from pages.components.reviews import Desk


def show_add(found: Desk) -> None:
    """A popover with the words, name and pin of a new principle."""
    seq = len(found.review.history.edits)
    with st.popover("Add a principle"):
        text = st.text_area(
            "The principle, in your words", key=f"constitution.add.text.{seq}", max_chars=4000, height=80
        )
        label = st.text_input("Label (optional)", key=f"constitution.add.label.{seq}", max_chars=300)
        note = st.text_input("Note (optional)", key=f"constitution.add.note.{seq}", max_chars=1000)
        pinned = st.toggle(
            "Pin it", key=f"constitution.add.pin.{seq}", help="Without a pin the next clustering drops it."
        )
        if not text.strip():
            st.caption(
                "It has no trajectories at first: move members into it, or let the next iterations find some."
            )
            return
        args = {"text": text, "pinned": pinned}
        args |= {name: value for name, value in (("label", label.strip()), ("note", note.strip())) if value}
        show_staged(found, "add", args, "constitution.add", "Add it")
