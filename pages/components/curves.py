"""Runs' curves over their iterations: held-out measures, discovery, constitution size, acceptance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lpd_core.metrics import MEASURES, best_iteration, wilson
from pages.components.cards import show_figures, with_interval
from pages.components.charts import show_chart, styled
from pages.components.colours import of_series
from pages.components.text import cell, hover

Summary = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Summary]]
Point = Mapping[str, Any] | None
HELD_OUT = ("response", "draft", "over_base", "win_rate", "right_principle")
"""The measures that are drawn; the table below has them too."""
SIGNED = ("over_draft", "over_base", "draft_over_base")


def benchmarks(runs: Runs) -> list[str]:
    """The held-out sets of these runs: dev, test, then the shifted ones."""
    measured = [summary.get("evaluate", {}) for found in runs.values() for summary in found.values()]
    names = {name for each in measured for name, measures in each.items() if isinstance(measures, dict)}
    return [name for name in ("dev", "test") if name in names] + sorted(names - {"dev", "test"})


def show_heldout(runs: Runs, benchmark: str) -> None:
    """The held-out measures of one set: the best of each run, a chart a measure, and the same as a table."""
    show_best(runs, benchmark)
    with st.grid(2, min_column_width=380) as grid:
        for measure in HELD_OUT:
            short, long = MEASURES[measure]
            rows = points(runs, lambda s, m=measure: s.get("evaluate", {}).get(benchmark, {}).get(m))
            if rows:
                with grid.cell():
                    show_curve(
                        rows,
                        f"compare.{benchmark}.{measure}",
                        f"{short}: {long}",
                        short,
                        zero=measure in SIGNED,
                    )
    show_numbers(runs, benchmark)


def show_best(runs: Runs, benchmark: str) -> None:
    """What each run's best iteration reaches on the set."""
    figures = []
    for run, found in runs.items():
        t = best_iteration({t: s["evaluate"] for t, s in found.items() if s.get("evaluate")})
        measured = found[t]["evaluate"].get(benchmark) if t is not None else None
        if isinstance(measured, Mapping):
            gain = with_interval(measured.get("over_base"), sign=True)
            figures.append((cell(run, 40), gain, f"iteration {t}: {MEASURES['over_base'][1]}"))
    if figures:
        show_figures(figures)


def show_numbers(runs: Runs, benchmark: str) -> None:
    """Every measure of a set with n and interval."""
    measured = [
        (run, t, s["evaluate"][benchmark])
        for run, found in runs.items()
        for t, s in found.items()
        if isinstance(s.get("evaluate", {}).get(benchmark), dict)
    ]
    names = [name for name in MEASURES if any(name in each for _, _, each in measured)]
    table = {"Run": [cell(run) for run, _, _ in measured], "Iteration": [t for _, t, _ in measured]}
    for name in names:
        table[MEASURES[name][0]] = [
            with_interval(each.get(name), sign=name in SIGNED) for _, _, each in measured
        ]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        key="compare.numbers",
        height=min(len(measured), 12) * 33 + 36,
        column_config={
            MEASURES[name][0]: st.column_config.TextColumn(help=MEASURES[name][1]) for name in names
        },
    )
    st.caption(
        "Mean over prompts [95 % percentile-bootstrap interval], n prompts. Iteration 0 is the base model."
    )


def show_discovery(runs: Runs) -> None:
    """What the iterations found: new principles, size of the constitution, acceptance."""
    drawn: list[tuple[str, str, str, Callable[[Summary], Point]]] = [
        ("acceptance", "Candidates that gained over their draft", "share of candidates", acceptance),
        ("selected", "Prompts with a selected trajectory", "share of prompts", selected),
        ("discovery", "New principles", "share of distinct principles", discovery),
        ("size", "Principles in the constitution, as found", "clusters", constitution_size),
    ]
    with st.grid(2, min_column_width=380) as grid:
        for name, title, axis, read in drawn:
            rows = points(runs, read)
            if rows:
                with grid.cell():
                    show_curve(rows, f"compare.{name}", title, axis, from_zero=True)
    st.caption(
        "Shares with Wilson's 95 % interval, which takes candidates, prompts and principles as independent."
    )


def acceptance(summary: Summary) -> Point:
    """The share of candidates that gained."""
    counts = summary.get("e_step", {}).get("acceptance", {})
    whole = sum(counts.values())
    gained = counts.get("accepted", 0) + counts.get("not_best", 0)
    return asdict(wilson(gained / whole, whole)) if whole else None


def selected(summary: Summary) -> Point:
    """The share of prompts with a selected trajectory."""
    counts = summary.get("e_step", {}).get("prompts", {})
    return (
        asdict(wilson(counts["selected"] / counts["prompts"], counts["prompts"]))
        if counts.get("prompts")
        else None
    )


def discovery(summary: Summary) -> Point:
    """The share of principles far from every earlier cluster."""
    found = summary.get("cluster", {})
    return (
        asdict(wilson(found["new_principles"] / found["principles"], found["principles"]))
        if found.get("principles")
        else None
    )


def constitution_size(summary: Summary) -> Point:
    """How many clusters were found."""
    found = summary.get("cluster", {})
    if "constitution_size" not in found:
        return None
    size = found["constitution_size"]
    return {"mean": size, "low": size, "high": size, "n": found["principles"]}


def points(runs: Runs, read: Callable[[Summary], Point]) -> list[dict[str, Any]]:
    """A row a run and iteration that has the measure: mean, low, high, n."""
    rows = []
    for run, found in runs.items():
        for t, summary in found.items():
            point = read(summary)
            if point and point["n"]:
                rows.append(
                    {"run": run, "iteration": t, **{k: point[k] for k in ("mean", "low", "high", "n")}}
                )
    return rows


def show_curve(
    rows: Sequence[Mapping[str, Any]],
    key: str,
    title: str,
    axis: str,
    zero: bool = False,
    from_zero: bool = False,
) -> None:
    """One measure over the iterations, a line a run, with intervals."""
    figure = go.Figure()
    for place, run in enumerate(dict.fromkeys(row["run"] for row in rows)):
        own = [row for row in rows if row["run"] == run]
        figure.add_scatter(
            x=[row["iteration"] for row in own],
            y=[row["mean"] for row in own],
            error_y={
                "array": [row["high"] - row["mean"] for row in own],
                "arrayminus": [row["mean"] - row["low"] for row in own],
                "thickness": 1.2,
            },
            customdata=[[row["low"], row["high"], row["n"]] for row in own],
            name=hover(run, 40),
            mode="lines+markers",
            line={"color": of_series(place)},
            hovertemplate="iteration %{x}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}], n = %{customdata[2]:,}",
        )
    last = max(row["iteration"] for row in rows)
    styled(
        figure,
        height=300,
        title={"text": title, "font": {"size": 14}},
        xaxis={"title": "iteration", "dtick": max(1, last // 10), "automargin": True},
        yaxis={"title": axis, "automargin": True, "rangemode": "tozero" if from_zero else "normal"},
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        legend={"orientation": "h", "y": -0.3, "x": 0},
        showlegend=True,
    )
    if zero:
        figure.add_hline(y=0, line_width=1, line_dash="dot", line_color="gray")
    ends = "; ".join(f"{run} {_told(rows, run)}" for run in dict.fromkeys(row["run"] for row in rows))
    show_chart(figure, rows, key=key, alt=f"{title}, by iteration. Last values: {ends}")


def _told(rows: Sequence[Mapping[str, Any]], run: str) -> str:
    return with_interval([row for row in rows if row["run"] == run][-1])
