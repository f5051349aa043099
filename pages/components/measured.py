"""Comparisons of a run's models as bars with intervals, and its principles with what they do for f."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lpd_core.measuring_text import edit_rows, effect_rows, followed_rows, quality_rows
from lpd_core.statistics import Comparison, compare_scores
from pages.components import colours, inquiries, reads
from pages.components.cards import show_empty, with_interval
from pages.components.charts import show_chart, styled
from pages.components.text import cell, hover, plain

Rows = Sequence[Mapping[str, Any]]
SECONDS = 300.0
CATEGORIES = 20
FEWEST = 5
"""Prompts of a category, or candidates of a principle, below which an interval would say nothing."""


def comparisons(rows: Rows, against: str) -> dict[str, Comparison]:
    """By name, each trained iteration's f(y2) against the iteration before it, or against the base model's."""
    scores: dict[int, dict[str, float | None]] = {}
    for row in rows:
        scores.setdefault(row["iteration"], {})[row["prompt_id"]] = row["score"]
    order = sorted(scores)
    found = {}
    for place, t in enumerate(order[1:], start=1):
        other = order[0] if against == "base" else order[place - 1]
        found[f"M_{t} over M_{other}"] = compare_scores(scores[t], scores[other], 1000)
    return found


def show_steps(found: Mapping[str, Comparison]) -> None:
    """Win rates and paired differences, two charts and a table."""
    with st.grid(2, min_column_width=380) as grid:
        with grid.cell():
            rows = [{"name": name, **asdict(each.win_rate)} for name, each in found.items()]
            show_bars(
                rows, "evaluate.wins", "Win rate of y2 by f, ties half", "win rate (0.5 is parity)", 0.5
            )
        with grid.cell():
            rows = [{"name": name, **asdict(each.difference)} for name, each in found.items()]
            show_bars(
                rows, "evaluate.differences", "Difference in f, paired by prompt", "difference in f(y2)", 0.0
            )
    table = {
        "Comparison": list(found),
        "Win rate": [with_interval(asdict(each.win_rate)) for each in found.values()],
        "Difference in f": [with_interval(asdict(each.difference), sign=True) for each in found.values()],
        "Wins": [each.wins for each in found.values()],
        "Ties": [each.ties for each in found.values()],
        "Losses": [each.losses for each in found.values()],
        "Unscored": [each.missing for each in found.values()],
    }
    st.dataframe(
        pd.DataFrame(table), hide_index=True, key="evaluate.steps", height=min(len(found), 12) * 33 + 36
    )
    st.caption(
        "95 % bootstrap intervals over prompts. Unscored prompts have no f on one side and are left out."
    )


def by_category(rows: Rows, against: str) -> tuple[list[dict[str, Any]], int]:
    """The last comparison's difference in f by category, those of most prompts first, and how many categories are left
    out: too small for an interval to mean anything, or too many to draw."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["category"], []).append(row)
    drawn = []
    for name, own in grouped.items():
        found = list(comparisons(own, against).values())
        if found and found[-1].difference.n >= FEWEST:
            change = asdict(found[-1].difference)
            drawn.append({"name": f"{name} (n = {change['n']})", **change})
    drawn.sort(key=lambda row: -row["n"])
    return drawn[:CATEGORIES], len(grouped) - len(drawn[:CATEGORIES])


def show_categories(rows: Rows, against: str) -> None:
    """The last comparison, category by category, where there are several."""
    drawn, left_out = by_category(rows, against)
    if len(drawn) < 2:
        return
    st.subheader("By category", anchor=False)
    last = max(row["iteration"] for row in rows)
    title = f"Difference in f of M_{last}, by category of the prompt"
    show_bars(drawn, "evaluate.categories", title, "difference in f(y2)", 0.0)
    if left_out:
        st.caption(
            f"The {len(drawn)} largest categories; {left_out:,} others are left out, most with fewer than {FEWEST} prompts."
        )


def show_bars(rows: Rows, key: str, title: str, axis: str, zero: float) -> None:
    """Horizontal bars from `zero`, each a mean with its 95 % interval and n in the hover box."""
    known = [row for row in rows if row["n"]]
    if not known:
        st.caption(f"{plain(title)}: nothing to draw, no prompt has a score on both sides.")
        return
    figure = go.Figure()
    figure.add_bar(
        x=[row["mean"] - zero for row in known],
        base=zero,
        y=[hover(row["name"], 48) for row in known],
        orientation="h",
        error_x={
            "array": [row["high"] - row["mean"] for row in known],
            "arrayminus": [row["mean"] - row["low"] for row in known],
            "thickness": 1.4,
        },
        customdata=[[row["mean"], row["low"], row["high"], row["n"]] for row in known],
        marker={"color": colours.of_series(0)},
        hovertemplate=(
            "%{y}: %{customdata[0]:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}], n = %{customdata[3]:,}"
            "<extra></extra>"
        ),
    )
    figure.add_vline(x=zero, line_width=1, line_dash="dot", line_color="gray")
    styled(
        figure,
        height=120 + 26 * max(3, len(known)),
        title={"text": hover(title), "font": {"size": 14}},
        xaxis={"title": axis, "automargin": True},
        yaxis={"automargin": True, "autorange": "reversed"},
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
    )
    told = "; ".join(f"{row['name']} {with_interval(row)}" for row in known[:12])
    show_chart(figure, known, key=key, alt=f"{title}. {told}")


