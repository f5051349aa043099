"""The entries as a table to select from: filtered, sorted and paged, so that 5,000 entries cost what 25 do."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lpd_core.constitution import Constitution, Entry
from lpd_core.constitution.state import natural_key
from lpd_core.types import Interval
from pages.components import session
from pages.components.reviews import Desk, keywords_of, prunable, weights_of
from pages.components.text import clip, plain

ROWS = 25
HEIGHT = 318
NAMED = 12
STATES = {"active": "Active", "pruned": "Pruned", "used": "Merged or split", "all": "All"}
SORTS = {
    "trajectories": "Most trajectories",
    "gain": "Highest mean gain",
    "low": "Lowest mean gain",
    "prompts": "Most prompts",
    "weight": "Lowest weight",
    "id": "Id",
}


def show_entries(found: Desk) -> list[Entry]:
    """Draw the table with its filters; the entries selected, or the one in the address."""
    here = found.review.history.current
    state, text, sort = _show_filters(here)
    entries = _sorted(found, _matching(here, found, state, text), sort)
    asked = session.param("entry")
    if not entries:
        st.info("No entry fits these filters. Clear the search or choose All.")
        return [here.by_id[asked]] if asked in here.by_id else []
    page = _page(entries, asked)
    shown = entries[(page - 1) * ROWS : page * ROWS]
    _show_prunable(found)
    return _select(found, shown, asked)


def _show_prunable(found: Desk) -> None:
    """Which active entries make gaining less likely: candidates for pruning."""
    ids = [each for each, weight in weights_of(found).items() if prunable(weight)]
    if ids:
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        st.caption(
            f":material/flag: Candidates for pruning: **{plain(', '.join(ids[:NAMED]))}**{more}. Over all scored "
            "candidates, stating them makes gaining less likely: their weight is below 0 beyond its 95 % interval."
        )


def table_key(shown: Sequence[Entry]) -> str:
    """The table's key: a new table, with nothing selected, whenever it shows other entries."""
    return f"constitution.table.{zlib.crc32('|'.join(entry.entry_id for entry in shown).encode())}"


def _show_filters(here: Constitution) -> tuple[str, str, str]:
    counts = {"active": 0, "pruned": 0, "used": 0, "all": len(here.by_id)}
    for entry in here.by_id.values():
        counts[entry.status if entry.status in counts else "used"] += 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state = st.segmented_control(
            "Show",
            list(STATES),
            format_func=lambda each: f"{STATES[each]} {counts[each]:,}",
            default="active",
            required=True,
            key="constitution.state",
        )
        text = st.text_input(
            "Search", key="constitution.search", placeholder="id, words, note", width=200, max_chars=200
        )
        sort = st.selectbox("Sort by", list(SORTS), format_func=SORTS.get, key="constitution.sort", width=200)
    return state or "active", text.strip().casefold(), sort


def _matching(here: Constitution, found: Desk, state: str, text: str) -> list[Entry]:
    wanted = {"all": None, "used": ("merged", "split")}.get(state, (state,))
    return [
        entry
        for entry in here.by_id.values()
        if (wanted is None or entry.status in wanted) and (not text or _has(entry, found, text))
    ]


def _has(entry: Entry, found: Desk, text: str) -> bool:
    if text in f"{entry.entry_id}\n{entry.label}\n{entry.text}\n{entry.note}".casefold():
        return True
    return any(text in word.casefold() for word in keywords_of(found, entry))


def _sorted(found: Desk, entries: list[Entry], sort: str) -> list[Entry]:
    entries.sort(key=lambda entry: natural_key(entry.entry_id))
    if sort == "id":
        return entries
    of, weights = found.support.of, weights_of(found) if sort == "weight" else {}
    return sorted(
        entries,
        key={
            "trajectories": lambda entry: -of(entry).trajectories,
            "prompts": lambda entry: -of(entry).prompts,
            "gain": lambda entry: -(of(entry).mean_gain if of(entry).mean_gain is not None else -9.0),
            "weight": lambda entry: weights[entry.entry_id].mean if _has_weight(weights, entry) else 99.0,
            "low": lambda entry: of(entry).mean_gain if of(entry).mean_gain is not None else 9.0,
        }[sort],
    )


