"""Whether the model got better from step to step, in which categories, and what each principle does for it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lpd_core.store import evaluating
from lpd_core.store.comparing import summaries
from pages.components import curves, measured, reads, session
from pages.components.bound import Bound
from pages.components.cards import show_empty, show_heading
from pages.components.text import cell, plain


def show_run(run: str) -> None:
    """The measurements of one run."""
    sets = curves.benchmarks(reads.fetch(summaries, (run,)))
    if not sets:
        show_empty("This run has not been measured yet.", "The base model is measured first; watch it.",
                   "pages/runs.py", "Watch the run")  # fmt: skip
        return
    bound = Bound("evaluate")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        benchmark = bound.choice(
            "set", "Held-out set", sets, "test" if "test" in sets else sets[0], format_func=lambda n: cell(n, 60),
            width=280,
        )  # fmt: skip
        against = bound.segment(
            "against", "Compare each M_t with", ["previous", "base"], "previous",
            format_func={"previous": "the one before", "base": "the base model"}.get,
        )  # fmt: skip
    rows = reads.fetch(evaluating.final_scores, run, benchmark)
    found = measured.comparisons(rows, against)
    if not found:
        show_empty("Only the base model has been measured so far.", "The first trained model is compared with it.",
                   "pages/runs.py", "Watch the run")  # fmt: skip
        return
    measured.show_steps(found)
    measured.show_categories(rows, against)
    show_judged(run)
    show_principles(run, benchmark)


def show_judged(run: str) -> None:
    """The judged measurements that are kept, counted."""
    st.subheader("By a judge", anchor=False)
    rows = reads.fetch(evaluating.judged_rows, run)
    if not rows:
        st.caption(
            "No judge has compared answers of this run. In a terminal, with the run's own base model as the judge:"
        )
        st.code(f"python -m lpd_core evaluate {run} --judge", language=None)
        return
    table = {
        "Comparison": [cell(row["benchmark"].removeprefix("judge:")) for row in rows],
        "Judge": [cell(row["system"].removeprefix("judge:"), 80) for row in rows],
        "Iteration": [row["iteration"] for row in rows],
        "Pairs": [row["pairs"] for row in rows],
        "Unjudged": [row["unjudged"] for row in rows],
        "Win rate": [row["win_rate"] for row in rows],
    }
    st.dataframe(
        pd.DataFrame(table), hide_index=True, key="evaluate.judged", height=min(len(rows), 10) * 33 + 36
    )
    st.caption(
        "Each pair in both orders, a tie half. Unjudged pairs have no win rate and are left out of it."
    )


def show_principles(run: str, benchmark: str) -> None:
    """What each principle does for f, worked out in a process of its own when asked for."""
    st.subheader("By principle", anchor=False)
    if session.param("principles") != "1":
        st.caption(
            "How often each principle applies, what it does for f, and how distinct the constitution is."
        )
        if st.button("Measure the principles", type="primary", key="evaluate.measure"):
            session.set_param("principles", "1")
            st.rerun()
        return
    measured.show_principles(run, benchmark)


show_heading("Evaluate", "Did the model get better from step to step, and which principles did it?")
picked = session.run_id()
if picked is None:
    show_empty("There is nothing to evaluate yet.", "Start a run; each of its models is measured.",
               "pages/home.py", "Home")  # fmt: skip
else:
    st.caption(f"Run {plain(picked)}")
    show_run(picked)
