"""What edits do to the training set: figures of an impact, the card of an edit not yet made, the totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from lpd_core import gate
from lpd_core.constitution import Impact, tally
from lpd_core.errors import EditRefused
from pages.components import session
from pages.components.cards import show_figures
from pages.components.reviews import Desk, commit
from pages.components.text import plain

PROMPTS_LISTED = 20


def figures(effect: Impact) -> list[tuple[str, str, str]]:
    """An impact as (name, value, remark)."""
    total = effect.rows_before
    rows = effect.rows_after - effect.rows_before
    tokens = effect.tokens_after - effect.tokens_before
    return [
        ("Training rows", f"{effect.rows_before:,} → {effect.rows_after:,}", _change(rows)),
        ("Trained tokens, estimated", f"{effect.tokens_before:,} → {effect.tokens_after:,}", _change(tokens)),
        ("Relabelled", f"{effect.relabelled:,}", f"of {total:,} trajectories"),
        ("Lost", f"{effect.lost:,}", f"of {total:,} trajectories"),
        ("Regained", f"{effect.regained:,}", "trajectories"),
        ("Prompts left without any", f"{len(effect.prompts_lost):,}", "lose their last trajectory"),
    ]


def _change(difference: int) -> str:
    return "unchanged" if not difference else f"{difference:+,}".replace("-", "−")


def show_impact(effect: Impact, replaces: bool, key: str) -> None:
    """An impact's figures, and the prompts that lose their last trajectory."""
    show_figures(figures(effect))
    if not replaces:
        st.caption(
            "This run trains on the principles as they were mined (cluster.label = none): only pruning changes it."
        )
    if effect.prompts_lost:
        with st.expander(f"The {len(effect.prompts_lost):,} prompts that lose their last trajectory"):
            for prompt_id in effect.prompts_lost[:PROMPTS_LISTED]:
                st.page_link(
                    "pages/trajectories.py",
                    label=plain(prompt_id),
                    query_params=session.address(prompt=prompt_id),
                )
            if len(effect.prompts_lost) > PROMPTS_LISTED:
                st.caption(f"The first {PROMPTS_LISTED} of {len(effect.prompts_lost):,}.")


def show_staged(
    found: Desk, op: str, args: Mapping[str, Any], key: str, label: str, shortcut: str | None = None
) -> None:
    """An edit that is not made yet: its effect, a reason, and the button that makes it; or why it is impossible."""
    with st.container(border=True):
        try:
            effect = gate.preview(found.review, op, args)[1]
        except EditRefused as refusal:
            st.caption(f"Not possible as it stands: {plain(refusal)}")
            return
        st.markdown("**What this would do**")
        show_impact(effect, found.review.replaces, key)
        seq = len(found.review.history.edits)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            reason = st.text_input(
                "Why (kept in the history)", key=f"{key}.reason.{seq}", max_chars=500, width=360
            )
            if st.button(label, type="primary", key=f"{key}.apply", shortcut=shortcut):
                commit(found, op, args, reason)


def show_totals(found: Desk, editing: bool) -> None:
    """The effect of all edits so far against the constitution as found."""
    log, review = found.review.history, found.review
    effect = gate.effect_of(review, log.base, log.current)
    pruned = tally(log.current).pruned.principles
    entries = f"{_active(log.base):,} → {_active(log.current):,}"
    remark = f"{pruned:,} principles pruned" if pruned else "none pruned"
    if log.edits:
        st.caption(f"After edit {len(log.edits):,} of the history, against the constitution as found")
    else:
        st.caption(
            "As found; every edit shows here what it changes" if editing else "As found, without any edit"
        )
    show_figures([("Entries", entries, remark), *figures(effect)])


def _active(constitution) -> int:
    return sum(entry.status == "active" for entry in constitution.by_id.values())
