"""What is running, how far is it, what waits its turn, and what broke."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import streamlit as st

from lpd_core import housekeeping, jobs
from lpd_core.errors import LpdError, UserError
from lpd_core.queue import Queue, QueueState, place_of
from lpd_core.store import RunState, constitutions
from lpd_core.store.overview import overviews
from pages.components import live, preflight, reads, replicas, run_panel, session
from pages.components.cards import show_empty, show_heading, show_status, size, stage_name
from pages.components.run_list import show_run_list
from pages.components.text import plain

REFRESH_SECONDS = 1.5
# Charts and logs are drawn less often: a watched run should not notice its watchers.
DETAIL_SECONDS = 5.0
ACTIVE = ("running", "queued")
BROKEN = ("failed", "interrupted")


def act(action: Callable[..., Any], *arguments: Any, doing: str = "") -> bool:
    """Do what changes something; a refusal is told where it was asked for. Whether it was done."""
    try:
        session.require_edit()
        with st.spinner(doing or "One moment"):
            action(*arguments)
    except LpdError as problem:
        st.error(plain(problem))
        return False
    return True


def show_queue(state: QueueState, queue: Queue) -> None:
    """What has its turn, what waits in which order, and whether the queue goes on after an error."""
    st.subheader("Queue", anchor=False)
    if queue.is_stalled():
        st.warning(
            "Nobody works the queue: its process was ended, by a restart of the machine perhaps. Nothing is lost."
        )
        if st.button("Start it again", type="primary", key="queue.restart") and act(queue.go_on):
            st.rerun()
    elif state.halted:
        st.warning(f"The queue has halted: {plain(state.halted)}")
        if st.button("Go on with the next run", type="primary", key="queue.go_on") and act(queue.go_on):
            st.rerun()
    if state.current:
        st.markdown(f"Its turn: **{plain(state.current)}**")
    for place, run in enumerate(state.waiting, start=1):
        show_waiting(queue, run, place, len(state.waiting))
    goes_on = st.toggle(
        "Continue on error",
        value=state.continue_on_error,
        key=f"queue.continue.{state.continue_on_error}",
        help="On: a run that fails or is interrupted does not hold up those behind it. Off: the queue halts and says why.",
    )
    if goes_on != state.continue_on_error and act(queue.set_continue_on_error, goes_on):
        st.rerun()


def show_waiting(queue: Queue, run: str, place: int, count: int) -> None:
    """A waiting run with its buttons."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{place}\\. **{plain(run)}** {plain(reads.names().get(run, ''), 40)}", width="stretch")
        moves = (("Up", place - 1, place == 1), ("Down", place + 1, place == count))
        for label, to, disabled in moves:
            if st.button(label, key=f"queue.{label}.{run}", disabled=disabled) and act(queue.move, run, to):
                st.rerun()
        if st.button("Cancel", key=f"queue.cancel.{run}") and act(queue.cancel, run):
            st.rerun()


def watch_queue(seen: QueueState) -> None:
    """The queue, drawn anew when it changes."""
    queue = Queue(reads.store())
    now = queue.read()
    if now != seen:
        st.rerun()
    show_queue(now, queue)


def show_pulse(run: str, seen: str) -> None:
    """How far the stage at work is. When the run's state becomes another, the page around follows."""
    state = reads.folder(run).state()
    if state.status != seen:
        st.rerun()
    if state.status != "running":
        return
    with live.following(run) as followed:
        now = time.time()
        run_panel.show_stage(followed.progress, state, now)
        silent = followed.progress.silent_for(now)
    if silent is not None:
        st.warning(run_panel.silence_text(silent))


def show_details(run: str) -> None:
    """Acceptance, loss, stages, warnings and log, as they are now."""
    folder = reads.folder(run)
    state = folder.state()
    with live.following(run) as followed:
        progress = followed.progress
        if followed.is_behind:
            st.caption(f"Reading its events: {100 * followed.offset / followed.size:.0f} %")
        if progress.stages:
            counts = run_panel.acceptance(run, progress)
            run_panel.show_gist(progress, counts)
            left, right = st.columns(2, gap="large") if progress.losses else (st.container(), None)
            with left:
                run_panel.show_acceptance(counts)
            if right is not None:
                with right:
                    run_panel.show_loss(progress)
            run_panel.show_stages(progress)
            replicas.show_replicas(progress)
        run_panel.show_warnings(progress)
    with st.expander("Log", expanded=state.status == "running"):
        run_panel.show_log(folder, state)


