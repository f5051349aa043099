"""The filter bar over candidates, kept in the address, and what it asks of the store."""

from __future__ import annotations

import streamlit as st

from lpd_core import gate
from lpd_core.constitution import Constitution
from lpd_core.resident import embed
from lpd_core.store import Store, constitutions, exploring
from lpd_core.store.exploring import ORDERS, PLACES, Filter
from lpd_core.types import CANDIDATE_STATUSES
from pages.components import reads, session
from pages.components.bound import Bound, listed, read_span
from pages.components.reasons import NAMES
from pages.components.text import cell

PARAMETERS = ("q", "in", "like", "status", "cluster", "dataset", "score", "gain", "selected", "span")
"""The address's parameters that narrow the list."""
MORE = ("in", "like", "dataset", "score", "gain", "selected", "span")


def show_filters(run_id: str, iteration: int) -> None:
    """The bar: text, status, cluster and order in a line, the rest folded away, and a way to clear all."""
    bound = Bound("trajectories", resets=("page",))
    with st.grid(4, min_column_width=200):
        bound.text("q", "Text", placeholder="in prompts, answers, principles")
        bound.choices("status", "Outcome", CANDIDATE_STATUSES, format_func=NAMES.get, placeholder="all")
        show_groups(bound, run_id, iteration)
        bound.choice("order", "Sorted by", list(ORDERS), "gain", format_func=lambda name: ORDERS[name][0])
    active = sum(1 for name in MORE if session.param(name))
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover(f"More filters ({active} on)" if active else "More filters"):
            show_more(bound, run_id)
        if any(session.param(name) for name in PARAMETERS):
            st.button("Clear all filters", type="tertiary", on_click=clear, key="trajectories.clear")


def show_more(bound: Bound, run_id: str) -> None:
    """The filters that are needed less often."""
    bound.text("like", "Principles like this text", placeholder="by meaning, for instance: be kind")
    bound.choices("in", "Look for the text in", PLACES, placeholder="all of them")
    sets = {row["dataset_id"]: row["name"] for row in reads.fetch(exploring.datasets, run_id)}
    if len(sets) > 1:
        bound.choice(
            "dataset", "Data set", ["", *sets], format_func=lambda name: cell(sets.get(name, "all"), 60)
        )
    bound.span("score", "f(y2, gold)", 0.0, 1.0)
    bound.span("gain", "Gain over the draft", -1.0, 1.0)
    bound.switch("selected", "Selected trajectories only")
    bound.switch("span", "All iterations of the run")


def show_groups(bound: Bound, run_id: str, iteration: int) -> None:
    """The entries of the constitution, or the clusters where nobody has edited them."""
    names = group_names(run_id, iteration)
    asked = session.param("cluster")
    options = ["", *names] if not asked or asked in names else ["", asked, *names]
    bound.choice(
        "cluster",
        "Principle of the constitution",
        options,
        format_func=lambda name: cell(f"{name}  {names.get(name, '')}", 90) if name else "all",
        disabled=len(options) == 1,
    )


def group_names(run_id: str, iteration: int) -> dict[str, str]:
    """The active entries of the constitution (or the clusters as found) with their labels, by id."""
    if reads.fetch(constitutions.edits, run_id, iteration):
        return {entry.entry_id: entry.label for entry in reads.hold(gate.current, run_id, iteration).active}
    return {
        row["cluster_id"]: row["label"] for row in reads.fetch(constitutions.cluster_rows, run_id, iteration)
    }


def clear() -> None:
    """Take every filter out of the address."""
    for name in (*PARAMETERS, "page"):
        session.set_param(name, None)


def asked_filter(run_id: str, iteration: int) -> Filter:
    """The filter that the address describes. Raises `UserError` when the text to compare with cannot be embedded."""
    whole = session.param("span") == "1"
    cluster, principles = _group(run_id, iteration, session.param("cluster"))
    if session.param("like"):
        like = set(similar_principles(run_id, None if whole else iteration, session.param("like")))
        principles = tuple(sorted(like if principles is None else like & set(principles)))
    return Filter(
        run_id=run_id,
        iteration=None if whole else iteration,
        dataset=session.param("dataset"),
        statuses=tuple(each for each in listed("status") if each in CANDIDATE_STATUSES),
        cluster=cluster,
        principles=principles,
        score=read_span(session.param("score")),
        gain=read_span(session.param("gain")),
        selected=session.param("selected") == "1",
        text=session.param("q"),
        places=tuple(each for each in listed("in") if each in PLACES) or PLACES,
    )


def _group(run_id: str, iteration: int, asked: str) -> tuple[str, tuple[str, ...] | None]:
    """A cluster as found, or the members of an entry that edits have changed."""
    if not asked or not reads.fetch(constitutions.edits, run_id, iteration):
        return asked, None
    constitution: Constitution = reads.hold(gate.current, run_id, iteration)
    entry = constitution.by_id.get(asked)
    if entry is None or not entry.holds_members:
        return asked, None
    return "", tuple(member.principle_id for member in entry.members)


def similar_principles(run_id: str, iteration: int | None, text: str) -> list[str]:
    """The ids of the clustered principles most like a text, best first."""
    embedder = reads.folder(run_id).config().cluster.embedder
    return [row["principle_id"] for row in reads.fetch(_similar, run_id, iteration, text, embedder)]


def _similar(store: Store, run_id: str, iteration: int | None, text: str, embedder: str):
    vector = embed(store, [text], embedder)[0]
    return exploring.similar(store, run_id, iteration, tuple(vector), embedder)
