"""The principles behind an entry, and what can be done to some of them: move, prune, speak for the entry, stand alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from lpd_core.constitution import Entry
from lpd_core.types import Member
from pages.components.constitution_effect import show_staged
from pages.components.constitution_pick import pick_entry
from pages.components.reviews import Desk
from pages.components.text import clip, plain

ROWS = 20
ACTIONS = {
    "move": "Move to another entry",
    "medoid": "Let it speak for the entry",
    "prune": "Prune",
    "add": "Make an entry of its own",
}


def show_members(found: Desk, entry: Entry, editing: bool) -> None:
    """An entry's members, the most frequent first; those selected can be moved, pruned, or given the word."""
    if not entry.members:
        st.caption("No member: a person added this principle. Move members here from other entries.")
    else:
        chosen = select_members(found, entry.members, f"constitution.members.{entry.entry_id}", editing)
        if editing and entry.status == "active":
            _show_actions(found, entry, chosen)
    _show_pruned(found, entry, editing)


def select_members(found: Desk, members: Sequence[Member], key: str, editing: bool) -> list[str]:
    """A paged table of principles; the ids selected."""
    texts = found.review.history.current.texts
    ordered = sorted(members, key=lambda each: (-each.count, each.distance, each.principle_id))
    pages = -(-len(ordered) // ROWS)
    page = st.pagination(pages, key=f"{key}.page") if pages > 1 else 1
    shown = ordered[(page - 1) * ROWS : page * ROWS]
    frame = pd.DataFrame(
        {
            "Principle": [clip(" ".join(texts[each.principle_id].split()), 300) for each in shown],
            "Trajectories": [each.count for each in shown],
            "Distance to the mean": [each.distance for each in shown],
        }
    )
    options = {"on_select": "rerun", "selection_mode": "multi-row"} if editing else {}
    event = st.dataframe(
        frame,
        hide_index=True,
        height=min(260, 38 + 35 * len(shown)),
        key=f"{key}.{page}.{len(found.review.history.edits)}",
        column_config={
            "Principle": st.column_config.TextColumn(width=520),
            "Distance to the mean": st.column_config.NumberColumn(
                format="%.3f", help="Cosine distance to the mean of the cluster in which it was found."
            ),
        },
        **options,
    )
    rows = event["selection"]["rows"] if editing else []
    return [shown[row].principle_id for row in rows if row < len(shown)]


def _show_actions(found: Desk, entry: Entry, chosen: list[str]) -> None:
    if not chosen:
        st.caption("Select members at the left edge of the table to move, prune or promote them.")
        return
    n = len(chosen)
    actions = [each for each in ACTIONS if n == 1 or each != "medoid"]
    action = st.segmented_control(
        f"{n:,} selected",
        actions,
        format_func=ACTIONS.get,
        default="move",
        required=True,
        key=f"constitution.members.action.{n == 1}",
    )
    if action == "move":
        target = pick_entry(found, "Into", f"constitution.move.{entry.entry_id}", {entry.entry_id})
        if target:
            args = {"principle_ids": chosen, "to": target}
            show_staged(found, "move", args, "constitution.move", f"Move {n:,} into {target}")
    elif action == "medoid":
        args = {"id": entry.entry_id, "principle_id": chosen[0]}
        show_staged(found, "medoid", args, "constitution.medoid", "Let it speak for the entry")
    elif action == "prune":
        show_staged(
            found, "prune", {"principle_ids": chosen}, "constitution.prune.members", f"Prune {n:,} principles"
        )
    elif action == "add":
        first = found.review.history.current.texts[chosen[0]]
        text = st.text_input("Its words", first, key=f"constitution.own.{chosen[0]}", max_chars=4000)
        args = {"text": text, "principle_ids": chosen}
        show_staged(found, "add", args, "constitution.own", "Make it an entry")


def _show_pruned(found: Desk, entry: Entry, editing: bool) -> None:
    """The principles pruned one by one from this entry, to take back."""
    gone = [
        each.member
        for each in found.review.history.current.pruned.values()
        if each.entry_id == entry.entry_id
    ]
    if not gone:
        return
    st.markdown(f"**{len(gone):,} pruned from it one by one**")
    chosen = select_members(found, gone, f"constitution.gone.{entry.entry_id}", editing)
    if editing and chosen:
        args = {"principle_ids": chosen}
        show_staged(found, "restore", args, "constitution.restore", f"Restore {len(chosen):,} principles")


def show_loose(found: Desk, editing: bool) -> None:
    """The principles that no entry holds: those the clustering left out and those pruned one by one."""
    here = found.review.history.current
    _show_unclustered(found, list(here.unclustered.values()), editing)
    pruned = [each.member for each in here.pruned.values()]
    st.markdown(f"**Pruned one by one: {len(pruned):,} principles**")
    if not pruned:
        st.caption("None. Single principles are pruned under an entry's Members.")
        return
    chosen = select_members(found, pruned, "constitution.loose.pruned", editing)
    if editing and chosen:
        target = pick_entry(found, "Into (where they came from, if empty)", "constitution.loose.to")
        args = {"principle_ids": chosen} | ({"to": target} if target else {})
        show_staged(
            found, "restore", args, "constitution.loose.restore", f"Restore {len(chosen):,} principles"
        )


def _show_unclustered(found: Desk, loose: list[Member], editing: bool) -> None:
    st.markdown(f"**Unclustered: {len(loose):,} principles**")
    if not loose:
        st.caption("None: the clustering placed every principle.")
        return
    st.caption("They are trained on in their own words until they are moved into an entry or pruned.")
    chosen = select_members(found, loose, "constitution.loose", editing)
    if not (editing and chosen):
        return
    prune = st.toggle("Prune them instead of moving them", key="constitution.loose.prune")
    if prune:
        label = f"Prune {len(chosen):,} principles"
        show_staged(found, "prune", {"principle_ids": chosen}, "constitution.loose.pruning", label)
        return
    target = pick_entry(found, "Move them into", "constitution.loose.into")
    if target:
        args = {"principle_ids": chosen, "to": target}
        show_staged(
            found, "move", args, "constitution.loose.move", f"Move {plain(len(chosen))} into {target}"
        )
