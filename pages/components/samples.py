"""The same held-out prompts answered by several systems: who comes closer, and where they differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from lpd_core.metrics import interval
from lpd_core.store.card import card
from lpd_core.store.comparing import System, answers, beginnings, paired_scores
from pages.components import reads, session
from pages.components.bound import Bound, listed
from pages.components.cards import number, signed, with_interval
from pages.components.text import cell, plain, show_diff, show_text

SIZE, MOST = 25, 4
AGAINST = {"draft": "its own draft", "first": "the first system's answer", "gold": "the gold"}


def name_of(system: System) -> str:
    """A system in words."""
    return f"{system.run_id} · {'base' if system.iteration == 0 else system.iteration}"


def chosen_systems(measured: Sequence[System], default: Sequence[System]) -> list[System]:
    """The systems that the address names, or those to begin with."""
    known = {f"{system.run_id}.{system.iteration}": system for system in measured}
    asked = [known[each] for each in listed("at") if each in known]
    return asked[:MOST] or list(default)


def show_samples(bound: Bound, measured: Sequence[System], default: Sequence[System], benchmark: str) -> None:
    """Choose systems, see the paired differences, the prompts by largest difference, and one prompt side by side."""
    known = {f"{system.run_id}.{system.iteration}": system for system in measured}
    systems = chosen_systems(measured, default)
    placed = [f"{system.run_id}.{system.iteration}" for system in systems]
    if not listed("at"):
        session.set_param("at", ",".join(placed))
    bound.choices(
        "at",
        f"Systems, at most {MOST}; the others are compared with the first",
        list(known),
        format_func=lambda key: name_of(known[key]),
        max_selections=MOST,
    )
    if len(systems) < 2:
        st.info("Choose at least two systems: an iteration against the base model, or against another run's.")
        return
    pairs = reads.fetch(paired_scores, tuple(systems), benchmark)
    if not pairs:
        st.info(
            f"These systems share no scored prompt of the held-out set {benchmark}; choose another set or others."
        )
        return
    show_differences(systems, pairs)
    prompt_id = show_prompts(systems, pairs)
    if prompt_id:
        show_prompt(systems, benchmark, prompt_id)


def show_differences(systems: Sequence[System], pairs: Sequence[tuple[str, tuple[float, ...]]]) -> None:
    """Each system's mean f(y2), and its difference to the first, paired by prompt."""
    rows = []
    for place, system in enumerate(systems):
        own = [scores[place] for _, scores in pairs]
        difference = [scores[place] - scores[0] for _, scores in pairs]
        wins = [0.5 if d == 0 else float(d > 0) for d in difference]
        rows.append(
            {
                "System": cell(name_of(system)),
                "f(y2) [95 %]": with_interval(asdict(interval(own))),
                "Difference to the first, paired": "–"
                if place == 0
                else with_interval(asdict(interval(difference)), sign=True),
                "Wins over the first, ties half": "–"
                if place == 0
                else with_interval(asdict(interval(wins))),
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="compare.differences", height=len(rows) * 33 + 36)


def show_prompts(systems: Sequence[System], pairs: Sequence[tuple[str, tuple[float, ...]]]) -> str:
    """A page of the prompts, largest difference first; returns the one to show."""
    pages = -(-len(pairs) // SIZE)
    asked = session.param("page", "1")
    page = min(pages, max(1, int(asked) if asked.isdecimal() and len(asked) < 9 else 1))
    shown = pairs[(page - 1) * SIZE : page * SIZE]
    told = reads.fetch(beginnings, tuple(prompt_id for prompt_id, _ in shown))
    table = {"Prompt": [cell(told.get(prompt_id, prompt_id)) for prompt_id, _ in shown]}
    for place, system in enumerate(systems):
        table[cell(name_of(system))] = [scores[place] for _, scores in shown]
    table["Largest difference"] = [max(scores) - min(scores) for _, scores in shown]

    def choose() -> None:
        ticked = st.session_state["compare.prompts"]["selection"]["rows"]
        session.set_param("prompt", shown[ticked[0]][0] if ticked else None)

    names = [name for name in table if name != "Prompt"]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        on_select=choose,
        selection_mode="single-row",
        key="compare.prompts",
        height=min(len(shown), 10) * 33 + 36,
        column_config={
            "Prompt": st.column_config.TextColumn(width="large"),
            **{name: st.column_config.NumberColumn(format="%.3f") for name in names},
        },
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if pages > 1:
            key = f"compare.page.{page}.{pages}"
            st.pagination(
                pages,
                default=page,
                key=key,
                on_change=lambda: session.set_param("page", st.session_state[key]),
            )
        st.caption(
            f"{len(pairs):,} prompts that all {len(systems)} answered, f(y2, gold) each. Tick a row to read it."
        )
    known = {prompt_id for prompt_id, _ in pairs}
    asked = session.param("prompt")
    return asked if asked in known else shown[0][0]


def show_prompt(systems: Sequence[System], benchmark: str, prompt_id: str) -> None:
    """One prompt: what each system drafted, invoked and answered, beside the gold."""
    found = reads.fetch(card, systems[0].run_id, systems[0].iteration, prompt_id)
    rows = reads.fetch(answers, tuple(systems), benchmark, (prompt_id,)).get(prompt_id, [])
    if found is None or len(rows) != len(systems):
        return
    st.subheader("One prompt, side by side", anchor=False)
    for message in found.example.messages:
        show_text(message["content"], f"x, {message['role']}", height="12rem")
    against = st.segmented_control(
        "Mark words of y2 against",
        list(AGAINST),
        default="draft",
        required=True,
        format_func=AGAINST.get,
        key="compare.against",
    )
    with st.grid(len(systems) + 1, min_column_width=200) as grid:
        for system, row in zip(systems, rows, strict=True):
            with grid.cell():
                show_answer(system, row, rows[0], found.example.gold, against or "draft")
        with grid.cell():
            st.markdown("**Gold**")
            show_text(found.example.gold)


def show_answer(
    system: System, row: Mapping[str, Any], first: Mapping[str, Any], gold: str, against: str
) -> None:
    """One system's draft, principle and answer."""
    st.markdown(f"**{plain(name_of(system))}**")
    show_text(row["draft"], f"y1, f = {number(row['draft_score'])}", height="12rem")
    show_text(row["principle"], "z", height="8rem")
    gain = None if row["draft_score"] is None else row["score"] - row["draft_score"]
    before = {"draft": row["draft"], "first": first["response"], "gold": gold}[against] or ""
    title = f"y2, f = {number(row['score'])}, {signed(gain)} over y1"
    if row["response"] and row["response"] != before:
        show_diff(before, row["response"], title)
    else:
        show_text(row["response"], f"{title} (the same)" if row["response"] else title)
    st.page_link(
        "pages/trajectories.py",
        label="Its card",
        query_params={"run": system.run_id, "iteration": str(system.iteration), "prompt": row["prompt_id"]},
    )
