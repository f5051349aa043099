"""Constitution: the gate between discovery and learning, where a person reads, edits and approves."""

from __future__ import annotations

import streamlit as st

from lpd_core.store import constitutions, entries
from pages.components import reads, reviews, session
from pages.components.cards import show_empty, show_figures, show_heading
from pages.components.constitution_add import show_add
from pages.components.constitution_approve import ask_approval, is_approving, open_approval, waits_here
from pages.components.constitution_effect import show_totals
from pages.components.constitution_entry import show_entry
from pages.components.constitution_files import show_files
from pages.components.constitution_history import show_history, show_undo
from pages.components.constitution_members import show_loose
from pages.components.constitution_merge import show_merge, show_wizard
from pages.components.constitution_table import show_entries
from pages.components.constitution_versions import show_versions
from pages.components.text import plain

VIEWS = {
    "entries": "Entries",
    "wizard": "Merge wizard",
    "loose": "Without an entry",
    "history": "History",
    "versions": "Versions",
    "files": "Import and export",
}


def show_nothing(run: str | None, iteration: int | None) -> None:
    """What is missing before there is a constitution, and where to go."""
    if run is None:
        show_empty(
            "No run yet",
            "A constitution is what a run discovers. Start one; with a review it stops here before each training.",
            "pages/home.py",
            "Start the demo run",
        )
        return
    there = reads.fetch(constitutions.clustered, run)
    if there:
        what = (
            "The base model has no constitution"
            if iteration == 0
            else "This iteration has not been clustered"
        )
        show_empty(what, f"Iterations of this run with a constitution: {', '.join(map(str, there))}.")
        for each in there[-6:]:
            st.page_link(
                "pages/constitution.py",
                label=f"Constitution of iteration {each}",
                query_params={"run": run, "iteration": str(each)},
            )
        return
    status = reads.folder(run).state().status.replace("_", " ")
    show_empty(
        "Nothing has been clustered yet",
        f"The run is {status}. Its constitution is there once the E-step has found principles that gain and the "
        "clustering has grouped them.",
        "pages/runs.py",
        "Watch the run",
    )


def show_found(run: str, iteration: int) -> None:
    """What the clustering found, while the constitution is being opened."""
    found = reads.fetch(entries.found_counts, run, iteration)
    show_figures(
        [
            ("Clusters", f"{found['clusters']:,}", "as found"),
            ("Principles", f"{found['principles']:,}", "distinct texts"),
            ("Trajectories", f"{found['trajectories']:,}", "state them"),
        ]
    )


def show_told() -> None:
    """What the last click did, or why it was refused, said once."""
    kind, text = st.session_state.pop(reviews.TOLD, ("", ""))
    if kind == "refused":
        st.error(plain(text))
    elif kind == "done":
        st.toast(plain(text))


def show_approved(iteration: int, state: dict) -> None:
    """The version that an approved iteration is trained on."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("Approved, read-only", color="green")
        st.markdown(
            f"Version **{iteration}.{state['version']}** by {plain(state['author'])}, {state['at']:%Y-%m-%d %H:%M}: "
            f"{plain(state['message'], 160)}"
        )
        st.page_link("pages/runs.py", label="Watch the run", query_params=session.address())


def show_toolbar(found: reviews.Desk) -> None:
    """The review's state, and what concerns the whole constitution, the approval last."""
    review = found.review
    waits = waits_here(review.run_id, review.iteration)
    with st.container(horizontal=True, vertical_alignment="center"):
        if waits:
            st.badge("Waits for your review", color="orange")
        else:
            status = reads.folder(review.run_id).state().status.replace("_", " ")
            st.badge(f"Open; the run is {status}", color="gray")
        show_undo(found)
        show_add(found)
        fresh = any(e.status == "active" and not e.accepted for e in review.history.current.by_id.values())
        if st.button(
            "Accept all",
            key="constitution.accept",
            disabled=not fresh,
            help="Marks every active entry as looked at. The training set stays as it is.",
        ):
            reviews.commit(found, "accept_all", {})
        if waits and st.button("Approve and go on", type="primary", key="constitution.approve"):
            open_approval(review)
    if waits and is_approving(review):
        ask_approval(review)


def show_head(found: reviews.Desk, state: dict) -> bool:
    """The band that stays in sight: state, tools and the effect of all edits. Whether the visitor may edit here."""
    editing = state["version"] is None and session.may_edit()
    with st.container(key="constitution-head"):
        if state["version"] is not None:
            show_approved(found.review.iteration, state)
        elif editing:
            show_toolbar(found)
        else:
            st.info("You may look. Editing needs a login here: sign in at the foot of the sidebar.")
        show_totals(found, editing)
    return editing


def show_view(found: reviews.Desk, editing: bool) -> None:
    """The chosen view of the constitution."""
    views = [each for each in VIEWS if editing or each != "wizard"]
    asked = session.param("view", "entries")
    view = st.segmented_control(
        "View",
        views,
        format_func=VIEWS.get,
        default=asked if asked in views else "entries",
        required=True,
        key=f"constitution.view.{editing}",
        label_visibility="collapsed",
    )
    session.set_param("view", None if view == "entries" else view)
    if view == "wizard":
        show_wizard(found)
    elif view == "loose":
        show_loose(found, editing)
    elif view == "history":
        show_history(found, editing)
    elif view == "versions":
        show_versions(found, editing)
    elif view == "files":
        show_files(found, editing)
    elif not found.review.history.current.by_id:
        show_empty(
            "No principle gained in this iteration, so there is nothing to cluster",
            "The trajectories say of each candidate why it was rejected.",
            "pages/trajectories.py",
            "Look at the trajectories",
        )
    else:
        chosen = show_entries(found)
        if len(chosen) > 1:
            show_merge(found, chosen, editing)
        elif chosen:
            show_entry(found, chosen[0], editing)
        else:
            st.caption(
                "Select an entry to read and change it, or two and more to merge them."
                if editing
                else "Select an entry to read it."
            )


show_heading("Constitution", "What has the model discovered, and what shall it learn from it?")
show_told()
run, iteration = session.run_id(), session.iteration()
state = reviews.log_state(run, iteration) if run and iteration and reads.has_store() else None
if state is None or iteration not in reads.fetch(constitutions.clustered, run):
    show_nothing(run, iteration)
else:
    with st.empty():
        if not reviews.is_open(run, iteration):
            show_found(run, iteration)
        desk = reviews.desk(run, iteration)
        st.empty()
    reviews.note_seen(desk)
    show_view(desk, show_head(desk, state))
