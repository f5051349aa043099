"""Which principles were discovered: the map, the clusters, how they hang together and how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lpd_core import resident
from lpd_core.errors import LpdError
from lpd_core.store import Store, constitutions, principles
from lpd_core.store.principles import Points
from pages.components import principle_selection as selection
from pages.components import reads, session
from pages.components.cards import number, show_empty, show_heading
from pages.components.charts import show_chart
from pages.components.principle_charts import lit_points, map_chart
from pages.components.principle_dendrogram import show_dendrogram
from pages.components.principle_selection import Looking, Selection
from pages.components.principle_views import (
    show_clusters,
    show_examples,
    show_keywords,
    show_lineage,
    show_member,
)
from pages.components.text import cell, plain

DRAWN = 10_000  # of more points a sample is drawn
MEMBERS = 12
NEAREST = 24
MEANING, WORDS = "By meaning", "By words"
VIEWS = {
    "Clusters": show_clusters,
    "Dendrogram": show_dendrogram,
    "Keywords": show_keywords,
    "Lineage": show_lineage,
}


def vector_of_text(store: Store, text: str, embedder: str) -> tuple[float, ...]:
    """A text's unit vector, from the process that keeps the embedder."""
    return tuple(resident.embed(store, [text], embedder)[0])


def show_search() -> tuple[str, str]:
    """The search field; returns the text and whether it is meant by meaning or by words, both kept in the address."""
    asked = session.param("find")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Find principles",
            value=asked,
            placeholder="A principle in your own words, or a word that it holds",
            key="principles.find",
            max_chars=400,
        ).strip()
        chosen = st.segmented_control(
            "Search",
            [MEANING, WORDS],
            default=WORDS if session.param("how") == "words" else MEANING,
            required=True,
            key="principles.how",
            label_visibility="collapsed",
        )
    if text != asked:
        session.set_param("like", None)
    session.set_param("find", text)
    session.set_param("how", "words" if text and chosen == WORDS else None)
    return text, chosen


def nearest(look: Looking, text: str) -> list[dict[str, Any]] | None:
    """The principles most like the text, or like the one that the address names; None where neither is asked."""
    like = session.param("like")
    try:
        if like:
            vector = reads.fetch(principles.vector_of, like, look.embedder)
        elif text:
            with st.spinner("Embedding the text"):
                vector = reads.fetch(vector_of_text, text, look.embedder)
        else:
            return None
    except LpdError as problem:
        st.warning(plain(f"Search by meaning is not to be had now: {problem}"))
        return None
    if vector is None:
        st.warning("That principle has no vector of this run's embedder.")
        return None
    return reads.fetch(principles.similar, *look.key, vector, look.selected.scope(), NEAREST)


