"""Runs and iterations side by side: what was measured, what was set differently, how each answered the same prompts."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lpd_core.metrics import best_iteration
from lpd_core.store.comparing import System, settings, summaries
from pages.components import curves, reads, session
from pages.components.bound import Bound, listed
from pages.components.cards import show_empty, show_heading
from pages.components.samples import show_samples
from pages.components.text import cell, plain

VIEWS = {
    "curves": "Measured",
    "discovery": "Discovered",
    "settings": "Set differently",
    "samples": "Prompt by prompt",
}
MOST = 10  # runs at a time: one colour each


def chosen_runs(known: list[str]) -> list[str]:
    """The runs that the address names, or the picked one with the newest other."""
    asked = [run for run in listed("runs") if run in known][:MOST]
    if asked:
        return asked
    picked = session.run_id()
    return [picked, *[run for run in known if run != picked][:1]] if picked else known[:2]


def show_comparison(known: list[str]) -> None:
    """The choice of runs and of what to compare, and that."""
    bound = Bound("compare", resets=("page", "prompt"))
    chosen = chosen_runs(known)
    session.set_param("runs", ",".join(chosen))
    names = reads.names()
    bound.choices(
        "runs",
        "Runs",
        known,
        format_func=lambda run: f"{run} ({cell(names.get(run, ''), 30)})" if names.get(run) else run,
        max_selections=MOST,
    )
    asked = session.param("view", "curves")
    st.session_state["compare.view"] = asked if asked in VIEWS else "curves"
    view = st.segmented_control(
        "View",
        list(VIEWS),
        required=True,
        format_func=VIEWS.get,
        key="compare.view",
        label_visibility="collapsed",
        on_change=lambda: session.set_param("view", st.session_state["compare.view"]),
    )
    found = reads.fetch(summaries, tuple(chosen))
    if view == "settings":
        show_settings(chosen)
    elif view == "discovery":
        show_discovered(found)
    else:
        show_measured(bound, found, by_prompt=view == "samples")


def show_discovered(found: curves.Runs) -> None:
    """Acceptance, discovery and the constitution's size."""
    if any("e_step" in summary for run in found.values() for summary in run.values()):
        curves.show_discovery(found)
    else:
        show_empty(
            "None of these runs has mined yet.", "Watch the first E-step.", "pages/runs.py", "Watch the run"
        )


def show_measured(bound: Bound, found: curves.Runs, by_prompt: bool) -> None:
    """The held-out curves of a set, or its prompts one by one."""
    sets = curves.benchmarks(found)
    if not sets:
        show_empty(
            "None of these runs has been measured yet.",
            "The base model is measured first; watch it.",
            "pages/runs.py",
            "Watch the run",
        )
        return
    benchmark = bound.choice(
        "set", "Held-out set", sets, sets[0], format_func=lambda name: cell(name, 60), width=320
    )
    if not by_prompt:
        curves.show_heldout(found, benchmark)
        return
    measured = [
        System(run, t)
        for run, of_run in found.items()
        for t, summary in of_run.items()
        if isinstance(summary.get("evaluate", {}).get(benchmark), dict)
    ]
    show_samples(bound, measured, first_systems(found, measured), benchmark)


def first_systems(found: curves.Runs, measured: list[System]) -> list[System]:
    """What to begin with: the first run's base model and the best iteration of each run."""
    best = []
    for run, of_run in found.items():
        trained = {t: summary["evaluate"] for t, summary in of_run.items() if summary.get("evaluate")}
        t = best_iteration(trained)
        best += [System(run, t)] if t is not None else []
    base = [system for system in measured if system.iteration == 0][:1]
    return list(dict.fromkeys(base + [system for system in best if system in measured]))[:3]


def show_settings(chosen: list[str]) -> None:
    """The settings in which the runs differ, a row each."""
    found = reads.fetch(settings, tuple(chosen))
    keys = list(dict.fromkeys(key for values in found.values() for key in values))
    whole = st.toggle("Show the settings that are the same, too", key="compare.same")
    differing = [key for key in keys if len({repr(values.get(key)) for values in found.values()}) > 1]
    shown = keys if whole else differing
    if len(chosen) < 2:
        st.info("Choose a second run above to see in what they differ.")
    elif not differing:
        st.info("These runs have the same settings.")
    if not shown:
        return
    table = pd.DataFrame(
        {"Setting": shown, **{cell(run): [_value(found[run], key) for key in shown] for run in chosen}}
    )
    st.dataframe(table, hide_index=True, key="compare.settings", height=min(len(shown), 16) * 33 + 36)
    st.caption(f"{len(differing)} of {len(keys)} settings differ between {plain(', '.join(chosen))}.")


def _value(values: dict, key: str) -> str:
    return cell(values[key]) if key in values else "–"


show_heading("Compare", "Which run or iteration is better, by how much, and what was done differently?")
ids = reads.run_ids()
if not ids:
    show_empty("There is nothing to compare yet.", "Start a run; its iterations can be compared with the base model.",
               "pages/home.py", "Home")  # fmt: skip
else:
    show_comparison(ids)
