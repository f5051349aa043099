"""Versions: save one, restore one, and what distinguishes any two."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lpd_core import curation, gate
from lpd_core.constitution import Change, Constitution, Diff
from lpd_core.errors import LpdError
from lpd_core.store import constitutions
from pages.components import reads, session
from pages.components.cards import show_figures
from pages.components.reviews import Desk, tell
from pages.components.text import plain, show_diff, show_text

CHANGES = 40
WORDS = {
    "added": "Added",
    "removed": "Removed",
    "restored": "Restored",
    "merged": "Merged",
    "split": "Split",
    "moved": "Members moved",
    "principles_pruned": "Principles pruned",
    "principles_restored": "Principles restored",
    "renamed": "Renamed",
    "reworded": "Reworded",
    "pinned": "Pinned",
    "unpinned": "Unpinned",
    "noted": "Notes",
    "accepted": "Accepted",
    "unaccepted": "No longer accepted",
}


def show_versions(found: Desk, editing: bool) -> None:
    """The versions of the run with their names; save, compare, restore."""
    review = found.review
    if editing:
        _show_save(found)
    rows = reads.fetch(constitutions.versions, review.run_id)
    names = _aliases(review.run_id)
    if rows:
        _show_table(rows, names)
    else:
        st.caption("No version yet: one is made when you save, and when the iteration is approved.")
    _show_compare(found, rows, names)
    here = [row["version"] for row in rows if row["iteration"] == review.iteration]
    if editing and here:
        _show_restore(found, here)


def _aliases(run_id: str) -> dict[tuple[int, int], list[str]]:
    names: dict[tuple[int, int], list[str]] = {}
    for row in reads.fetch(constitutions.aliases, run_id):
        names.setdefault((row["iteration"], row["version"]), []).append(row["alias"])
    return names


def _show_table(rows: list[dict], names: dict[tuple[int, int], list[str]]) -> None:
    frame = pd.DataFrame(
        {
            "Version": [f"{row['iteration']}.{row['version']}" for row in rows],
            "Names": [", ".join(names.get((row["iteration"], row["version"]), [])) for row in rows],
            "Message": [row["message"] for row in rows],
            "Approved": [row["approved"] for row in rows],
            "Entries": [row["n_entries"] for row in rows],
            "Training rows": [row["training_rows"] for row in rows],
            "By": [row["author"] for row in rows],
            "When": [row["at"] for row in rows],
            "Digest": [(row["digest"] or "")[:12] for row in rows],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        height=min(280, 38 + 35 * len(rows)),
        column_config={"When": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
    )


def _show_save(found: Desk) -> None:
    review = found.review
    with st.form("constitution.save", border=True):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            message = st.text_input(
                "Save the present state as a version: what is it?",
                max_chars=500,
                width=380,
                key="constitution.save.message",
            )
            alias = st.text_input("Name (optional)", max_chars=60, width=160, key="constitution.save.alias")
            pressed = st.form_submit_button("Save version")
        if not pressed:
            return
        if not message.strip():
            st.caption("Say in a few words what this version is.")
            return
        try:
            session.require_edit()
            number = gate.save(
                reads.store(),
                reads.folder(review.run_id),
                review.iteration,
                session.author(),
                message.strip(),
                alias.strip() or None,
            )
            tell("done", f"Saved as version {review.iteration}.{number}")
        except LpdError as refusal:
            tell("refused", str(refusal))
        st.rerun()


def _show_compare(found: Desk, rows: list[dict], names: dict[tuple[int, int], list[str]]) -> None:
    st.markdown("**What distinguishes two states**")
    states = {"found": "as found", "now": "now"}
    for row in rows:
        where = (row["iteration"], row["version"])
        said = ", ".join(names.get(where, [])) or row["message"]
        states[f"{where[0]}.{where[1]}"] = f"version {where[0]}.{where[1]} ({said})"
    options = list(states)
    with st.container(horizontal=True):
        before = _pick_state("From", options, states, "from", "found")
        after = _pick_state("To", options, states, "to", "now")
    if before == after:
        st.caption("Choose two different states.")
        return
    with st.spinner("Comparing"):
        _show_changes(reads.fetch_once(compared, found, before, after, len(found.review.history.edits)))


def _pick_state(label: str, options: list[str], states: dict[str, str], name: str, default: str) -> str:
    asked = session.param(name, default)
    chosen = st.selectbox(
        label,
        options,
        index=options.index(asked if asked in options else default),
        format_func=states.get,
        key=f"constitution.compare.{name}",
        width=320,
    )
    session.set_param(name, None if chosen == default else chosen)
    return chosen


def compared(found: Desk, before: str, after: str, edits: int) -> Diff:
    """The difference of two states: `found`, `now` or iteration.version."""
    review = found.review
    sides = [_state(found, each) for each in (before, after)]
    return curation.compare(reads.store(), reads.folder(review.run_id), *sides)


def _state(found: Desk, name: str) -> tuple[int, Constitution]:
    review = found.review
    if name in ("found", "now"):
        return review.iteration, review.history.base if name == "found" else review.history.current
    iteration, version = map(int, name.split("."))
    return iteration, constitutions.version_entries(reads.store(), review.run_id, iteration, version)


def _show_changes(found: Diff) -> None:
    if found.rows_before is not None and found.rows_after is not None:
        rows = f"{found.rows_before:,} → {found.rows_after:,}"
        show_figures([("Training rows", rows, ""), ("Changes", f"{len(found.changes):,}", "")])
    if not found.same_clustering:
        st.caption(
            "The two come from different clusterings: entries are paired by the principles they share, then by distance."
        )
    if not found.changes:
        st.caption("Nothing differs.")
    for kind, title in WORDS.items():
        some = [change for change in found.changes if change.kind == kind]
        if some:
            st.markdown(f"**{title}: {len(some):,}**")
            for change in some[:CHANGES]:
                _show_change(change)
            if len(some) > CHANGES:
                st.caption(f"and {len(some) - CHANGES:,} more")


def _show_change(change: Change) -> None:
    name = plain(change.entry_id or "unclustered")
    others = plain(", ".join(change.others))
    if change.kind in ("reworded", "renamed", "noted"):
        show_diff(
            change.before, change.after, change.entry_id + (f" (was {others})" if others else ""), "8rem"
        )
    elif change.kind == "merged":
        show_text(change.after, f"{change.entry_id}, from {', '.join(change.others)}", "6rem")
    elif change.kind == "split":
        show_text(change.before, f"{change.entry_id}, into {', '.join(change.others)}", "6rem")
    elif change.principles:
        source = f" from {others}" if others else ""
        st.markdown(f"{name}{source}: {len(change.principles):,} principles")
    elif change.before or change.after:
        show_text(change.after or change.before, change.entry_id, "6rem")
    else:
        st.markdown(name)


def _show_restore(found: Desk, here: list[int]) -> None:
    review = found.review
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox(
            "Bring back a version of this iteration",
            here[::-1],
            format_func=lambda each: f"{review.iteration}.{each}",
            key="constitution.restore.version",
            width=260,
        )
        pressed = st.button("Restore it as a new version", key="constitution.restore.apply")
    if pressed:
        try:
            session.require_edit()
            number = gate.restore_version(
                reads.store(), reads.folder(review.run_id), review.iteration, version, session.author()
            )
            tell("done", f"Version {review.iteration}.{version} is back as {review.iteration}.{number}")
        except LpdError as refusal:
            tell("refused", str(refusal))
        st.rerun()
