"""Whether the model got better from step to step, in which categories, and what each principle does for it."""

from __future__ import annotations

import streamlit as st

from lpd_core.store import evaluating
from lpd_core.store.comparing import summaries
from pages.components import curves, measured, reads, session
from pages.components.benchmarks import show_benchmarks
from pages.components.bound import Bound
from pages.components.cards import show_empty, show_heading
from pages.components.judged import show_judged, show_people
from pages.components.text import cell, plain

BOUND = Bound("evaluate")
VIEWS = {
    "steps": "Step by step",
    "judged": "Judge and people",
    "benchmarks": "Benchmarks",
    "principles": "Principles and edits",
}


def show_run(run: str) -> None:
    """The measurements of one run, in the view that is chosen."""
    sets = curves.benchmarks(reads.fetch(summaries, (run,)))
    if not sets:
        show_empty("This run has not been measured yet.", "The base model is measured first; watch it.",
                   "pages/runs.py", "Watch the run")  # fmt: skip
        return
    view = BOUND.segment(
        "view", "View", list(VIEWS), "steps", format_func=VIEWS.get, label_visibility="collapsed"
    )
    if view == "judged":
        show_judged(run)
        show_people(run)
    elif view == "benchmarks":
        show_benchmarks(run)
    else:
        show_heldout(run, sets, view)


def show_heldout(run: str, sets: list[str], view: str) -> None:
    """What f on a held-out set says of the models, or of the principles."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        benchmark = BOUND.choice(
            "set", "Held-out set", sets, "test" if "test" in sets else sets[0], format_func=lambda n: cell(n, 60),
            width=280,
        )  # fmt: skip
        against = "previous"
        if view == "steps":
            against = BOUND.segment(
                "against", "Compare each M_t with", ["previous", "base"], "previous",
                format_func={"previous": "the one before", "base": "the base model"}.get,
            )  # fmt: skip
    rows = reads.fetch(evaluating.final_scores, run, benchmark)
    found = measured.comparisons(rows, against)
    if not found:
        show_empty("Only the base model has been measured so far.", "The first trained model is compared with it.",
                   "pages/runs.py", "Watch the run")  # fmt: skip
    elif view == "principles":
        show_principles(run, benchmark)
    else:
        measured.show_steps(found)
        measured.show_categories(rows, against)


def show_principles(run: str, benchmark: str) -> None:
    """What each principle does for f, worked out in a process of its own when asked for."""
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