def show_selection(look: Looking) -> None:
    """What is selected, and the way out of it."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if not look.selected:
            st.caption(
                "Nothing selected: everything is shown. Lasso or click on the map, tick clusters, or click a branch "
                "or a bar; the rest of the page follows."
            )
            return
        held = reads.fetch(principles.counts_by_cluster, *look.key, look.selected.scope())
        count, used = (sum(each[n] for each in held.values()) for n in (0, 1))
        named = ", ".join(look.selected.clusters[:6]) + (" …" if len(look.selected.clusters) > 6 else "")
        groups = _several(len(held), "cluster")
        what = f"{groups} ({named}):" if named else f"from {groups}:"
        told = (
            f"{what} {_several(count, 'principle')}, stated by {_several(used, 'trajectory', 'trajectories')}"
        )
        st.markdown(f"**Selected** {plain(told)}")
        st.button("Clear selection", key="principles.clear", on_click=selection.clear, args=[look.place])
        ids = [each for each in held if each]
        only = ids[0] if len(ids) == 1 else None
        st.page_link(
            "pages/constitution.py",
            label="In the constitution",
            query_params=session.address(entry=only),
        )
        if only:
            st.page_link(
                "pages/trajectories.py", label="Its trajectories", query_params=session.address(cluster=only)
            )


def _several(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def drawn_map(
    store: Store,
    run: str,
    iteration: int,
    embedder: str,
    clusters: tuple[str, ...],
    positions: tuple[int, ...],
    drag: str,
    revision: str,
) -> go.Figure:
    """The map with some clusters or positions lit up, made once for all reruns that show the same."""
    points = reads.hold(principles.points, run, iteration, embedder, DRAWN)
    labels = reads.fetch(principles.cluster_labels, run, iteration)
    return map_chart(points, labels, lit_points(points, clusters, positions), drag, revision)


def show_map(look: Looking, points: Points) -> None:
    """The map of the principles; a lasso, a box or a click selects principles."""
    mode = st.segmented_control(
        "Mouse",
        ["Pan", "Lasso", "Box"],
        default="Pan",
        required=True,
        key="principles.mode",
        label_visibility="collapsed",
    )
    key = "principles.map"
    own = look.selected.source == "map" and selection.has_points(key)
    clusters, positions = ((), ()) if own else (look.selected.clusters, look.selected.positions)
    revision = f"{look.run} {look.iteration} {selection.revision('map')}"
    drag = {"Pan": "pan", "Lasso": "lasso", "Box": "select"}[mode]
    figure = reads.hold(drawn_map, *look.key, clusters, positions, drag, revision)
    show_chart(
        figure,
        PointRows(points),
        key=key,
        alt="Map of the principles; the tables beside and below hold the same.",
        select=("points", "lasso", "box"),
    )
    selection.keep_seen(key)
    drawn = len(points.x)
    told = (
        f"All {_several(drawn, 'principle')}."
        if drawn == points.total
        else f"A sample of {drawn:,} of {points.total:,} principles, the same share of every cluster; tables count all."
    )
    st.caption(
        f"{told} Nearness is likeness of meaning; the axes have no unit. A point's area grows with its trajectories. "
        "Pan moves the map and a click selects a principle; Lasso and Box select what they enclose."
    )


class PointRows(Sequence):
    """The points as rows for the CSV, made only when somebody downloads it."""

    def __init__(self, points: Points):
        self.points = points

    def __len__(self) -> int:
        return len(self.points.x)

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        found = self.points
        return {
            "position": int(found.position[row]),
            "cluster": found.clusters[found.cluster[row]],
            "trajectories": int(found.count[row]),
            "x": float(found.x[row]),
            "y": float(found.y[row]),
            "principle": str(found.text[row]),
        }


def show_members(look: Looking, near: list[dict[str, Any]] | None) -> None:
    """The principles of the selection a page at a time, or those nearest to what was asked; a row shows all of it."""
    if near is None:
        rows = _member_page(look)
    else:
        _show_nearest(look, near)
        rows = near
    if not rows:
        st.caption("No principle fits.")
        return
    last = "Similarity" if near is not None else "Distance"
    told = "similarity" if near is not None else "distance"
    chosen = st.dataframe(
        pd.DataFrame(
            {
                "Principle": [cell(row["text"] or "") for row in rows],
                "Cluster": [row["cluster_id"] or "–" for row in rows],
                "Used": [row["count"] for row in rows],
                last: [row[told] for row in rows],
            }
        ),
        hide_index=True,
        height=38 + 35 * min(len(rows), MEMBERS),
        on_select="rerun",
        selection_mode="single-row",
        key=f"principles.members.{hash((look.place, look.selected, look.text, near is not None, len(rows)))}",
        column_config={
            "Principle": st.column_config.TextColumn(width=150),
            "Cluster": st.column_config.TextColumn(width=58),
            "Used": st.column_config.NumberColumn(width=52, help="Trajectories that state it"),
            last: st.column_config.NumberColumn(
                width=74,
                format="%.3f",
                help="Cosine similarity" if near is not None else "Cosine distance to its cluster's mean",
            ),
        },
    )
    picked = chosen["selection"]["rows"]
    if picked and picked[0] < len(rows):
        show_member(look, rows[picked[0]])


def _member_page(look: Looking) -> list[dict[str, Any]]:
    scope = look.selected.scope(look.text)
    held = reads.fetch(principles.counts_by_cluster, *look.key, scope)
    total = sum(count for count, _ in held.values())
    kind = "with these words" if look.text else "selected" if look.selected else "in all"
    st.markdown(f"**{_several(total, 'principle')}** {kind}, the most used first")
    pages = -(-total // MEMBERS)
    page = 1
    if pages > 1:
        key = f"principles.page.{hash((look.place, look.selected, look.text))}"
        page = st.pagination(pages, key=key, max_visible_pages=5)
    return reads.fetch(principles.members, *look.key, scope, MEMBERS, (page - 1) * MEMBERS)


def _show_nearest(look: Looking, near: Sequence[Mapping[str, Any]]) -> None:
    like = session.param("like")
    where = " in the selection" if look.selected else ""
    what = "like the chosen one" if like else "like this text"
    best = f", similarity {number(near[0]['similarity'])} to {number(near[-1]['similarity'])}" if near else ""
    st.markdown(f"**The {len(near)} principles most {what}**{where}{best}")
    with st.container(horizontal=True):
        places = tuple(sorted(row["position"] for row in near if row["position"] is not None))
        if places and st.button("Select these", key="principles.pick"):
            selection.choose(look.place, Selection((), places, "search"))
            st.rerun()
        st.button("Clear search", key="principles.unsearch", on_click=_clear_search)


def _clear_search() -> None:
    session.set_param("like", None)
    session.set_param("find", None)
    st.session_state["principles.find"] = ""


def show_nothing(run: str, iteration: int | None, known: Sequence[int]) -> None:
    """Why there are no principles to look at here, and where there are."""
    if not iteration:
        what = (
            "The base model has no principles."
            if iteration == 0
            else "This run has not begun its first stage."
        )
    else:
        what = f"Iteration {iteration} has not been clustered yet."
    if known:
        show_empty(what, f"Pick an iteration at the left; clustered are: {', '.join(map(str, known))}.")
        st.page_link(
            "pages/principles.py",
            label=f"Look at iteration {known[-1]}",
            query_params={"run": run, "iteration": str(known[-1])},
        )
    else:
        show_empty(
            what, "Principles appear here when a clustering is done.", "pages/runs.py", "Watch the run"
        )


def show_iteration(run: str, iteration: int) -> None:
    """Everything about the principles of one clustered iteration."""
    embedder = reads.folder(run).config().cluster.embedder
    points = reads.hold(principles.points, run, iteration, embedder, DRAWN)
    if not points.total:
        show_empty(
            "This iteration has no principles: no candidate gained over its draft.",
            "See why candidates were rejected, and lower e_step.margin or raise e_step.n for a next run.",
            "pages/trajectories.py",
            "Look at the candidates",
        )
        return
    labels = reads.fetch(principles.cluster_labels, run, iteration)
    place = (run, iteration)
    selection.take_widgets(place)
    text, how = show_search()
    words = text if how == WORDS and not session.param("like") else ""
    look = Looking(run, iteration, embedder, labels, selection.current(place, labels), words)
    show_selection(look)
    near = nearest(look, "" if words else text)
    drawn, listed = st.columns([5, 4], gap="medium")
    with drawn:
        show_map(look, points)
    with listed:
        show_members(look, near)
    asked = session.param("view")
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default=asked if asked in VIEWS else "Clusters",
        required=True,
        key="principles.view",
        label_visibility="collapsed",
    )
    session.set_param("view", view if view != "Clusters" else None)
    VIEWS[view](look)
    show_examples(look)


show_heading("Principles", "Which principles were discovered, and how do they hang together?")
chosen_run, chosen_iteration = session.run_id(), session.iteration()
if chosen_run is None:
    show_empty("There are no runs yet.", "Start the demo run from Home.", "pages/home.py", "Go to Home")
else:
    clustered = reads.fetch(constitutions.clustered, chosen_run) if reads.has_store() else []
    if chosen_iteration in clustered:
        show_iteration(chosen_run, chosen_iteration)
    else:
        show_nothing(chosen_run, chosen_iteration, clustered)
