"""What the model was sent, turn by turn, with the cue texts kept in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from lpd_core import prompts
from lpd_core.config import RunConfig
from lpd_core.prompts import Chat, Templates
from lpd_core.store import RunFolder
from lpd_core.store.card import Card
from pages.components.text import show_text

Shown = tuple[Chat, str, str]
"""A chat, what the model answered, and the answer's name."""


def show_chats(
    folder: RunFolder, config: RunConfig, found: Card, candidate: Mapping[str, Any] | None
) -> None:
    """A choice of the chats behind a card; the chosen one turn by turn, exactly as sent to the chat template."""
    templates = prompts.load_templates(folder.prompts(config))
    chats = (
        mined_chats(templates, found, candidate)
        if candidate is not None
        else heldout_chats(templates, found, found.heldout[0])
    )
    st.subheader("What the model was sent", anchor=False)
    name = st.segmented_control("Chat", list(chats), key="trajectory.chat", label_visibility="collapsed")
    if name is None:
        st.caption(
            "Pick a chat to read it turn by turn; the model's chat template adds only its turn markers."
        )
        return
    chat, answer, what = chats[name]()
    for message in chat:
        show_text(message["content"], f"{message['role']}", height="14rem")
    show_text(answer, f"assistant: {what}", height="14rem")


def mined_chats(templates: Templates, found: Card, row: Mapping[str, Any]) -> dict[str, Callable[[], Shown]]:
    """The E-step's chats of a candidate, as far as it came, and the training row's."""
    x, y1 = found.example.messages, found.draft.text if found.draft else ""
    chats: dict[str, Callable[[], Shown]] = {"Draft": lambda: (prompts.opening(templates, x), y1, "y1")}
    if row["status"] == "skipped_good_draft":
        return chats
    chats["Propose"] = lambda: (
        prompts.propose_chat(templates, x, y1, found.example.gold),
        row["raw_principle"],
        "z, as the model wrote it",
    )
    if row["critique"]:
        chats["Critique"] = lambda: (
            prompts.critique_chat(templates, x, y1, row["principle"]),
            row["critique"],
            "the critique",
        )
    if row["finish_reason"]:
        chats["Refine"] = lambda: (
            prompts.refine_chat(templates, x, y1, row["principle"], row["critique"]),
            row["response"],
            "y2",
        )
    if row["trained"]:
        chats["Trained on"] = lambda: (
            prompts.refine_chat(templates, x, y1, row["trained"]),
            row["response"],
            "y2; the loss is on this turn and on that of the principle",
        )
    return chats


def heldout_chats(
    templates: Templates, found: Card, row: Mapping[str, Any]
) -> dict[str, Callable[[], Shown]]:
    """The three chats of the measurement; none shows the gold."""
    x, y1, z = found.example.messages, row["draft"] or "", row["principle"] or ""
    return {
        "Draft": lambda: (prompts.opening(templates, x), y1, "y1"),
        "Principle": lambda: (prompts.principle_chat(templates, x, y1), z, "z"),
        "Refine": lambda: (prompts.refine_chat(templates, x, y1, z), row["response"], "y2"),
    }
