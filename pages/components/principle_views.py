"""The views of the Principles page below its map: cluster table, dendrogram, keywords, lineage, members, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lpd_core import curation
from lpd_core.constitution import Lineage
from lpd_core.store import RunFolder, Store, constitutions, lineages, principles
from lpd_core.tree import count_at, crown, labels_at
from pages.components import principle_selection as selection
from pages.components import reads, session
from pages.components.cards import number, share, show_empty, signed
from pages.components.charts import show_chart
from pages.components.colours import of_cluster
from pages.components.lineage_chart import FATES, fate_counts, fate_rows, lineage_chart
from pages.components.principle_charts import branch_colours, dendrogram_chart, keyword_chart
from pages.components.principle_selection import Selection
from pages.components.text import clip, plain, show_text

PAGE_CLUSTERS = 500
BRANCHES = 250
CHARTED = 9
CHANGES = 60
EXAMPLES = 6
FATE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Looking:
    """What the page looks at: a run's iteration, the embedder of its principles, the labels of its clusters, what
    is selected and the text that principles have to contain."""

    run: str
    iteration: int
    embedder: str
    labels: Mapping[str, str]
    selected: Selection
    text: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """The run and the iteration."""
        return self.run, self.iteration

    @property
    def key(self) -> tuple[str, int, str]:
        """What most reads of principles begin with."""
        return self.run, self.iteration, self.embedder


def show_clusters(look: Looking) -> None:
    """The cluster table; choosing rows selects clusters. Where single principles are selected, only their clusters."""
    held: dict[str, tuple[int, int]] = {}
    ids = None
    if look.selected.positions:
        held = reads.fetch(principles.counts_by_cluster, *look.key, look.selected.scope())
        ids = tuple(held)
    pages = -(-len(look.labels) // PAGE_CLUSTERS)
    page = 1 if ids is not None or pages < 2 else st.pagination(pages, key="principles.clusters.page")
    rows = reads.fetch(principles.cluster_page, *look.place, ids, PAGE_CLUSTERS, (page - 1) * PAGE_CLUSTERS)
    if not rows:
        st.caption("No cluster holds what is selected: these principles are unclustered.")
        return
    key = selection.widget_key("table")
    chosen = [n for n, row in enumerate(rows) if row["cluster_id"] in look.selected.clusters]
    st.dataframe(
        _cluster_frame(rows, held),
        hide_index=True,
        height=min(420, 38 + 35 * len(rows)),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": chosen, "columns": [], "cells": []}},
        key=key,
        column_config=_cluster_columns(),
    )
    selection.keep_seen(key, tuple(row["cluster_id"] for row in rows))
    st.caption(
        "Mean gain is f(y2, gold) − f(y1, gold) over a cluster's trajectories; acceptance is the share of the candidates "
        "that stated one of its principles and gained. Tick rows to select clusters."
    )


def _cluster_frame(rows: Sequence[Mapping[str, Any]], held: Mapping[str, tuple[int, int]]) -> Any:
    columns: dict[str, list[Any]] = {
        " ": ["●"] * len(rows),
        "Cluster": [row["cluster_id"] for row in rows],
        "Label": [row["label"] for row in rows],
    }
    if held:
        columns["Selected"] = [held[row["cluster_id"]][0] for row in rows]
    columns |= {
        "Principles": [row["size"] for row in rows],
        "Trajectories": [row["trajectories"] for row in rows],
        "Prompts": [row["prompts"] for row in rows],
        "Mean gain": [row["mean_gain"] for row in rows],
        "Acceptance": [row["acceptance_rate"] for row in rows],
        "Keywords": [", ".join(row["keywords"]) for row in rows],
        "Data sets": [_shares(row["datasets"]) for row in rows],
    }
    colours = [f"color: {of_cluster(row['cluster_id'])}" for row in rows]
    return pd.DataFrame(columns).style.apply(lambda _: colours, subset=[" "])


def _shares(datasets: Mapping[str, float]) -> str:
    heaviest = sorted(datasets.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {100 * part:.0f} %" for name, part in heaviest)


def _cluster_columns() -> dict[str, Any]:
    column = st.column_config
    return {
        " ": column.TextColumn(width=28, help="The cluster's colour on every page"),
        "Cluster": column.TextColumn(width=64),
        "Label": column.TextColumn(width="large"),
        "Selected": column.NumberColumn(help="Principles of this cluster in the selection"),
        "Mean gain": column.NumberColumn(format="%+.3f", help="Rouge-L F1, n = the cluster's trajectories"),
        "Acceptance": column.NumberColumn(format="percent", help="Share of candidates that gained"),
    }


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
        delta=f"{clusters - len(look.labels):+,} against today's {len(look.labels):,}".replace("-", "−"),
        delta_color="off",
        help="Exact: principles minus the merges at or below the threshold. Nothing is applied.",
    )
    after.caption(_cut_told(look, params, cut, tree.count))
    with after:
        _show_next_run(look, threshold, clusters)
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


def _show_next_run(look: Looking, threshold: float, clusters: int) -> None:
    settings = {"cluster.choose": "threshold", "cluster.threshold": f"{threshold:.3f}"}
    with st.container(horizontal=True):
        st.page_link(
            "pages/launch.py",
            label=f"Set up a run that cuts at {plain(f'{threshold:.3f}')}",
            query_params={"from": look.run, "set": ",".join(f"{k}={v}" for k, v in settings.items())},
        )
        st.page_link(
            "pages/constitution.py",
            label="Merge or split in this constitution",
            query_params=session.address(threshold=f"{threshold:.3f}"),
        )


def _draw_tree(look: Looking, tree: Any, threshold: float, cut: float | None, key: str) -> None:
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


def _show_changes(look: Looking, tree: Any, threshold: float) -> None:
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
            "Labels": " | ".join(clip(look.labels.get(i, ""), 60) for i in ids),
        }
        for ids in joined.values()
        if len(ids) > 1
    ]
    rows += [
        {"What": f"falls into {n:,} parts", "Clusters": name, "Labels": clip(look.labels.get(name, ""), 120)}
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


def show_keywords(look: Looking) -> None:
    """The words that set clusters apart: of the selected ones, else of the heaviest."""
    wanted = look.selected.clusters
    if look.selected.positions:
        held = reads.fetch(principles.counts_by_cluster, *look.key, look.selected.scope())
        wanted = tuple(sorted((each for each in held if each), key=lambda each: -held[each][0]))
    ids = (wanted or tuple(look.labels))[:CHARTED]
    shares = reads.fetch(principles.keyword_shares, *look.key, ids)
    shares = {each: shares[each] for each in ids if shares.get(each)}
    if not shares:
        st.caption("These clusters have no keywords: their principles hold nothing but stop words.")
        return
    rows = [
        {"cluster": cluster, "rank": rank, "word": word, "share of trajectories": round(part, 4)}
        for cluster, words in shares.items()
        for rank, (word, part) in enumerate(words, start=1)
    ]
    key = selection.widget_key("keywords")
    show_chart(
        keyword_chart(shares, look.labels),
        rows,
        key=key,
        alt="Keywords by cluster; the CSV has them as a table.",
        select=("points",),
    )
    selection.keep_seen(key)
    whole = len(wanted) or len(look.labels)
    st.caption(
        f"{len(shares):,} of {whole:,} {'selected ' if wanted else ''}clusters. Words in the order of their c-TF-IDF, the "
        "most telling at the top; a bar is the share of the cluster's trajectories whose principle says the word."
    )


def run_lineages(store: Store, run: str, last: int) -> dict[int, Lineage]:
    """The lineages of a run's clustered iterations up to `last`: as stored, computed where an iteration is not
    approved yet or older than the store's table."""
    found = lineages.stored(store, run)
    folder = RunFolder(store.runs / run)
    done = [t for t in constitutions.clustered(store, run) if t <= last]
    return {t: found[t] if t in found else curation.lineage(store, folder, t) for t in done}


