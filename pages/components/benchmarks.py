"""Benchmarks of others on a run's models, from what is kept: ratings by category, win rates, accuracies, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lpd_core.benchmark_results import stored_benchmarks
from lpd_core.measuring_text import benchmark_tables
from lpd_core.store import evaluating
from pages.components import colours, reads, session
from pages.components.cards import number, show_empty
from pages.components.charts import show_chart, styled
from pages.components.measured import show_bars, show_table
from pages.components.text import cell, hover, plain, show_text

NAMES = {"mt-bench": "MT-Bench", "alpaca-eval": "AlpacaEval", "ifeval": "IFEval"}
COMMANDS = (
    "--mt-bench question.jsonl [--references gpt-4.jsonl]",
    "--alpaca-eval model_outputs.json",
    "--ifeval input_data.jsonl",
    "--tasks arc_easy,hellaswag",
)


def show_benchmarks(run: str) -> None:
    """Every benchmark that was measured, with charts and tables, then its answers one by one."""
    found = reads.fetch(stored_benchmarks, run)
    if not found:
        show_empty(
            "No benchmark has been measured on this run.",
            "The commands below put MT-Bench's, AlpacaEval's or IFEval's prompts to the base model and the best iteration.",
        )
    for each in found.get("mt_bench", ()):
        show_categories(each)
    for each in found.get("alpaca_eval", ()):
        show_rates(each)
    if "ifeval" in found:
        show_accuracies(found["ifeval"])
    for title, rows in benchmark_tables(found):
        show_table(title, rows)
    if found:
        st.caption(
            "M\\_0 y1 is the base model as it is, M\\_0 y2 the base model improving its own answer (Self-Refine), M\\_t y2 "
            "the best iteration's refined answer. 95 % intervals: bootstrap over prompts, Wilson's for shares of prompts. "
            "Ratings and win rates are of the judge named, with this studio's prompts, and do not compare with published "
            "ones."
        )
        show_answers(run, found)
    with st.expander("Measure", expanded=not found):
        for command in COMMANDS:
            st.code(f"python -m lpd_core evaluate {run} {command}", language=None)


def show_categories(found: Mapping[str, Any]) -> None:
    """MT-Bench's mean ratings, overall and by category, the systems side by side."""
    series = [
        (
            name,
            [
                ("all", row["average"]),
                *((f"turn {n}", value) for n, value in row["turns"].items()),
                *row["categories"].items(),
            ],
        )
        for name, row in found["systems"].items()
    ]
    show_groups(
        series,
        f"evaluate.mt_bench.{found['judge']}",
        f"MT-Bench, rated by {found['judge']}",
        "rating, 1 to 10",
    )


def show_rates(found: Mapping[str, Any]) -> None:
    """AlpacaEval's win rates, raw and with the answers' length controlled."""
    rows = [
        {"name": f"{name}{mark}", **row[key]}
        for name, row in found["systems"].items()
        for key, mark in (("win_rate", ""), ("length_controlled", ", length-controlled"))
    ]
    title = f"AlpacaEval: win rate over {found['against']}"
    show_bars(rows, f"evaluate.alpaca.{found['judge']}", title, "win rate (0.5 is parity)", 0.5)


def show_accuracies(found: Mapping[str, Any]) -> None:
    """IFEval's accuracies, the systems side by side."""
    levels = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")
    series = [
        (name, [(level.replace("_", ", "), row[level]) for level in levels]) for name, row in found.items()
    ]
    show_groups(series, "evaluate.ifeval", "IFEval", "accuracy")


def show_groups(
    series: Sequence[tuple[str, Sequence[tuple[str, Mapping[str, Any]]]]], key: str, title: str, axis: str
) -> None:
    """Bars with 95 % intervals in groups, one colour a system, n in the hover box."""
    figure, rows = go.Figure(), []
    for place, (name, points) in enumerate(series):
        known = [(group, value) for group, value in points if value["n"]]
        rows += [{"system": name, "group": group, **value} for group, value in known]
        figure.add_bar(
            name=hover(name, 40),
            x=[hover(group, 30) for group, _ in known],
            y=[value["mean"] for _, value in known],
            error_y={
                "array": [value["high"] - value["mean"] for _, value in known],
                "arrayminus": [value["mean"] - value["low"] for _, value in known],
                "thickness": 1.2,
            },
            customdata=[[value["low"], value["high"], value["n"]] for _, value in known],
            marker={"color": colours.of_series(place)},
            hovertemplate="%{x}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}], n = %{customdata[2]:,}",
        )
    styled(
        figure,
        height=330,
        barmode="group",
        title={"text": hover(title, 90), "font": {"size": 14}},
        yaxis={"title": axis, "automargin": True, "rangemode": "tozero"},
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
    )
    told = "; ".join(f"{row['system']} {row['group']} {row['mean']:.3f}, n = {row['n']}" for row in rows[:24])
    show_chart(figure, rows, key=key, alt=f"{title}. {told}")


def show_answers(run: str, found: Mapping[str, Any]) -> None:
    """The kept answers of one benchmark, lowest score first, and one of them whole."""
    there = [name for name in NAMES if name.replace("-", "_") in found]
    there += sorted({f"task:{row['task']}" for row in found.get("tasks", ())})
    st.subheader("Its answers", anchor=False)
    asked = session.param("bench", there[0])
    name = st.segmented_control(
        "Benchmark",
        there,
        default=asked if asked in there else there[0],
        required=True,
        format_func=lambda each: NAMES.get(each, plain(each)),
        key="evaluate.bench",
        on_change=lambda: session.set_param("bench", st.session_state["evaluate.bench"]),
    )
    rows = reads.fetch(evaluating.measured_rows, run, name)
    rows.sort(key=lambda row: (row["score"] is not None, row["score"] or 0.0))
    table = {
        "Prompt": [cell(row["verdict"]["question"]) for row in rows],
        "System": [row["system"] for row in rows],
        "Turn": [row["sample"] for row in rows],
        "Score": [number(row["score"], 2) for row in rows],
        "Answer": [cell(row["response"] or row["verdict"].get("error") or "no answer") for row in rows],
        "Verdict": [cell(_verdict(row["verdict"])) for row in rows],
    }
    chosen = st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"evaluate.answers.{name}",
        height=min(len(rows), 10) * 33 + 36,
        column_order=[each for each in table if each != "Turn" or name == "mt-bench"],
    )
    st.caption(f"{len(rows):,} answers, those without a score first. Tick a row to read it.")
    ticked = chosen["selection"]["rows"]
    if ticked and ticked[0] < len(rows):
        row = rows[ticked[0]]
        show_text(row["verdict"]["question"], "Prompt", height="12rem")
        if row["principle"]:
            show_text(row["principle"], "z", height="6rem")
        show_text(row["response"], f"Answer, {row['system']}")
        st.caption(plain(_verdict(row["verdict"])))


def _verdict(told: Mapping[str, Any]) -> str:
    """What was said of an answer, in words."""
    if told.get("error"):
        return told["error"]
    if "instructions" in told:
        return "; ".join(
            f"{name}: {'followed' if strict else 'loosely' if loose else 'not followed'}"
            for name, strict, loose in zip(told["instructions"], told["strict"], told["loose"], strict=True)
        )
    if "forward" in told:
        orders = (("shown first", told["forward"]), ("shown second", told["backward"]))
        words = {"a": "ours", "b": "the reference", "tie": "a tie", None: "no verdict"}
        return "; ".join(f"{name}: {', '.join(words[each] for each in said)}" for name, said in orders)
    return told.get("said", "")
