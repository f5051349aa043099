"""The dendrogram of the Principles page: a threshold to move, and what a cut there would change, before any is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lpd_core.store import principles
from lpd_core.tree import Tree, count_at, crown, labels_at
from pages.components import principle_selection as selection
from pages.components import reads, session
from pages.components.cards import signed
from pages.components.charts import show_chart
from pages.components.principle_charts import branch_colours, dendrogram_chart
from pages.components.principle_selection import Looking
from pages.components.text import cell, plain

BRANCHES = 250
CHANGES = 60


@st.fragment
def show_dendrogram(look: Looking) -> None:
    """The merge tree with a threshold to move, and what a cut there would make of the clusters of today."""
    key = selection.widget_key("branches")
    if selection.taken(key):
        selection.take_widgets(look.place)
        st.rerun(scope="app")
    tree = reads.hold(principles.tree, *look.place)
    if tree.count < 2:
        st.caption(f"A merge tree needs two principles; this iteration has {tree.count}.")
        return
    params = reads.fetch(principles.cluster_params, *look.place)
    cut = params.get("threshold") if params.get("method") != "bertopic" else None
    longest = float(tree.distance.max())
    threshold = _threshold(cut, longest)
    clusters = count_at(tree, threshold)
    before, after = st.columns([1, 3], vertical_alignment="center")
    before.metric(
        "Clusters at this threshold",
        f"{clusters:,}",
        delta=f"{signed(clusters - len(look.labels), 0)} against today's {len(look.labels):,}",
        delta_color="off",
        delta_arrow="off",
        help="Exact: principles minus the merges at or below the threshold. Nothing is applied.",
    )
    after.caption(_cut_told(look, params, cut, tree.count))
    with after:
        _show_next_run(look, threshold)
    _draw_tree(look, tree, threshold, cut, key)
    _show_changes(look, tree, threshold)


def _threshold(cut: float | None, longest: float) -> float:
    """The slider's threshold, kept in the address."""
    top = round(longest + 0.02, 2)
    try:
        asked = float(session.param("threshold") or (cut if cut is not None else longest / 2))
    except ValueError:
        asked = longest / 2
    chosen = st.slider(
        "Threshold (cosine distance)",
        0.0,
        top,
        value=min(top, max(0.0, round(asked, 3))),
        step=0.005,
        format="%.3f",
        key="principles.threshold",
    )
    session.set_param("threshold", f"{chosen:.3f}")
    return chosen


def _cut_told(look: Looking, params: Mapping[str, Any], cut: float | None, count: int) -> str:
    if cut is None:
        return plain(
            f"Today's {len(look.labels):,} clusters come from BERTopic (HDBSCAN), not from a cut of this tree; the count is "
            "what average linkage would give."
        )
    pins = params.get("pins") or 0
    pinned = f" {pins} pinned principles gathered theirs first." if pins else ""
    return plain(
        f"Today's clusters of {count:,} principles were cut at {cut:.3f} (dotted line).{pinned} Cutting changes no run: "
        "a next run can use the threshold, and merges and splits at the gate change this one."
    )


def _show_next_run(look: Looking, threshold: float) -> None:
    settings = {"cluster.choose": "threshold", "cluster.threshold": round(threshold, 3)}
    with st.container(horizontal=True):
        st.page_link(
            "pages/launch.py",
            label=f"Set up a run that cuts at {plain(f'{threshold:.3f}')}",
            query_params={"from": look.run, "set": json.dumps(settings, separators=(",", ":"))},
        )
        st.page_link(
            "pages/constitution.py",
            label="Merge or split in this constitution",
            query_params=session.address(),
        )


def _draw_tree(look: Looking, tree: Tree, threshold: float, cut: float | None, key: str) -> None:
    where = reads.hold(principles.placed, *look.place)
    top = crown(tree, BRANCHES)
    sizes = np.bincount(top.branch, minlength=top.branches)
    spoken = _heaviest(top.branch, where.count, top.branches)
    texts = reads.fetch(principles.texts_at, *look.key, tuple(int(each) for each in spoken))
    names = [
        texts.get(int(at), "") + (f" (+ {size - 1:,} more)" if size > 1 else "")
        for at, size in zip(spoken, sizes, strict=True)
    ]
    colours, held = branch_colours(top.branch, where.cluster, where.clusters, top.branches)
    if look.selected:
        lit = _lit_branches(look, held, top.branch)
        colours = [each if on else "rgba(150,150,150,0.25)" for each, on in zip(colours, lit, strict=True)]
    rows = [
        {"branch": n, "principles": int(size), "principle": name, "clusters": " ".join(ids)}
        for n, (size, name, ids) in enumerate(zip(sizes, names, held, strict=True))
    ]
    show_chart(
        dendrogram_chart(top, names, colours, threshold, cut),
        rows,
        key=key,
        alt="Merge tree of the principles; the table below tells what a cut at the threshold changes.",
        select=("points",),
    )
    selection.keep_seen(key, held)
    if top.branches < tree.count:
        lowest = float(top.joins[0, 4])
        st.caption(
            f"Drawn are the {top.branches:,} branches nearest to the root, which join from {lowest:.3f} on; lower joins "
            f"are folded into them. The count above is of all {tree.count:,} principles. Click a branch's dot to select "
            "its clusters."
        )
    else:
        st.caption("Click a principle's dot to select its cluster.")


def _heaviest(branch: np.ndarray, count: np.ndarray, branches: int) -> np.ndarray:
    """The position of the most used principle of each branch."""
    order = np.lexsort((-count, branch))
    return order[np.searchsorted(branch[order], np.arange(branches))]


def _lit_branches(look: Looking, held: Sequence[Sequence[str]], branch: np.ndarray) -> list[bool]:
    own = set(branch[list(look.selected.positions)].tolist()) if look.selected.positions else set()
    return [bool(set(ids) & set(look.selected.clusters)) or n in own for n, ids in enumerate(held)]


def _show_changes(look: Looking, tree: Tree, threshold: float) -> None:
    """Which of today's clusters a cut at the threshold would join or take apart."""
    where = reads.hold(principles.placed, *look.place)
    labels = labels_at(tree, threshold)
    pairs, used = np.unique(np.stack([labels, where.cluster], axis=1), axis=0, return_counts=True)
    joined: dict[int, list[str]] = {}
    parts: dict[str, int] = {}
    for (group, cluster), _ in zip(pairs.tolist(), used, strict=True):
        name = where.clusters[cluster]
        if name:
            joined.setdefault(group, []).append(name)
            parts[name] = parts.get(name, 0) + 1
    rows = [
        {
            "What": "joins",
            "Clusters": ", ".join(ids),
            "Labels": " | ".join(cell(look.labels.get(i, ""), 60) for i in ids),
        }
        for ids in joined.values()
        if len(ids) > 1
    ]
    rows += [
        {"What": f"falls into {n:,} parts", "Clusters": name, "Labels": cell(look.labels.get(name, ""), 120)}
        for name, n in parts.items()
        if n > 1
    ]
    if not rows:
        st.caption("A cut here leaves today's clusters as they are.")
        return
    merged, split = sum(row["What"] == "joins" for row in rows), sum(row["What"] != "joins" for row in rows)
    st.markdown(f"A cut here would make **{merged:,}** joined clusters and take **{split:,}** apart.")
    st.dataframe(
        pd.DataFrame(rows[:CHANGES]), hide_index=True, height=min(320, 38 + 35 * min(len(rows), CHANGES))
    )
    if len(rows) > CHANGES:
        st.caption(f"The first {CHANGES} of {len(rows):,} changes.")