def show_lineage(look: Looking) -> None:
    """Which entries of each iteration's constitution continue those of the one before."""
    with st.spinner("Following the entries through the iterations"):
        known = reads.hold(run_lineages, look.run, look.iteration)
    selected = look.selected.clusters
    if look.selected.positions:
        selected = tuple(reads.fetch(principles.counts_by_cluster, *look.key, look.selected.scope()))
    rows = fate_rows(known)
    show_chart(
        lineage_chart(known, selected),
        rows,
        key="principles.lineage",
        alt="Flows between the constitutions of the iterations; the tables below hold the same.",
    )
    st.caption(
        "A column an iteration, a bar an entry of its constitution (as approved; the newest as it stands), as high as its "
        "trajectories. The largest 24 of each iteration are drawn, the others as one."
    )
    _show_discovery(look, fate_counts(known))
    if selected:
        touched = {each for row in rows if row["entry"] in selected for each in row["continues"].split(", ")}
        rows = [row for row in rows if row["entry"] in touched | set(selected)]
    table = pd.DataFrame(rows[::-1][:FATE_ROWS] if len(rows) > FATE_ROWS else rows)
    if len(table):
        st.dataframe(
            table.rename(columns=str.capitalize), hide_index=True, height=min(360, 38 + 35 * len(table))
        )
    if len(rows) > FATE_ROWS:
        st.caption(f"The newest {FATE_ROWS} of {len(rows):,} rows; the CSV above has all.")


