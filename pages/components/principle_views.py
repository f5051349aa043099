"""The views of the Principles page below its map: cluster table, dendrogram, keywords, lineage, members, examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lpd_core import curation
from lpd_core.constitution import Lineage
from lpd_core.store import RunFolder, Store, constitutions, lineages, principles
from pages.components import principle_selection as selection
from pages.components import reads, session
from pages.components.cards import number, share, show_empty, signed
from pages.components.charts import show_chart
from pages.components.colours import of_cluster
from pages.components.lineage_chart import FATES, fate_counts, fate_rows, lineage_chart, related
from pages.components.principle_charts import keyword_chart
from pages.components.principle_selection import Looking, Selection
from pages.components.text import cell, plain, show_text

PAGE_CLUSTERS = 500
CHARTED = 9
EXAMPLES = 6
FATE_ROWS = 500


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
    trials = reads.fetch(principles.cluster_trials, *look.place, tuple(row["cluster_id"] for row in rows))
    key = selection.widget_key("table")
    chosen = [n for n, row in enumerate(rows) if row["cluster_id"] in look.selected.clusters]
    st.dataframe(
        _cluster_frame(rows, held, trials),
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
        "Mean gain is f(y2, gold) − f(y1, gold) in Rouge-L F1 over a cluster's trajectories, ± half its 95 % interval; "
        "acceptance is the share of the candidates that stated its principles and gained. Tick rows to select clusters."
    )


def _cluster_frame(
    rows: Sequence[Mapping[str, Any]],
    held: Mapping[str, tuple[int, int]],
    trials: Mapping[str, Mapping[str, Any]],
) -> Any:
    tried = [trials.get(row["cluster_id"], {"tried": 0, "gained": 0, "deviation": None}) for row in rows]
    columns: dict[str, list[Any]] = {
        " ": ["●"] * len(rows),
        "Cluster": [row["cluster_id"] for row in rows],
        "Label": [cell(row["label"]) for row in rows],
    }
    if held:
        columns["Selected"] = [held[row["cluster_id"]][0] for row in rows]
    columns |= {
        "Principles": [row["size"] for row in rows],
        "Trajectories": [row["trajectories"] for row in rows],
        "Prompts": [row["prompts"] for row in rows],
        "Mean gain": [row["mean_gain"] for row in rows],
        "±": [
            _half_width(row["trajectories"], each["deviation"]) for row, each in zip(rows, tried, strict=True)
        ],
        "Acceptance": [_accepted(each["gained"], each["tried"]) for each in tried],
        "Keywords": [cell(", ".join(row["keywords"])) for row in rows],
        "Data sets": [cell(_shares(row["datasets"])) for row in rows],
    }
    colours = [f"color: {of_cluster(row['cluster_id'])}" for row in rows]
    return pd.DataFrame(columns).style.apply(lambda _: colours, subset=[" "])


def _half_width(n: int, deviation: float | None) -> float | None:
    """Half of the 95 % interval of a mean of n values."""
    return None if deviation is None or n < 2 else 1.96 * deviation / math.sqrt(n)


def _accepted(gained: int, tried: int) -> str:
    """A rate with its 95 % interval (Wilson) and n."""
    if not tried:
        return "–"
    rate, z = gained / tried, 1.96
    middle = (rate + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z * math.sqrt(rate * (1 - rate) / tried + z * z / (4 * tried * tried)) / (1 + z * z / tried)
    return f"{100 * rate:.0f} % [{100 * (middle - half):.0f}, {100 * (middle + half):.0f}] of {tried:,}"


def _shares(datasets: Mapping[str, float]) -> str:
    heaviest = sorted(datasets.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {100 * part:.0f} %" for name, part in heaviest)


def _cluster_columns() -> dict[str, Any]:
    column = st.column_config
    return {
        " ": column.TextColumn(width=28, help="The cluster's colour on every page"),
        "Cluster": column.TextColumn(width=64),
        "Label": column.TextColumn(width=210),
        "Selected": column.NumberColumn(help="Principles of this cluster in the selection"),
        "Mean gain": column.NumberColumn(format="%+.3f", help="Rouge-L F1, n = the cluster's trajectories"),
        "±": column.NumberColumn(width=62, format="%.3f", help="Half of the 95 % interval of the mean gain"),
        "Acceptance": column.TextColumn(
            width=150, help="Candidates that gained, 95 % interval, of those that stated it"
        ),
        "Keywords": column.TextColumn(width=230),
    }


def show_keywords(look: Looking) -> None:
    """The words that set clusters apart: of the selected ones, else of the heaviest."""
    wanted = _clusters_of(look)
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


def _clusters_of(look: Looking) -> tuple[str, ...]:
    """The clusters selected, or those of the principles selected, the one with most of them first."""
    if not look.selected.positions:
        return look.selected.clusters
    held = reads.fetch(principles.counts_by_cluster, *look.key, look.selected.scope())
    return tuple(sorted((each for each in held if each), key=lambda each: -held[each][0]))


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
    chosen = related(known, {(look.iteration, each) for each in _clusters_of(look)})
    rows = fate_rows(known)
    show_chart(
        lineage_chart(known, chosen),
        rows,
        key="principles.lineage",
        alt="Flows between the constitutions of the iterations; the tables below hold the same.",
    )
    st.caption(
        "A column an iteration, a bar an entry of its constitution (as approved; the newest as it stands), as high as its "
        "trajectories. The largest 24 of each iteration are drawn, the others as one."
    )
    _show_discovery(look, fate_counts(known))
    if chosen:
        rows = [row for row in rows if (row["iteration"], row["entry"]) in chosen]
    rows = [{**row, "principle": cell(row["principle"])} for row in rows]
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
            said, asked = st.columns([1, 1], vertical_alignment="center")
            said.markdown(f"**{plain(signed(row['gain']))}** {plain(row['principle'], 160)}")
            asked.caption(plain(row["prompt"], 160))
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
