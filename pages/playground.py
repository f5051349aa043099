"""A trained iteration beside another model: try it on a prompt, judge it blind, see how the votes stand."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from lpd_core import resident
from lpd_core.store import votes
from lpd_core.store.votes import Ballot, System, Tally, Verdict
from pages.components import reads, session
from pages.components.ballots import (
    VERDICTS,
    show_messages,
    show_reveal,
    show_sides,
    show_verdicts,
    shuffled,
    system_name,
)
from pages.components.bound import Bound
from pages.components.cards import share, show_empty, show_heading
from pages.components.charts import as_csv
from pages.components.generation import Played, choose_principle, choose_prompt, play, show_played, show_room
from pages.components.text import cell, show_text

TRY, VOTE, VOTES = "Try a prompt", "Vote on held-out answers", "Votes"
LISTED = 100
EXPORTED = 100_000
BOUND = Bound("playground")


def trained(run_id: str) -> list[int]:
    """The iterations of a run whose checkpoint is there, the latest first."""
    folder = reads.folder(run_id)
    known = [row["iteration"] for row in reads.iterations(run_id)]
    return [t for t in reversed(known) if t > 0 and folder.checkpoint(t).is_dir()]


def measured(run_id: str) -> list[int]:
    """The trained iterations with held-out answers, the latest first."""
    return [row["iteration"] for row in reversed(reads.iterations(run_id)) if row["summary"].get("evaluate")]


def picked(known: list[int]) -> int:
    """The iteration picked at the left where it is trained, else the latest that is."""
    t = session.iteration()
    return t if t in known else known[0]


def choose_other(iteration: int, known: list[int], with_drafts: bool) -> System:
    """What the iteration is compared with."""
    others = [System(0)] + ([System(0, "y1")] if with_drafts else [])
    others += [System(t) for t in known if t not in (0, iteration)]
    names = {f"{other.iteration}.{other.answer}": other for other in others}

    def words(name: str) -> str:
        found = system_name(names[name])
        return (found if with_drafts else found.split(",")[0]).capitalize()

    return names[BOUND.choice("against", "Against", list(names), "0.y2", format_func=words)]


def choose_rival(run_id: str, iteration: int, known: list[int]) -> System:
    """What the iteration is voted against: another answer of its run, or the refined answer of another run's model."""
    runs = ["", *(each for each in reads.run_ids() if each != run_id)]
    other = (
        BOUND.choice("rival", "Against a model of", runs, format_func=lambda name: name or "this run")
        if runs[1:]
        else ""
    )
    if not other:
        return choose_other(iteration, known, with_drafts=True)
    systems = {str(t): System(t, "y2", other) for t in measured(other)}
    if not systems:
        st.caption("That run has no held-out answers yet; its own are compared.")
        return choose_other(iteration, known, with_drafts=True)
    return systems[
        BOUND.choice(
            "rival_iteration",
            "Against",
            list(systems),
            next(iter(systems)),
            format_func=lambda name: system_name(systems[name]).capitalize(),
        )
    ]


def show_try(run_id: str) -> None:
    """A prompt in, both sides out, and a vote on them."""
    known = trained(run_id)
    if not known:
        show_nothing_trained()
        return
    iteration = picked(known)
    asking, how = st.columns([3, 2], gap="large")
    with asking:
        prompt_id, messages = choose_prompt(BOUND, run_id)
    with how:
        st.markdown(f"**Iteration {iteration}**, the one picked at the left")
        other = choose_other(iteration, known, with_drafts=False)
        principle = choose_principle(BOUND, run_id, iteration)
        left, right = st.columns(2)
        temperature = left.number_input(
            "Temperature",
            0.0,
            2.0,
            0.0,
            0.1,
            key="playground.temperature",
            help="0 takes the likeliest token",
        )
        seed = right.number_input(
            "Seed", 0, 2**31 - 1, 0, key="playground.seed", help="the same seed gives the same texts"
        )
        is_blind = st.toggle(
            "Blind", value=True, key="playground.blind", help="hides which side is which until you have voted"
        )
    fits = show_room(resident.room(reads.store(), run_id, (iteration, other.iteration)))
    ready = fits and bool(messages) and principle != "" and session.may_edit()
    if st.button("Generate", type="primary", key="playground.generate", disabled=not ready):
        st.session_state.pop("playground.played", None)
        asked = {"messages": messages, "principle": principle, "temperature": temperature, "seed": int(seed)}
        systems = (System(iteration), other)
        st.session_state["playground.played"] = play(run_id, systems, asked, prompt_id, is_blind)
        st.rerun()
    if not session.may_edit():
        st.caption("Generating needs a login here; sign in at the foot of the sidebar.")
    show_result(run_id)


