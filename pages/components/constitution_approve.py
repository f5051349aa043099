"""Approve and go on: the summary a person signs, and the run that is released by it."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from lpd_core import gate, jobs
from lpd_core.constitution import effective_edits
from lpd_core.errors import LpdError
from lpd_core.queue import Queue
from pages.components import reads, session
from pages.components.constitution_effect import show_impact
from pages.components.reviews import tell
from pages.components.text import plain

APPROVING = "constitution.approving"


def open_approval(review: gate.Review) -> None:
    """Open the dialog, and keep it open until it is dismissed or done with."""
    st.session_state[APPROVING] = (review.run_id, review.iteration, len(review.history.edits))


def is_approving(review: gate.Review) -> bool:
    """Whether the dialog is open for this review."""
    return st.session_state.get(APPROVING, ())[:2] == (review.run_id, review.iteration)


def _close() -> None:
    st.session_state.pop(APPROVING, None)


@st.dialog("Approve the constitution and go on", width="medium", on_dismiss=_close)
def ask_approval(review: gate.Review) -> None:
    """What the M-step will be trained on, a message, and the button."""
    log = review.history
    active = sum(entry.status == "active" for entry in log.current.by_id.values())
    st.markdown(
        f"Iteration {review.iteration} of {plain(review.run_id)} will be trained on **{active:,} principles**. "
        "After this it takes no more edits."
    )
    ops = Counter(edit.op for edit in effective_edits(log.edits))
    done = ", ".join(f"{n} × {op.replace('_', ' ')}" for op, n in ops.most_common()) or "none: as found"
    st.markdown(f"Edits in force: {plain(done)}")
    show_impact(gate.effect_of(review, log.base, log.current), review.replaces, "constitution.approving")
    message = st.text_input(
        "Message, kept with the version", "approved", max_chars=500, key="constitution.message"
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        hold = st.button(
            "Approve only", key="constitution.approve.hold", help="The run goes on when you resume it."
        )
        go_on = st.button("Approve and go on", type="primary", key="constitution.approve.go")
    if hold or go_on:
        _approve(review, message.strip() or "approved", go_on)
    open_approval(review)  # by now the person has this state in sight


def _approve(review: gate.Review, message: str, go_on: bool) -> None:
    store, folder = reads.store(), reads.folder(review.run_id)
    seen = st.session_state[APPROVING][2]
    _close()
    try:
        session.require_edit()
        with st.spinner("Writing the version"):
            version = gate.approve(store, folder, review.iteration, session.author(), message, seen=seen)
        jobs.release(store, folder)
        place = Queue(store).start_or_add(review.run_id) if go_on else None
        further = {None: "resume the run to go on", 0: "the run goes on"}.get(
            place, f"the run waits at place {place} in the queue"
        )
        tell("done", f"Approved as version {review.iteration}.{version}; {further}")
    except LpdError as refusal:
        tell("refused", str(refusal))
    st.rerun()


def waits_here(run_id: str, iteration: int) -> bool:
    """Whether the run waits for the review of this very iteration."""
    state = reads.folder(run_id).state()
    return state.status == "awaiting_review" and state.iteration == iteration
