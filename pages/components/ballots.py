"""Two answers side by side without their names, the four verdicts, and who was who afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import streamlit as st

from lpd_core.errors import LpdError
from lpd_core.store import votes
from lpd_core.store.votes import Ballot, System, Verdict
from pages.components import reads, session
from pages.components.text import plain, show_text

VERDICTS: dict[Verdict, tuple[str, str]] = {
    "a": ("A is better", "1"),
    "b": ("B is better", "2"),
    "tie": ("As good as each other", "3"),
    "both_bad": ("Both bad", "4"),
}
"""Each verdict with its words and its key."""


def system_name(system: System) -> str:
    """A system in words."""
    model = "base model" if system.iteration == 0 else f"iteration {system.iteration}"
    model += f" of {system.run}" if system.run else ""
    return f"{model}, {'first' if system.answer == 'y1' else 'refined'} answer ({system.answer})"


def shuffled(ballot: Ballot) -> Ballot:
    """The ballot, or the one with its sides exchanged, by the toss of a coin."""
    return ballot.swapped() if secrets.randbelow(2) else ballot


def show_messages(ballot: Ballot) -> None:
    """The prompt, turn by turn."""
    for message in ballot.messages:
        name = "Prompt" if message["role"] == "user" else message["role"].capitalize()
        show_text(message["content"], name, height="12rem")


def show_sides(ballot: Ballot) -> None:
    """The two answers, called A and B."""
    for column, side, response in zip(st.columns(2, gap="medium"), "AB", ballot.responses, strict=True):
        with column:
            show_text(response, f"Answer {side}")


def show_verdicts(ballot: Ballot, key: str, then: Callable[[Verdict], None]) -> None:
    """The four verdicts as buttons with a key each; the chosen one is stored, then told to `then`."""
    with st.container(horizontal=True):
        for verdict, (words, shortcut) in VERDICTS.items():
            st.button(
                words,
                key=f"{key}.{verdict}",
                shortcut=shortcut,
                on_click=_vote,
                args=(ballot, verdict, then),
                disabled=not session.may_edit(),
            )
    if not session.may_edit():
        st.caption("Voting needs a login here; sign in at the foot of the sidebar.")


def _vote(ballot: Ballot, verdict: Verdict, then: Callable[[Verdict], None]) -> None:
    try:
        session.require_edit()
        votes.record(reads.store(), ballot, session.author(), verdict)
    except LpdError as problem:  # in a callback, where no page stands around it
        st.toast(plain(problem), icon=":material/error:")
        return
    then(verdict)


def show_reveal(ballot: Ballot, verdict: Verdict) -> None:
    """Who was who, and what was said."""
    a, b = (system_name(system) for system in ballot.systems)
    st.success(f"Kept: {VERDICTS[verdict][0]}. Side A: {a}. Side B: {b}.")