def _has_weight(weights: Mapping[str, Interval], entry: Entry) -> bool:
    return entry.entry_id in weights and weights[entry.entry_id].n > 0


def _page(entries: list[Entry], asked: str) -> int:
    """The page to show; the one with the entry in the address when that has just changed."""
    pages = -(-len(entries) // ROWS)
    key = f"constitution.page.{pages}"
    if asked and st.session_state.get("constitution.asked") != asked:
        ids = [entry.entry_id for entry in entries]
        if asked in ids:
            st.session_state[key] = ids.index(asked) // ROWS + 1
    st.session_state["constitution.asked"] = asked
    if pages < 2:
        return 1
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(pages, key=key)
        st.caption(f"{len(entries):,} entries, {ROWS} a page")
    return min(page, pages)


def _select(found: Desk, shown: list[Entry], asked: str) -> list[Entry]:
    here, ids = found.review.history.current, [entry.entry_id for entry in shown]
    chosen = st.dataframe(
        _frame(found, shown),
        hide_index=True,
        height=min(HEIGHT, 38 + 35 * len(shown)),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [ids.index(asked)] if asked in ids else []}},
        key=table_key(shown),
        column_config={
            "Id": st.column_config.TextColumn(width=60),
            "Principle": st.column_config.TextColumn(width=300),
            "State": st.column_config.TextColumn(width=110),
            "Mean gain": st.column_config.NumberColumn(
                format="%+.3f",
                width=80,
                help="Mean of f(y2, gold) − f(y1, gold) over the entry's trajectories; their number is beside it.",
            ),
            "Weight": st.column_config.NumberColumn(
                format="%+.2f",
                width=62,
                help="Logistic regression of gaining on all entries, over all scored candidates: below 0 it makes gaining "
                "less likely. An entry's panel has its interval and n.",
            ),
            "Flag": st.column_config.TextColumn(
                width=64, help="prune?: the weight is below 0 beyond its 95 % interval."
            ),
            "Trajectories": st.column_config.NumberColumn(width=86),
            "Prompts": st.column_config.NumberColumn(width=68),
            "Principles": st.column_config.NumberColumn(
                width=78, help="Distinct texts that were clustered together."
            ),
        },
        alt="The entries of the constitution with their support",
    )
    rows = [row for row in chosen["selection"]["rows"] if row < len(shown)]
    if rows:
        if len(rows) == 1:
            session.set_param("entry", ids[rows[0]])
            st.session_state["constitution.asked"] = ids[rows[0]]
        return [shown[row] for row in rows]
    if asked in ids:
        session.set_param("entry", None)
        return []
    return [here.by_id[asked]] if asked in here.by_id else []


def _frame(found: Desk, shown: list[Entry]) -> pd.DataFrame:
    support, weights = [found.support.of(entry) for entry in shown], weights_of(found)
    return pd.DataFrame(
        {
            "Id": [entry.entry_id for entry in shown],
            "Principle": [_named(entry) for entry in shown],
            "Trajectories": [each.trajectories for each in support],
            "Prompts": [each.prompts for each in support],
            "Principles": [each.principles for each in support],
            "Mean gain": [each.mean_gain for each in support],
            "Weight": [weights[e.entry_id].mean if _has_weight(weights, e) else None for e in shown],
            "Flag": ["prune?" if prunable(weights.get(entry.entry_id)) else "" for entry in shown],
            "State": [state_of(entry) for entry in shown],
            "Keywords": [", ".join(keywords_of(found, entry)[:5]) for entry in shown],
        }
    )


def _named(entry: Entry) -> str:
    text = entry.text if entry.label == entry.text else f"{entry.label}: {entry.text}"
    return clip(" ".join(text.split()), 300)


def state_of(entry: Entry) -> str:
    """An entry's state in words."""
    into = f" into {', '.join(entry.into)}" if entry.into else ""
    marks = [name for name, on in (("pinned", entry.pinned), ("accepted", entry.accepted)) if on]
    return ", ".join([entry.status + into, *marks])