def show_result(run_id: str) -> None:
    """What was generated last, with its vote."""
    played: Played | None = st.session_state.get("playground.played")
    if played is None or played.ballot.run_id != run_id:
        return
    show_played(played)
    if played.is_hidden:
        st.markdown("**Which refined answer is better?** The keys 1 to 4 vote too.")
        show_verdicts(played.ballot, "playground.try", _keep_verdict)
    elif played.verdict:
        show_reveal(played.ballot, played.verdict)


def _keep_verdict(verdict: Verdict) -> None:
    st.session_state["playground.played"].verdict = verdict


def show_voting(run_id: str) -> None:
    """Held-out answers of two systems, two at a time, without their names."""
    known = measured(run_id)
    if not [t for t in known if t > 0]:
        show_nothing_trained()
        return
    iteration = picked([t for t in known if t > 0])
    left, right = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    with left:
        other = choose_rival(run_id, iteration, known)
    shows_gold = right.toggle("Show the gold answer", key="playground.gold")
    pair = (System(iteration), other)
    last = st.session_state.get("playground.last")
    if last and last[0].run_id == run_id:
        show_reveal(*last)
    ballot = waiting_ballot(run_id, pair)
    show_progress(run_id, pair)
    if ballot is None and not reads.fetch(votes.heldout_count, run_id, pair):
        st.info(
            "These two have no held-out prompt in common. Choose a run that was measured on the same data."
        )
        return
    if ballot is None:
        st.info(
            "You have judged or skipped every held-out prompt of this pair. Compare another one, or see the votes."
        )
        return
    show_messages(ballot)
    if shows_gold:
        show_text(ballot.gold, "Gold answer", height="12rem")
    show_sides(ballot)
    st.markdown("**Which answer is better?** The keys 1 to 4 vote, 5 skips.")
    show_verdicts(ballot, "playground.vote", lambda verdict: _next(ballot, verdict))
    st.button("Skip", key="playground.skip", shortcut="5", type="tertiary", on_click=_skip, args=(ballot,))


def waiting_ballot(run_id: str, pair: tuple[System, System]) -> Ballot | None:
    """The ballot that this tab is shown, the same until it is judged or skipped."""
    shown = st.session_state.get("playground.ballot")
    if shown and shown.run_id == run_id and set(shown.systems) == set(pair):
        return shown
    passed = st.session_state.setdefault("playground.passed", [])
    found = votes.next_ballot(reads.store(), run_id, pair, session.author(), passed)
    st.session_state["playground.ballot"] = shuffled(found) if found else None
    return st.session_state["playground.ballot"]


def show_progress(run_id: str, pair: tuple[System, System]) -> None:
    """How far this voter is with a pair."""
    mine = [
        tally
        for tally in reads.fetch(votes.tallies, run_id)
        if {tally.system, tally.other} == set(pair) and tally.voter == session.author()
    ]
    total = reads.fetch(votes.heldout_count, run_id, pair)
    done = sum(tally.n for tally in mine)
    st.caption(
        f"Iteration {pair[0].iteration} against the {system_name(pair[1])}: {done:,} votes of yours, {total:,} "
        "held-out prompts answered by both. Which side is which is drawn anew for each prompt; those that a judge has "
        "compared come first."
    )