def show_run(run: str, state: RunState, queue: QueueState) -> None:
    """The picked run: its state, what can be done with it, and its live panel."""
    place = place_of(queue, run)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(run), anchor=False, width="content")
        show_status(state.status)
        name = reads.names().get(run, "")
        settled = state.stage and state.status != "running"  # while it runs, the bar below tells
        where = f"iteration {state.iteration}, {stage_name(state.stage)}" if settled else ""
        st.caption(plain(", ".join(part for part in (name, where, _place_text(place)) if part)))
    show_actions(run, state, place)
    with suppress(UserError):  # a damaged configuration is told by the failure below
        preflight.show_trust(reads.folder(run).config())
    if state.status in BROKEN:
        run_panel.show_failure(reads.folder(run), state)
    if state.status == "queued" and not state.pid and not state.stage:
        st.caption("It has not been started: start it now, or let it wait for its turn.")
        return
    with live.following(run) as followed:
        behind = followed.is_behind
    active = state.status in ACTIVE
    st.fragment(show_pulse, run_every=REFRESH_SECONDS if active else None)(run, state.status)
    st.fragment(show_details, run_every=DETAIL_SECONDS if active or behind else None)(run)


def _place_text(place: int | None) -> str:
    return "" if place is None else f"place {place} in the queue" if place else "its turn in the queue"


def show_actions(run: str, state: RunState, place: int | None) -> None:
    """What can be done with the run in this state."""
    with st.container(horizontal=True, vertical_alignment="center"):
        show_main_action(run, state, place)
        show_rename(run)
        st.page_link(
            "pages/launch.py",
            label="Clone",
            query_params={"run": run, "from": run},
            help="Set up a new run with this one's settings",
        )
        if st.button("Delete", key="runs.delete", disabled=state.status == "running"):
            ask_to_delete(run)


def was_approved(run: str, state: RunState) -> bool:
    """Whether the constitution that a run waits for is approved: whoever did was killed before the run was let go on."""
    return reads.fetch(constitutions.approved_version, run, state.iteration) is not None


def show_main_action(run: str, state: RunState, place: int | None) -> None:
    """The one thing to do next."""
    store = reads.store()
    if state.status == "running" or (state.status == "queued" and state.pid):
        if st.button("Stop", key="runs.stop") and act(
            jobs.stop, store, run, doing="Stopping; what is committed stays"
        ):
            st.rerun()
    elif state.status == "awaiting_review" and not was_approved(run, state):
        st.page_link(
            "pages/constitution.py",
            label="Read and approve the constitution",
            query_params={"run": run, "iteration": str(state.iteration)},
        )
    elif state.status == "finished":
        st.page_link("pages/compare.py", label="Results", query_params={"run": run})
        st.page_link("pages/trajectories.py", label="Trajectories", query_params={"run": run})
    else:
        label = "Resume" if state.stage else "Start"
        if st.button(label, key="runs.resume", type="primary") and act(jobs.resume, store, run):
            st.rerun()
        if place is None:
            queue = Queue(store)
            if st.button("Add to the queue", key="runs.enqueue") and act(queue.add, run):
                st.rerun()


def show_rename(run: str) -> None:
    """A new name for the run."""
    with st.popover("Rename"), st.form("runs.rename", border=False):
        name = st.text_input("Name", value=reads.names().get(run, ""), max_chars=80, key=f"runs.name.{run}")
        done = st.form_submit_button("Rename", key="runs.rename.do")
        if done and act(housekeeping.rename_run, reads.store(), run, name):
            st.rerun()


@st.dialog("Delete this run?")
def ask_to_delete(run: str) -> None:
    """What would be lost and freed; deletes when told so again."""
    plan = housekeeping.plan_deletion(reads.store(), run)
    st.markdown(
        f"**{plain(run)}** goes for good: its folder with checkpoints, logs and rows on disk "
        f"(**{size(plan.size)}** freed), and {plan.rows:,} rows of the database, its constitutions among them."
    )
    if plan.builds_on_it:
        st.warning(
            f"These runs use one of its checkpoints as their model: {plain(', '.join(plan.builds_on_it))}"
        )
    sure = st.button("Delete for good", type="primary", key="runs.delete.do")
    if sure and act(housekeeping.delete_run, reads.store(), run, doing="Deleting"):
        session.pick(None)
        st.rerun()


show_heading("Runs", "What is running, how far is it, what waits its turn, and what broke?")
known = reads.run_ids()
run = session.run_id()
if run is None:
    show_empty(
        "No runs yet",
        "Start the demo run from Home with one click, or set up your own on Launch; it is watched here.",
        "pages/home.py",
        "Home",
    )
else:
    states = {each: reads.folder(each).state() for each in known}
    waiting = Queue(reads.store()).read()
    show_run(run, states[run], waiting)
    if waiting.waiting or waiting.current:
        st.fragment(watch_queue, run_every=REFRESH_SECONDS)(waiting)
    st.subheader("All runs", anchor=False)
    show_run_list(
        [each for each in reads.fetch(overviews) if each.run_id in states], states, waiting, "runs.list"
    )
    if not waiting.waiting:
        st.caption(
            "Nothing waits in the queue. A run that is not started can be added to it above, or on Launch."
        )
