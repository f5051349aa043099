"""What is going on, and what waits for a person: runs, reviews, results, the machine."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.machine import look
from lpd_core.queue import Queue
from lpd_core.store import RunState
from lpd_core.store.overview import RunOverview, overviews
from pages.components import live, reads, run_panel, session
from pages.components.cards import show_heading, show_status, signed, size
from pages.components.creation import create_run
from pages.components.run_list import show_run_list
from pages.components.text import plain

LOOP = Path(__file__).resolve().parent.parent / "docs" / "loop.svg"
AT_WORK = 8
REFRESH_SECONDS = 2.0


def start_demo(review: bool) -> None:
    """Create and start the demo run, and go and watch it."""
    session.require_edit()
    with st.spinner("Importing the prompts and starting the run"):
        folder = create_run(load_config("demo", None, [f"review={str(review).lower()}"]))
        jobs.start(reads.store(), folder.run_id)
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
            "A model of 3.7 million parameters, 600 prompts mined in three iterations: about six minutes of work on "
            "two cores, nothing to download, no key."
        )
        review = st.toggle("Stop for my review before each training", value=True, key="home.review")
        if st.button("Start the demo run", type="primary", key="home.demo"):
            start_demo(review)
        st.page_link("pages/launch.py", label="Or set up your own run")


def show_waiting(waiting: list[str], names: dict[str, str], states: dict[str, RunState]) -> None:
    """The runs that wait for a person, the newest first."""
    st.subheader("Waits for your review", anchor=False)
    for run in waiting[:AT_WORK]:
        state = states[run]
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


def show_at_work(seen: dict[str, str]) -> None:
    """What is being worked on, with a bar each; a change of state draws the page anew."""
    st.subheader("At work", anchor=False)
    for run in list(seen)[:AT_WORK]:
        state = reads.folder(run).state()
        if state.status != seen[run]:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            show_status(state.status)
            st.markdown(f"**{plain(run)}**", width="content")
            st.page_link("pages/runs.py", label="Watch", query_params={"run": run})
        if state.status == "running":
            with live.following(run) as followed:
                run_panel.show_stage(followed.progress, state, time.time())
    if len(seen) > AT_WORK:
        st.caption(f"and {len(seen) - AT_WORK} more; the table below has all")


def show_chosen(run: str) -> None:
    """Where to go on with the picked run."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Picked: **{plain(run)}**", width="content")
        for page, label in (
            ("runs", "Watch"),
            ("trajectories", "Trajectories"),
            ("principles", "Principles"),
            ("constitution", "Constitution"),
            ("compare", "Compare"),
        ):
            st.page_link(f"pages/{page}.py", label=label, query_params={"run": run})


def show_overview(known: list[str]) -> None:
    """Every run at a glance. Each run's state is read once."""
    states = {run: reads.folder(run).state() for run in known}
    found = [each for each in reads.fetch(overviews) if each.run_id in states]
    queue = Queue(reads.store()).read()
    waiting = [run for run in known if states[run].status == "awaiting_review"]
    at_work = {
        run: states[run].status
        for run in known
        if states[run].status == "running" or is_starting(states[run])
    }
    left, right = st.columns([1, 3], gap="large")
    with left:
        show_best(found)
    with right:
        show_machine()
    if waiting:
        show_waiting(waiting, reads.names(), states)
    if at_work:
        st.fragment(show_at_work, run_every=REFRESH_SECONDS)(at_work)
    if queue.halted or queue.waiting:
        told = (
            f"The queue has halted: {queue.halted}."
            if queue.halted
            else f"{len(queue.waiting)} wait in the queue."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(plain(told), width="content")
            st.page_link("pages/runs.py", label="Look at the queue", query_params=session.address())
    st.subheader("Runs", anchor=False)
    show_run_list(found, states, queue, "home.runs")
    show_chosen(session.run_id())
    st.page_link("pages/launch.py", label="Set up another run")


def is_starting(state: RunState) -> bool:
    """Whether a run's driver was started and has not spoken yet."""
    return state.status == "queued" and bool(state.pid)


show_heading("LPD Studio", "What is going on, and what waits for you?")
known = reads.run_ids()
if known:
    show_overview(known)
else:
    show_welcome()
