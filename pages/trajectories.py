"""What became of each prompt: candidates to filter, and the card of one prompt."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lpd_core.store import exploring
from lpd_core.store.exploring import Filter, Listing
from pages.components import reads, session
from pages.components.cards import number, share, show_empty, show_heading
from pages.components.filters import PARAMETERS, asked_filter, clear, show_filters
from pages.components.reasons import NAMES
from pages.components.text import cell
from pages.components.trajectory import show_card

SIZE = 50


def show_list(run_id: str, iteration: int) -> None:
    """The filters and a page of the candidates that they let through."""
    show_filters(run_id, iteration)
    wanted = asked_filter(run_id, iteration)
    order = session.param("order", "gain")
    order = order if order in exploring.ORDERS else "gain"
    with st.spinner("Looking through the candidates", show_time=False):
        found = listing_page(wanted, order)
    show_counts(found)
    if found.rows:
        show_table(found)
        show_pages(found.total)
    elif any(session.param(name) for name in PARAMETERS):
        st.info("No candidate passes these filters.")
        st.button("Clear all filters", on_click=clear, key="trajectories.clear_empty")
    else:
        show_nothing_mined(run_id, iteration)


def listing_page(wanted: Filter, order: str) -> Listing:
    """The asked page; the last one where the address names one beyond it."""
    asked = session.param("page", "1")
    page = max(1, int(asked)) if asked.isdecimal() and len(asked) < 10 else 1
    found = reads.fetch(exploring.listing, wanted, order, page, SIZE)
    if not found.rows and found.total:
        session.set_param("page", -(-found.total // SIZE))
        return reads.fetch(exploring.listing, wanted, order, -(-found.total // SIZE), SIZE)
    return found


def show_nothing_mined(run_id: str, iteration: int) -> None:
    """Why there are no candidates without any filter."""
    if iteration == 0:
        show_empty(
            "Iteration 0 is the base model, which is only measured.",
            "Candidates are mined from iteration 1 on: pick one at the left. Its held-out answers are compared with "
            "those of the trained models on the next page.",
            "pages/compare.py",
            "Compare",
        )
    else:
        show_empty(
            "No candidate is committed yet.",
            "The E-step commits them chunk by chunk; watch it at work.",
            "pages/runs.py",
            "Watch the run",
        )


def show_counts(found: Listing) -> None:
    """How many there are, and what became of them."""
    whole = sum(found.statuses.values())
    if not whole:
        return
    st.markdown(f"**{found.total:,} candidates**" if found.total != 1 else "**1 candidate**")
    by_status = sorted(found.statuses.items(), key=lambda pair: -pair[1])
    st.caption(
        "  ·  ".join(f"{NAMES.get(status, status)} {n:,} ({share(n, whole)})" for status, n in by_status)
    )


def show_table(found: Listing) -> None:
    """A page of candidates; a click on a row opens its prompt's card."""
    rows = found.rows
    several = len({row["iteration"] for row in rows}) > 1 or session.param("span") == "1"
    table = pd.DataFrame(
        {
            "Iteration": [row["iteration"] for row in rows],
            "Prompt": [cell(row["prompt"] or row["prompt_id"]) for row in rows],
            "Principle": [cell(row["principle"]) for row in rows],
            "Answer y2": [cell(row["response"]) for row in rows],
            "Outcome": [NAMES.get(row["status"], row["status"]) for row in rows],
            "f(y1)": [number(row["draft_score"]) for row in rows],
            "f(y2)": [number(row["score"]) for row in rows],
            "Gain": [row["gain"] for row in rows],
        }
    )
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="trajectories.table",
        height=min(len(rows), 15) * 33 + 36,
        column_order=None if several else list(table.columns[1:]),
        column_config={
            "Prompt": st.column_config.TextColumn(width="medium"),
            "Principle": st.column_config.TextColumn(width="medium"),
            "Answer y2": st.column_config.TextColumn(width="medium"),
            "Gain": st.column_config.NumberColumn(format="%+.3f", help="f(y2, gold) − f(y1, gold)"),
            "f(y1)": st.column_config.TextColumn(help="Similarity of the draft to the gold, 0 to 1"),
            "f(y2)": st.column_config.TextColumn(help="Similarity of the answer to the gold, 0 to 1"),
        },
    )
    st.caption("Tick a row to open the card of its prompt.")
    ticked = chosen["selection"]["rows"]
    if ticked and ticked[0] < len(rows):
        for name, column in (("iteration", "iteration"), ("prompt", "prompt_id"), ("sample", "sample")):
            session.set_param(name, rows[ticked[0]][column])
        st.rerun()


def show_pages(total: int) -> None:
    """The pages' numbers, where there is more than one."""
    pages = -(-total // SIZE)
    if pages < 2:
        return
    asked = session.param("page", "1")
    page = min(pages, max(1, int(asked) if asked.isdecimal() else 1))
    key = f"trajectories.page.{page}.{pages}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.pagination(
            pages, default=page, key=key, on_change=lambda: session.set_param("page", st.session_state[key])
        )
        st.caption(f"{SIZE} a page, {pages:,} pages")


show_heading("Trajectories", "What did the model try on each prompt, and why was it accepted or rejected?")
run, picked = session.run_id(), session.iteration()
if run is None:
    show_empty("There is nothing to look at yet.", "Start a run; its candidates appear here as they are mined.",
               "pages/home.py", "Home")  # fmt: skip
elif picked is None:
    show_empty("This run has not begun its first stage.", "Watch it, or pick another at the left.",
               "pages/runs.py", "Watch the run")  # fmt: skip
elif session.param("prompt"):
    show_card(run, picked, session.param("prompt"))
else:
    show_list(run, picked)