def _show_discovery(look: Looking, counted: Sequence[Mapping[str, int]]) -> None:
    summaries = {row["iteration"]: row["summary"].get("cluster", {}) for row in reads.iterations(look.run)}
    table = []
    for row in counted:
        found = summaries.get(row["iteration"], {})
        new, principles_ = found.get("new_principles"), found.get("principles")
        table.append(
            {
                "Iteration": row["iteration"],
                "Principles": principles_,
                "New principles": new,
                "Discovery rate": share(new, principles_) if principles_ and new is not None else "–",
                "New per candidate": number(found.get("new_per_sample"), 4),
                **{fate.capitalize(): row[fate] for fate in FATES},
            }
        )
    st.dataframe(pd.DataFrame(table), hide_index=True)
    st.caption(
        "Discovery rate: principles farther than cluster.lineage_threshold from every earlier cluster, of all; in the first "
        "iteration all are new. Born, kept, merged and split count this iteration's entries, died those of the one before."
    )


def show_examples(look: Looking) -> None:
    """The trajectories of highest gain of what is selected, each with its link."""
    st.subheader("Example trajectories", anchor=False)
    rows = reads.fetch(principles.examples, *look.key, look.selected.scope(look.text), EXAMPLES)
    if not rows:
        show_empty(
            "No trajectory states one of these principles.", "Clear the selection or look at other clusters."
        )
        return
    st.caption(
        f"The {len(rows)} of highest gain {'in the selection' if look.selected else 'of the iteration'}."
    )
    for row in rows:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(signed(row['gain']))}** {plain(row['principle'], 160)}", width="stretch")
            st.caption(plain(row["prompt"], 160), width="stretch")
            st.page_link(
                "pages/trajectories.py",
                label="Open",
                query_params=session.address(prompt=row["prompt_id"], sample=row["sample"]),
            )


def show_member(look: Looking, row: Mapping[str, Any]) -> None:
    """One principle in full, and what to do from it."""
    show_text(
        row["text"], f"{row['cluster_id'] or 'unclustered'}, in {row['count']:,} trajectories", height="9rem"
    )
    with st.container(horizontal=True):
        if st.button("Principles like this", key="principles.like"):
            session.set_param("like", row["principle_id"])
            session.set_param("find", None)
            st.rerun()
        if row["cluster_id"] and st.button("Its whole cluster", key="principles.whole"):
            selection.choose(look.place, Selection((row["cluster_id"],), (), "member"))
            session.set_param("like", None)
            st.rerun()