def show_principles(run: str, benchmark: str) -> None:
    """The constitution's quality and each principle's strength, from a process of its own."""
    words = ["evaluate", run, "--benchmark", benchmark]
    asked = inquiries.ask("evaluate", words, reads.stamp(), seconds=SECONDS)
    answer = asked.poll()
    if answer is None:
        inquiries.show_waiting(asked, "Measuring in a process of its own")
        return
    if answer.error:
        show_empty("The principles could not be measured.", answer.error)
        return
    found = answer.value
    rows = [
        {"name": f"{each['entry_id']} {each['text']}", **each["effect"]}
        for each in found["strengths"]
        if each["effect"]["n"] >= FEWEST
    ]
    title = f"Effect on f, iteration {found['best_iteration']}: gain less that of the same prompt's other candidates"
    show_bars(rows, "evaluate.effects", title, "effect on the gain in f", 0.0)
    show_strengths(run, found)
    for judge, rows in found["followed"].items():
        show_table(f"Principles by the judge {judge}", followed_rows(rows))
    show_edits(found)
    show_table("Constitutions", quality_rows(found["quality"]))
    st.caption(
        "95 % intervals: Wilson's for shares, bootstrap over candidates for effects, Wald's for weights. Diversity is the "
        "mean cosine distance of two entries; covered are the principles that the model states on held-out prompts."
    )


def show_strengths(run: str, found: Mapping[str, Any]) -> None:
    """Each principle's strength as a row to tick, which leads to the candidates that state it and to its entry."""
    strengths, t = found["strengths"], found["best_iteration"]
    rows = effect_rows(strengths)
    st.markdown(f"**Principles by their effect on f, iteration {t}**")
    table = pd.DataFrame([{name: cell(value) for name, value in row.items()} for row in rows])
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="evaluate.strengths",
        height=min(max(1, len(rows)), 14) * 33 + 36,
    )
    st.caption(
        "Tick a principle to go to its samples. Applies: its share of the scored candidates. Effect: their gain less that "
        "of the same prompt's other candidates. `prune?`: its weight is below 0 beyond the interval."
    )
    ticked = chosen["selection"]["rows"]
    if ticked and ticked[0] < len(strengths):
        entry = strengths[ticked[0]]["entry_id"]
        place = {"run": run, "iteration": str(t)}
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(entry)}** {plain(strengths[ticked[0]]['text'], 90)}")
            st.page_link(
                "pages/trajectories.py",
                label="The candidates that state it",
                query_params={**place, "cluster": entry},
            )
            st.page_link(
                "pages/constitution.py", label="Its entry and members", query_params={**place, "entry": entry}
            )


def show_edits(found: Mapping[str, Any]) -> None:
    """What changed on the held-out prompts that an edit of the constitution touched, against the others."""
    edits = found["edits"]
    st.markdown("**What edits did**")
    if not edits:
        st.caption(
            "No edit of this run changed a training text and was followed by a measurement. Edit a constitution at its "
            "gate; after the next training its effect stands here."
        )
        return
    bars = [
        {
            "name": f"iteration {row['iteration']}, edit {row['seq'] or 'all'} {row['op']}, {name}",
            **change[which],
        }
        for row in edits
        for change in row["changes"]
        if change["measure"] == "y2"
        for which, name in (("touched", "touched"), ("others", "others"))
    ]
    title = f"Change of f(y2) from M_(t-1) to M_t on {found['benchmark']}, paired by prompt"
    show_bars(bars, "evaluate.edits", title, "change of f(y2)", 0.0)
    show_table("Effect of edits", edit_rows(edits))
    st.caption(
        "An edit touches the held-out prompts for which the model before it states a principle whose training text the edit "
        "changed or took out. Accepted: f(y2) above f(y1) by the margin. Bootstrap intervals over prompts. Touched prompts "
        "differ from others without an edit too, so this is a hint and no experiment."
    )


def _edit(row: Mapping[str, Any]) -> str:
    return f"edit {row['seq']} {row['op']}" if row["seq"] else "all edits"


def show_table(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """A titled table of texts."""
    st.markdown(f"**{plain(title[:1].upper() + title[1:])}**")
    table = pd.DataFrame([{name: cell(value) for name, value in row.items()} for row in rows])
    st.dataframe(table, hide_index=True, key=f"evaluate.table.{title}", height=min(len(rows), 14) * 33 + 36)
