"""All runs as a table: state, how far, best gain. Home and Runs show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lpd_core.queue import QueueState, place_of
from lpd_core.store import RunState
from lpd_core.store.overview import RunOverview
from pages.components import session
from pages.components.cards import stage_name, with_interval

LISTED = 200


def state_text(state: RunState, place: int | None = None) -> str:
    """A run's state in words, with its place in the queue."""
    if place and state.status != "running":
        return f"{state.status.replace('_', ' ')}, place {place} in the queue"
    if state.status == "queued" and not state.pid:
        return "not started" if not state.stage else "to go on"
    at = f", iteration {state.iteration}, {stage_name(state.stage)}" if state.status == "running" else ""
    return state.status.replace("_", " ") + at


def show_run_list(
    found: Sequence[RunOverview], states: Mapping[str, RunState], queue: QueueState, key: str
) -> None:
    """The newest runs; a click on a row picks the run for all pages."""
    listed = found[:LISTED]
    table = pd.DataFrame(
        {
            "Run": [each.run_id for each in listed],
            "Name": [each.name for each in listed],
            "State": [state_text(states[each.run_id], place_of(queue, each.run_id)) for each in listed],
            "Iterations": [f"{each.measured} of {each.iterations}" for each in listed],
            "Best": ["–" if each.best is None else str(each.best) for each in listed],
            "Gain over base [95 %]": [with_interval(each.gain, sign=True) for each in listed],
            "Created": [each.created_at for each in listed],
        }
    )
    runs = [each.run_id for each in listed]
    st.dataframe(
        table,
        hide_index=True,
        on_select=lambda: _pick(key, runs),
        selection_mode="single-row",
        key=key,
        column_config={
            "State": st.column_config.TextColumn(width="medium"),
            "Best": st.column_config.TextColumn(help="The iteration with the highest held-out score on dev."),
            "Gain over base [95 %]": st.column_config.TextColumn(
                width="medium",
                help="f(y2, gold) of the best iteration minus f(y1, gold) of the base model, Rouge-L F1",
            ),
            "Created": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
    )
    if len(found) > LISTED:
        st.caption(f"The newest {LISTED} of {len(found):,} runs; the picker at the left has all.")


def _pick(key: str, runs: Sequence[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        session.pick(runs[rows[0]])