def _next(ballot: Ballot, verdict: Verdict) -> None:
    st.session_state["playground.last"] = (ballot, verdict)
    st.session_state.pop("playground.ballot", None)


def _skip(ballot: Ballot) -> None:
    st.session_state["playground.passed"].append(ballot.prompt_id)
    st.session_state.pop("playground.ballot", None)
    st.session_state.pop("playground.last", None)


def show_votes(run_id: str) -> None:
    """How the votes stand, by pair and by voter, and the votes themselves."""
    tallies = reads.fetch(votes.tallies, run_id)
    if not tallies:
        show_empty(
            "No votes yet.",
            "Compare the held-out answers of two models, or generate some, and say which is better.",
        )
        return
    pairs: dict[tuple[System, System], list[Tally]] = {}
    for tally in tallies:
        pairs.setdefault((tally.system, tally.other), []).append(tally)
    for (system, other), found in pairs.items():
        st.subheader(f"{system_name(system)} against {system_name(other)}".capitalize(), anchor=False)
        show_tallies(found)
    show_listed(run_id)


def show_tallies(found: list[Tally]) -> None:
    """One pair: everybody's votes, then each voter's."""
    everybody = votes.together(found)
    rate = everybody.win_rate()
    st.metric("Win rate", f"{100 * rate.mean:.0f} %", width="content")
    decided = everybody.wins + everybody.losses
    st.caption(
        f"95 % Wilson interval {100 * rate.low:.0f} to {100 * rate.high:.0f} %, n = {rate.n:,} votes; ties and both "
        f"bad count half. Side A was chosen in {share(everybody.chose_a, decided)} decided votes."
    )
    rows = found if len(found) == 1 else [everybody, *found]
    table = pd.DataFrame(
        {
            "Voter": [cell(tally.voter) for tally in rows],
            "Win rate [95 %]": [_percent(tally) for tally in rows],
            "n": [tally.n for tally in rows],
            "Wins": [tally.wins for tally in rows],
            "Losses": [tally.losses for tally in rows],
            "Ties": [tally.ties for tally in rows],
            "Both bad": [tally.both_bad for tally in rows],
        }
    )
    st.dataframe(table, hide_index=True)


def _percent(tally: Tally) -> str:
    rate = tally.win_rate()
    return f"{100 * rate.mean:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def show_listed(run_id: str) -> None:
    """The newest votes, and all of them to take away."""
    st.subheader("The newest votes", anchor=False)
    rows = reads.fetch(votes.listed, run_id, LISTED)
    table = pd.DataFrame(
        {
            "When": [row["at"] for row in rows],
            "Voter": [cell(row["voter"]) for row in rows],
            "Verdict": [VERDICTS[row["verdict"]][0] for row in rows],
            "A": [system_name(votes.system_of(row, "a")) for row in rows],
            "B": [system_name(votes.system_of(row, "b")) for row in rows],
            "Answer A": [cell(row["response_a"]) for row in rows],
            "Answer B": [cell(row["response_b"]) for row in rows],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={"When": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
    )
    st.download_button(
        "All votes as CSV",
        data=lambda: as_csv(votes.listed(reads.store(), run_id, EXPORTED)),
        file_name=f"votes-{run_id}.csv",
        mime="text/csv",
        key="playground.csv",
        on_click="ignore",
    )


def show_nothing_trained() -> None:
    """Why there is nothing to play with."""
    show_empty(
        "This run has no trained model yet.",
        "The playground needs an iteration that has been trained and measured. See how far the run is.",
        "pages/runs.py",
        "Runs",
    )


show_heading(
    "Playground", "What does a trained model say, step by step, and is it better than the base model?"
)
run = session.run_id()
if run is None:
    show_empty(
        "There is no run yet.",
        "Start the demo run, and come back when it has trained.",
        "pages/home.py",
        "Home",
    )
else:
    view = BOUND.segment("view", "View", [TRY, VOTE, VOTES], TRY, label_visibility="collapsed")
    {TRY: show_try, VOTE: show_voting, VOTES: show_votes}[view](run)
