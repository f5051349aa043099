"""What a judge and what people said of a run's answers: comparisons with their pairs, the judge beside the votes."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import streamlit as st

from lpd_core.agreement import Agreement, judge_and_people
from lpd_core.judgements import Kept, kept_comparisons
from lpd_core.store import evaluating
from pages.components import reads, session
from pages.components.cards import number, with_interval
from pages.components.measured import show_bars
from pages.components.text import cell, plain, show_text

SIZE = 20


def show_judged(run: str) -> None:
    """The judged comparisons of a run with intervals and the judge's own failings; a ticked one opens its pairs."""
    st.subheader("By a judge", anchor=False)
    kept = reads.fetch(kept_comparisons, run)
    if not kept:
        st.caption(
            "No judge has compared answers of this run. In a terminal, with the run's own base model as the judge:"
        )
        st.code(f"python -m lpd_core evaluate {run} --judge", language=None)
        return
    answers = [each for each in kept if not each.name.startswith("entry ")]
    rows = [{"name": each.name, **asdict(each.summary.win_rate)} for each in answers]
    show_bars(
        rows, "evaluate.judged_wins", "Win rate before the judge, ties half", "win rate (0.5 is parity)", 0.5
    )
    picked = _choose(kept)
    st.caption(
        "Each pair in both orders, a tie half, with 95 % bootstrap intervals over prompts. A verdict that was not given is "
        "counted and never guessed: unjudged pairs are left out of the win rate. Favours the first: the share of the "
        "decided verdicts for the answer shown first, less one half. Tick a row to read its pairs."
    )
    if picked is not None:
        show_pairs(run, picked)


def _choose(kept: list[Kept]) -> Kept | None:
    """The comparisons as a table to tick; the one that the address names."""
    names = {f"{each.iteration}|{each.name}|{each.judge}|{each.prompts_digest}": each for each in kept}
    table = {
        "Comparison": [cell(each.name) for each in kept],
        "Win rate": [with_interval(asdict(each.summary.win_rate)) for each in kept],
        "Wins": [each.summary.wins for each in kept],
        "Ties": [each.summary.ties for each in kept],
        "Losses": [each.summary.losses for each in kept],
        "Unjudged": [each.summary.unjudged for each in kept],
        "Failed verdicts": [f"{each.summary.failed_verdicts} of {each.summary.verdicts}" for each in kept],
        "Orders agree": [_percent(each.summary.agreement) for each in kept],
        "Favours the first by": [_percent(each.summary.order_bias) for each in kept],
        "Judge": [cell(each.judge, 80) for each in kept],
        "Its prompts": [each.prompts_digest for each in kept],
    }

    def choose() -> None:
        ticked = st.session_state["evaluate.judged"]["selection"]["rows"]
        session.set_param("pairs", list(names)[ticked[0]] if ticked else None)
        session.set_param("page", None)

    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        on_select=choose,
        selection_mode="single-row",
        key="evaluate.judged",
        height=min(len(kept), 10) * 33 + 36,
        column_config={"Comparison": st.column_config.TextColumn(width="medium")},
    )
    return names.get(session.param("pairs"))


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value == value else "–"


def show_pairs(run: str, kept: Kept) -> None:
    """A page of a comparison's pairs, and one of them whole with a link to its card."""
    total = len(kept.prompt_ids)
    pages = -(-total // SIZE)
    asked = session.param("page", "1")
    page = min(pages, max(1, int(asked) if asked.isdecimal() and len(asked) < 9 else 1))
    names = (kept.iteration, f"judge:{kept.name}", f"judge:{kept.judge}", kept.prompts_digest)
    rows = reads.fetch(evaluating.judged_page, run, *names, SIZE, (page - 1) * SIZE)
    st.markdown(f"**The pairs of {plain(kept.name)}**, a: M\\_{kept.iteration} y2, b: {plain(kept.against)}")
    table = {
        "Prompt": [cell(row["prompt"] or row["prompt_id"]) for row in rows],
        "a shown first": [_said(row["verdict"]["forward"]) for row in rows],
        "b shown first": [_said(row["verdict"]["backward"]) for row in rows],
        "Share won": [number(row["score"], 2) for row in rows],
        "Answer a": [cell(row["a"]) for row in rows],
        "Answer b": [cell(row["b"]) for row in rows],
    }
    chosen = st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"evaluate.pairs.{page}.{kept.name}",
        height=min(len(rows), 8) * 33 + 36,
    )
    if pages > 1:
        key = f"evaluate.page.{page}.{pages}"
        st.pagination(
            pages, default=page, key=key, on_change=lambda: session.set_param("page", st.session_state[key])
        )
    ticked = chosen["selection"]["rows"]
    if ticked and ticked[0] < len(rows):
        _show_pair(run, kept, rows[ticked[0]])


def _said(outcomes: list[str | None]) -> str:
    return ", ".join(outcome or "no verdict" for outcome in outcomes)


def _show_pair(run: str, kept: Kept, row: dict) -> None:
    show_text(row["prompt"], "Prompt, its last turn", height="10rem")
    with st.grid(2, min_column_width=320) as grid:
        for side, name in (("a", f"M_{kept.iteration} y2"), ("b", kept.against)):
            with grid.cell():
                show_text(row[side], f"{side}, {name}")
    query = {"run": run, "iteration": str(kept.iteration), "prompt": row["prompt_id"]}
    st.page_link("pages/trajectories.py", label="Its card, with the gold and f", query_params=query)


def show_people(run: str) -> None:
    """Whether the judge says what people say."""
    st.subheader("Judge and people", anchor=False)
    found = reads.fetch(judge_and_people, run)
    query = session.address()
    if not found:
        st.caption(
            "Cohen's kappa between a judge and people's blind votes stands here once both have compared the same answers: "
            "a trained iteration's y2 with the base model's y1, or with the iteration's before."
        )
    else:
        rows = [{"name": _name(each), **asdict(each.kappa)} for each in found]
        title = "Cohen's kappa of judge and people over votes"
        show_bars(rows, "evaluate.kappa", title, "kappa (0 is chance, 1 whole agreement)", 0.0)
        table = {
            "Comparison": [f"M_{each.iteration} y2 over {each.against}" for each in found],
            "Kappa": [with_interval(asdict(each.kappa)) for each in found],
            "Kappa, decided by both": [with_interval(asdict(each.decided)) for each in found],
            "Same outcome": [with_interval(asdict(each.same)) for each in found],
            "Prompts": [each.prompts for each in found],
            "Voters": [each.voters for each in found],
            "Ties of people": [each.people_ties for each in found],
            "Ties of the judge": [each.judge_ties for each in found],
            "Votes without a verdict": [each.unjudged for each in found],
            "Judge": [cell(each.judge, 80) for each in found],
        }
        st.dataframe(
            pd.DataFrame(table), hide_index=True, key="evaluate.people", height=min(len(found), 8) * 33 + 36
        )
        st.caption(
            "n counts votes; intervals are bootstrapped over prompts, since votes on one prompt belong together. A tie is "
            "an outcome of its own, and both bad counts as one."
        )
    st.page_link(
        "pages/playground.py",
        label="Vote blind on held-out answers",
        query_params={**query, "view": "Vote on held-out answers"},
    )


def _name(found: Agreement) -> str:
    return f"M_{found.iteration} y2 over {found.against}, {found.judge}"
