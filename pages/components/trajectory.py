"""The card of one prompt: what was asked, written, scored and decided, and where else the prompt was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from lpd_core.config import RunConfig
from lpd_core.store import exploring
from lpd_core.store.card import Card, card, elsewhere
from lpd_core.types import Draft
from pages.components import reads, session
from pages.components.cards import number, show_empty, signed
from pages.components.chats import show_chats
from pages.components.filters import asked_filter
from pages.components.reasons import needed, reason
from pages.components.text import cell, plain, show_diff, show_text

RIGHT = {
    True: " Its principle is one known to be right for this prompt.",
    False: " Its principle is not among those known to be right for this prompt.",
}


def show_card(run_id: str, iteration: int, prompt_id: str) -> None:
    """The card of a prompt in an iteration of a run."""
    show_steps(run_id, iteration, prompt_id)
    found = reads.fetch(card, run_id, iteration, prompt_id)
    if found is None:
        show_empty(
            "There is no such prompt here.",
            "Perhaps the link is of another installation; go back to the list.",
        )
        return
    config = reads.folder(run_id).config()
    show_prompt(found)
    if found.candidates:
        show_mined(found, config)
    elif found.draft:
        show_text(found.draft.text, "Draft y1")
        st.info("The draft is written; the candidates of this prompt are not committed yet.")
    for row in found.heldout:
        show_heldout(found, row)
    if found.candidates or found.heldout:
        show_chats(reads.folder(run_id), config, found, chosen_candidate(found))
    else:
        st.info(f"Iteration {iteration} of this run does not use this prompt; below is who does.")
    show_elsewhere(run_id, iteration, prompt_id)


def show_steps(run_id: str, iteration: int, prompt_id: str) -> None:
    """Back to the list, to the previous and to the next prompt, and where in the list this one stands."""
    order = session.param("order", "gain")
    order = order if order in exploring.ORDERS else "gain"
    here = reads.fetch(exploring.place, asked_filter(run_id, iteration), order, iteration, prompt_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Back to the list", on_click=go_to, args=(None,), key="trajectory.back", shortcut="Escape")
        st.button(
            "Previous",
            on_click=go_to,
            args=(here.before,),
            disabled=here.before is None,
            key="trajectory.before",
            shortcut="Left",
        )
        st.button(
            "Next",
            on_click=go_to,
            args=(here.after,),
            disabled=here.after is None,
            key="trajectory.after",
            shortcut="Right",
        )
        if here.number:
            st.caption(f"Prompt {here.number:,} of {here.count:,} in the list")
        elif here.count:
            st.caption(f"Not among the {here.count:,} prompts in the list; Next goes to its first")


def go_to(prompt: tuple[int, str] | None) -> None:
    """Put a prompt into the address, or take it out."""
    session.set_param("sample", None)
    session.set_param("prompt", prompt[1] if prompt else None)
    if prompt:
        session.set_param("iteration", prompt[0])


def show_prompt(found: Card) -> None:
    """x, turn by turn."""
    example = found.example
    st.caption(f"{plain(example.prompt_id)}, split {plain(example.split)}")
    for message in example.messages:
        show_text(message["content"], f"x, {message['role']}", height="16rem")


def chosen_candidate(found: Card) -> Mapping[str, Any] | None:
    """The candidate that the address names, else the selected one, else the one that came closest."""
    asked = session.param("sample")
    for row in found.candidates:
        if asked == str(row["sample"]):
            return row
    return max(
        found.candidates,
        key=lambda row: (row["selected"], -1.0 if row["gain"] is None else row["gain"]),
        default=None,
    )


def show_mined(found: Card, config: RunConfig) -> None:
    """The draft, one candidate beside it, and all candidates with why."""
    chosen = chosen_candidate(found)
    draft_score = found.draft.score if found.draft else None
    st.subheader(f"Candidate {chosen['sample'] + 1} of {len(found.candidates):,}", anchor=False)
    st.markdown(f"**{plain(reason(chosen, draft_score, config.e_step))}**")
    st.caption(plain(needed(draft_score, config.e_step)))
    show_sides(_draft_text(found.draft), chosen, found.example.gold, draft_score)
    if chosen["critique"]:
        show_text(chosen["critique"], "Critique")
    if chosen["trained"] and chosen["trained"] != chosen["principle"]:
        show_text(
            chosen["trained"], "Trained on as (the principle's representative in the approved constitution)"
        )
    show_candidates(found, draft_score, config)


def _draft_text(draft: Draft | None) -> str:
    return draft.text if draft else ""


def show_sides(draft: str, row: Mapping[str, Any], gold: str, draft_score: float | None) -> None:
    """y1, z, y2 and gold side by side, y2 word by word against y1 and the gold against y2."""
    marked = session.param("marks", "1") == "1"
    with st.grid(4, min_column_width=190) as grid:
        with grid.cell():
            show_text(draft, f"Draft y1, f = {number(draft_score)}")
        with grid.cell():
            show_text(row["principle"], "Principle z")
        with grid.cell():
            title = f"Answer y2, f = {number(row['score'])}, gain {signed(_gain(row, draft_score))}"
            show_diff(draft, row["response"] or "", title) if marked and row["response"] else show_text(
                row["response"], title
            )
        with grid.cell():
            show_diff(row["response"], gold, "Gold, against y2") if marked and row["response"] else show_text(
                gold, "Gold"
            )
    st.toggle(
        "Mark words added and removed",
        value=marked,
        key="trajectory.marks",
        on_change=lambda: session.set_param("marks", None if st.session_state["trajectory.marks"] else "0"),
    )


def _gain(row: Mapping[str, Any], draft_score: float | None) -> float | None:
    return None if row["score"] is None or draft_score is None else row["score"] - draft_score


def show_candidates(found: Card, draft_score: float | None, config: RunConfig) -> None:
    """Every candidate of the prompt with the sentence that says why."""
    rows = found.candidates
    table = pd.DataFrame(
        {
            "Candidate": [row["sample"] + 1 for row in rows],
            "f(y2)": [number(row["score"]) for row in rows],
            "Gain": [row["gain"] for row in rows],
            "Why": [reason(row, draft_score, config.e_step) for row in rows],
            "Principle": [cell(row["principle"]) for row in rows],
        }
    )
    samples = [row["sample"] for row in rows]

    def choose() -> None:
        ticked = st.session_state["trajectory.candidates"]["selection"]["rows"]
        session.set_param("sample", samples[ticked[0]] if ticked else None)

    st.dataframe(
        table,
        hide_index=True,
        on_select=choose,
        selection_mode="single-row",
        key="trajectory.candidates",
        height=min(len(rows), 12) * 33 + 36,
        column_config={
            "Gain": st.column_config.NumberColumn(format="%+.3f"),
            "Principle": st.column_config.TextColumn(width="medium"),
            "Why": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption("Tick a candidate to see it above.")


def show_heldout(found: Card, row: Mapping[str, Any]) -> None:
    """What the model of this iteration answered to a held-out prompt, by itself."""
    st.subheader(f"Held-out answer ({plain(row['benchmark'])})", anchor=False)
    st.caption(
        f"No gold was shown and nothing was selected: x, y1, z, y2 by one model.{RIGHT.get(row['right'], '')}"
    )
    show_sides(row["draft"] or "", row, found.example.gold, row["draft_score"])


def show_elsewhere(run_id: str, iteration: int, prompt_id: str) -> None:
    """The same prompt in other iterations and runs."""
    rows = reads.fetch(elsewhere, prompt_id)
    st.subheader("This prompt across iterations and runs", anchor=False)
    if not rows:
        st.caption("No run has used it yet.")
        return
    table = pd.DataFrame(
        {
            "Run": [cell(row["run_id"]) for row in rows],
            "Iteration": [row["iteration"] for row in rows],
            "Used": [
                cell(row["used"]) if row["used"] == "mined" else f"held-out {cell(row['used'])}"
                for row in rows
            ],
            "f(y1)": [number(row["draft_score"]) for row in rows],
            "f(y2)": [number(row["score"]) for row in rows],
            "Gained": ["" if row["tried"] is None else f"{row['gained']} of {row['tried']}" for row in rows],
            "Principle": [cell(row["principle"] or "") for row in rows],
        }
    )

    key = f"trajectory.elsewhere.{run_id}.{iteration}"

    def visit() -> None:
        ticked = st.session_state[key]["selection"]["rows"]
        if ticked:
            session.set_param("sample", None)
            session.set_param("run", rows[ticked[0]]["run_id"])
            session.set_param("iteration", rows[ticked[0]]["iteration"])

    st.dataframe(
        table,
        hide_index=True,
        on_select=visit,
        selection_mode="single-row",
        key=key,
        height=min(len(rows), 10) * 33 + 36,
        column_config={
            "f(y2)": st.column_config.TextColumn(help="The best answer's, where several were tried"),
            "Principle": st.column_config.TextColumn(width="large"),
        },
    )
