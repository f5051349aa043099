"""Splitting an entry: by lasso on the map of its members, into k, at a lower distance, or by picking members."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from lpd_core.constitution import Entry, groups_by_k, groups_by_threshold
from lpd_core.errors import EditRefused
from lpd_core.store import entries as entry_store
from pages.components import colours, reads
from pages.components.charts import show_chart, styled
from pages.components.constitution_effect import show_staged
from pages.components.constitution_members import select_members
from pages.components.reviews import Desk, merge_tree
from pages.components.text import clip, hover, plain

WAYS = {
    "lasso": "Lasso on the map",
    "k": "Into k parts",
    "threshold": "At a lower distance",
    "pick": "Picking members",
}
PARTS_LISTED = 8


def show_split(found: Desk, entry: Entry) -> None:
    """Ways to split an entry, the parts that result, and the effect."""
    if len(entry.members) < 2:
        st.caption("An entry needs two members or more to be split.")
        return
    way = st.segmented_control(
        "How",
        list(WAYS),
        format_func=WAYS.get,
        default="lasso",
        required=True,
        key="constitution.split.way",
        label_visibility="collapsed",
    )
    try:
        groups = _groups(found, entry, way or "lasso")
    except EditRefused as refusal:
        st.caption(f"Not possible as it stands: {plain(refusal)}")
        return
    if len(groups) < 2:
        return
    _show_parts(found, groups)
    args = {"id": entry.entry_id, "groups": groups}
    show_staged(found, "split", args, "constitution.split", f"Split into {len(groups):,}")


def _groups(found: Desk, entry: Entry, way: str) -> list[list[str]]:
    """The parts as principle ids; fewer than two while nothing is chosen."""
    ids = [member.principle_id for member in entry.members]
    if way in ("lasso", "pick"):
        chosen = set(_lassoed(found, entry) if way == "lasso" else _picked(found, entry))
        inside = [each for each in ids if each in chosen]
        outside = [each for each in ids if each not in chosen]
        if inside and not outside:
            st.caption("All members are inside; leave at least one out.")
        return [group for group in (outside, inside) if group] if inside else []
    merges, order = merge_tree(found.review.run_id, found.review.iteration)
    if way == "k":
        k = st.slider("Parts", 2, min(len(ids), 12), 2, key="constitution.split.k") if len(ids) > 2 else 2
        return groups_by_k(merges, order, ids, k)
    threshold = st.slider(
        "Cosine distance at which the merge tree is cut",
        0.0,
        1.0,
        0.3,
        0.01,
        key="constitution.split.threshold",
    )
    groups = groups_by_threshold(merges, order, ids, threshold)
    if len(groups) < 2:
        st.caption("At this distance it stays whole; lower it.")
    return groups


def _lassoed(found: Desk, entry: Entry) -> list[str]:
    """The members inside the lasso or box drawn on the map."""
    review = found.review
    ids = tuple(member.principle_id for member in entry.members)
    places = reads.fetch(entry_store.places, review.run_id, review.iteration, ids)
    if len(places) < 2:
        st.caption("The members have no places on a map; choose another way.")
        return []
    st.caption(
        "Draw around the members that are to be an entry of their own (the lasso and the box are above the map)."
    )
    figure, rows = _map(found, entry, places)
    chosen = show_chart(
        figure,
        rows,
        key=f"constitution.map.{entry.entry_id}.{len(review.history.edits)}",
        alt=f"Map of the {len(rows)} members of entry {entry.entry_id}",
        select=("lasso", "box"),
    )
    return [rows[point["point_index"]]["principle_id"] for point in chosen.get("points", ())]


def _map(found: Desk, entry: Entry, places: dict[str, tuple[float, float]]):
    texts = found.review.history.current.texts
    members = [member for member in entry.members if member.principle_id in places]
    rows = [
        {
            "principle_id": member.principle_id,
            "x": places[member.principle_id][0],
            "y": places[member.principle_id][1],
            "trajectories": member.count,
            "principle": texts[member.principle_id],
        }
        for member in members
    ]
    figure = go.Figure(
        go.Scatter(
            x=[row["x"] for row in rows],
            y=[row["y"] for row in rows],
            mode="markers",
            text=[f"{hover(row['principle'], 90)}<br>{row['trajectories']} trajectories" for row in rows],
            hovertemplate="%{text}<extra></extra>",
            marker={
                "size": [min(26, 8 + 3 * member.count**0.5) for member in members],
                "color": colours.of_cluster(entry.entry_id),
                "opacity": 0.75,
                "line": {"width": 1, "color": "rgba(128,128,128,.6)"},
            },
        )
    )
    bare = {"showticklabels": False, "zeroline": False, "showgrid": False, "title": None, "automargin": True}
    return styled(figure, 300, dragmode="lasso", xaxis=bare, yaxis=bare, showlegend=False), rows


def _picked(found: Desk, entry: Entry) -> list[str]:
    st.caption("Select the members that are to be an entry of their own; a page at a time.")
    return select_members(found, entry.members, f"constitution.pick.{entry.entry_id}", True)


def _show_parts(found: Desk, groups: list[list[str]]) -> None:
    texts = found.review.history.current.texts
    for number, group in enumerate(groups[:PARTS_LISTED], start=1):
        first = clip(" ".join(texts[group[0]].split()), 120)
        st.markdown(f"Part {number}: **{len(group):,}** principles, for instance: {plain(first)}")
    if len(groups) > PARTS_LISTED:
        st.caption(f"and {len(groups) - PARTS_LISTED:,} more parts")
