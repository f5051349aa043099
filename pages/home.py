"""What is going on, and what waits for a person: runs, reviews, results, the machine."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.machine import look
from lpd_core.store.overview import RunOverview, overviews
from pages.components import reads, session
from pages.components.cards import (
    show_heading,
    show_status,
    signed,
    size,
    stage_name,
    with_interval,
)
from pages.components.text import plain

LOOP = Path(__file__).resolve().parent.parent / "docs" / "loop.svg"
LISTED = 200


def start_demo(review: bool) -> None:
    """Create and start the demo run, and go and watch it."""
    session.require_edit()
    store = reads.store()
    with st.spinner("Importing the prompts and starting the run"):
        folder = jobs.create_run(store, load_config("demo", None, [f"review={str(review).lower()}"]))
        jobs.start(store, folder.run_id)
    st.switch_page("pages/runs.py", query_params={"run": folder.run_id})


def show_welcome() -> None:
    """The empty installation: what this is, and one button."""
    st.markdown(
        "LPD Studio lets a language model discover, in plain words, the **principles** that take its answers closer "
        "to good ones, and learn to follow them by itself."
    )
    st.image(str(LOOP), width="stretch")
    explained, started = st.columns([3, 2], gap="large")
    explained.markdown(
        "1. The model **drafts** an answer to each of your prompts.\n"
        "2. Shown the gold answer as a hint, it **proposes** principles that say what was missing.\n"
        "3. It **refines** its draft under each principle, without seeing the gold; what comes closer is kept.\n"
        "4. The principles are clustered into a **constitution**, which you read, edit and approve.\n"
        "5. The model is **trained** to invoke the principles by itself; then the next iteration begins."
    )
    with started.container(border=True):
        st.markdown("**Try it on the shipped model**")
        st.markdown(
            "A model of 3.7 million parameters, 900 prompts, three iterations: about five minutes of work on two "
            "cores, nothing to download, no key."
        )
        review = st.toggle("Stop for my review before each training", value=True, key="home.review")
        if st.button("Start the demo run", type="primary", key="home.demo"):
            start_demo(review)
        st.page_link("pages/launch.py", label="Or set up a run with your own model and data")


def show_waiting(waiting: list[str], names: dict[str, str]) -> None:
    """The runs that wait for a person, first things first."""
    st.subheader("Waits for your review", anchor=False)
    for run in waiting:
        state = reads.folder(run).state()
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"**{plain(names.get(run, run))}** ({plain(run)}), constitution of iteration {state.iteration}"
            )
            st.page_link(
                "pages/constitution.py",
                label="Read and approve it",
                query_params={"run": run, "iteration": str(state.iteration)},
            )


def show_best(found: list[RunOverview]) -> None:
    """The best held-out gain of all runs."""
    measured = [each for each in found if each.gain and each.gain["n"]]
    if not measured:
        st.metric("Best held-out gain", "–", help="Nothing trained has been measured yet.")
        return
    best = max(measured, key=lambda each: each.gain["mean"])
    st.metric(
        "Best held-out gain",
        signed(best.gain["mean"]),
        help="f(y2, gold) of the iteration chosen on dev, minus f(y1, gold) of the base model, in Rouge-L F1, "
        "on prompts that were never mined. 95 % bootstrap interval over prompts.",
    )
    low, high = signed(best.gain["low"]), signed(best.gain["high"])
    st.caption(
        f"[{low}, {high}], n = {best.gain['n']:,} {best.benchmark} prompts; {plain(best.run_id)}, t = {best.best}"
    )


@st.fragment(run_every=5)
def show_machine() -> None:
    """CPU, memory, disk and GPUs, now."""
    machine = look(reads.store().home)
    cells = st.columns(3 + len(machine.gpus[:3]))
    cells[0].metric("CPU", f"{machine.cpu_percent:.0f} %", help=f"{machine.cores} cores")
    cells[1].metric(
        "Memory in use",
        size(machine.memory_used),
        help=f"of {size(machine.memory_total)}; {size(machine.memory_available)} can still be had",
    )
    cells[2].metric("Disk free", size(machine.disk_free), help="where runs and the database are kept")
    for cell, gpu in zip(cells[3:], machine.gpus, strict=False):
        cell.metric(plain(gpu.name), f"{size(gpu.memory_used)}", help=f"of {size(gpu.memory_total)}")
    if not machine.gpus:
        st.caption(f"{machine.cores} CPU cores, no GPU.")


def show_runs(found: list[RunOverview]) -> None:
    """Every run with its state and result; choosing a row picks it for all pages."""
    st.subheader("Runs", anchor=False)
    states = {each.run_id: reads.folder(each.run_id).state() for each in found[:LISTED]}
    table = pd.DataFrame(
        {
            "Run": [each.run_id for each in found[:LISTED]],
            "Name": [each.name for each in found[:LISTED]],
            "State": [_state_text(states[each.run_id]) for each in found[:LISTED]],
            "Iterations": [f"{each.measured} of {each.iterations}" for each in found[:LISTED]],
            "Best": [None if each.best is None else str(each.best) for each in found[:LISTED]],
            "Gain over base [95 %]": [with_interval(each.gain, sign=True) for each in found[:LISTED]],
            "Started": [each.created_at for each in found[:LISTED]],
        }
    )
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="home.runs",
        column_config={"Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
    )
    if len(found) > LISTED:
        st.caption(f"The newest {LISTED} of {len(found):,} runs; the picker at the left has all.")
    rows = chosen["selection"]["rows"]
    if rows:
        run = found[rows[0]].run_id
        with st.container(horizontal=True):
            st.markdown(f"**{plain(run)}**")
            for page, label in (
                ("runs", "Watch"),
                ("trajectories", "Trajectories"),
                ("constitution", "Constitution"),
            ):
                st.page_link(f"pages/{page}.py", label=label, query_params={"run": run})


def _state_text(state) -> str:
    at = f", iteration {state.iteration}, {stage_name(state.stage)}" if state.status == "running" else ""
    return state.status.replace("_", " ") + at


def show_running(running: list[str]) -> None:
    """What is being worked on."""
    st.subheader("At work", anchor=False)
    for run in running:
        state = reads.folder(run).state()
        with st.container(horizontal=True, vertical_alignment="center"):
            show_status(state.status)
            st.markdown(
                f"**{plain(run)}**, iteration {state.iteration}, {stage_name(state.stage) or 'starting'}"
            )
            st.page_link("pages/runs.py", label="Watch", query_params={"run": run})


show_heading("LPD Studio", "What is going on, and what waits for you?")
known = reads.run_ids()
if not known:
    show_welcome()
else:
    found = [each for each in reads.fetch(overviews) if each.run_id in known]
    states = {run: reads.folder(run).state().status for run in known}
    waiting = [run for run in known if states[run] == "awaiting_review"]
    at_work = [run for run in known if states[run] in ("running", "queued")]
    left, right = st.columns([1, 3], gap="large")
    with left:
        show_best(found)
    with right:
        show_machine()
    if waiting:
        show_waiting(waiting, reads.names())
    if at_work:
        show_running(at_work)
    show_runs(found)
    st.page_link("pages/launch.py", label="Set up another run")
