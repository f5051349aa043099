"""Trying a prompt: what to ask, how, and the texts as they come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lpd_core import resident
from lpd_core.resident import Room, Step
from lpd_core.store import constitutions, corpora
from lpd_core.store.votes import Ballot, System, Verdict
from lpd_core.types import Message
from pages.components import reads, session
from pages.components.ballots import shuffled, system_name
from pages.components.bound import Bound
from pages.components.cards import size, stage_name
from pages.components.text import clip, plain, show_diff, show_text

FOUND = 50
LONGEST_PROMPT = 20_000  # characters of a prompt that somebody writes
OWN, OF_CONSTITUTION, WRITTEN = "The model's own", "Of the constitution", "My own words"


@dataclass
class Played:
    """A prompt with the steps of both sides, side A first; `verdict` once there is one."""

    ballot: Ballot
    steps: tuple[dict[str, Step], dict[str, Step]]
    is_blind: bool
    verdict: Verdict | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether nobody may see yet which side is which."""
        return self.is_blind and self.verdict is None


def choose_prompt(bound: Bound, run_id: str) -> tuple[str | None, tuple[Message, ...]]:
    """The prompt to try with its id: a held-out one, or (without id) one that is written here; no messages while
    there is none."""
    if bound.segment("prompt_from", "Prompt", ["Write one", "Held-out prompt"], "Write one") == "Write one":
        text = st.text_area(
            "What the model is asked",
            key="playground.text",
            max_chars=LONGEST_PROMPT,
            placeholder="The shipped model knows only the short notes of its own world: try a held-out prompt first.",
        )
        return None, ({"role": "user", "content": text},) if text.strip() else ()
    words = bound.text("find", "Find among the held-out prompts", placeholder="words of the prompt")
    found = reads.fetch(corpora.heldout_like, run_id, words, FOUND)
    asked = session.param("prompt")
    if asked and asked not in [row["prompt_id"] for row in found]:
        found += reads.fetch(corpora.heldout_like, run_id, asked, 1)
    if not found:
        st.info("No held-out prompt of this run holds these words.")
        return None, ()
    by_id = {row["prompt_id"]: row for row in found}
    chosen = bound.choice(
        "prompt",
        f"Prompt ({len(found)}{' or more' if len(found) >= FOUND else ''} found)",
        list(by_id),
        next(iter(by_id)),
        format_func=lambda name: f"{by_id[name]['benchmark']}: {_last_words(by_id[name]['messages'])}",
    )
    for message in by_id[chosen]["messages"]:
        show_text(
            message["content"], "Prompt" if message["role"] == "user" else message["role"], height="9rem"
        )
    return chosen, by_id[chosen]["messages"]


def _last_words(messages: Sequence[Message]) -> str:
    return clip(" ".join(messages[-1]["content"].split()), 90)


def choose_principle(bound: Bound, run_id: str, iteration: int) -> str | None:
    """The principle that both sides must follow; None where each names its own. An empty one is not chosen yet."""
    names = [OWN, OF_CONSTITUTION, WRITTEN]
    kind = bound.segment(
        "principle_from",
        "Principle (z)",
        names,
        OWN,
        wrap=True,
        help="By itself the model names a principle for the prompt and sees no constitution, as in the held-out "
        "measurement. A forced principle takes the place of what it would have named, on both sides.",
    )
    if kind == OWN:
        return None
    if kind == WRITTEN:
        return st.text_input("The principle", key="playground.principle", max_chars=500).strip()
    entries = reads.fetch(constitutions.approved_texts, run_id, iteration)
    if not entries:
        st.info(f"The constitution of iteration {iteration} is not approved, or has no entry.")
        return ""
    texts = {entry["id"]: entry["text"] for entry in entries}
    chosen = bound.choice(
        "entry",
        f"Entry of the approved constitution of iteration {iteration} ({len(texts)})",
        list(texts),
        next(iter(texts)),
        format_func=lambda name: f"{name}  {clip(texts[name], 110)}",
    )
    return texts[chosen]


def show_room(found: Room) -> bool:
    """Say what stands in the way of loading the models, or beside it; whether they may be loaded."""
    where = "GPU memory" if found.on_gpu else "memory"
    busy = "; ".join(
        f"{plain(run.run_id)} is at work (iteration {run.iteration}, {stage_name(run.stage) or 'starting'})"
        for run in found.at_work
    )
    if not found.suffices:
        st.warning(
            f"{busy + ' and takes memory. ' if busy else ''}{size(max(0, found.available))} of {where} can be had, and the "
            f"two models need about {size(found.needed)}. "
            + (
                "Wait until the stage has ended, or stop the run."
                if busy
                else "Close other programs, or use a machine with more."
            )
        )
        return False
    if busy:
        st.info(
            f"{busy}. There is memory for both ({size(found.available)} of {where} can be had, about "
            f"{size(found.needed)} more is needed), but the run gets slower while you generate."
        )
    if found.unknown:
        st.info("The base model is named by its hub name, so its memory need is not known here.")
    return True


def play(
    run_id: str, systems: tuple[System, System], asked: dict[str, Any], prompt_id: str | None, is_blind: bool
) -> Played:
    """Generate both sides, one after the other, drawing the texts as they come. `asked` holds messages, principle,
    temperature and seed."""
    session.require_edit()
    ballot = Ballot(run_id, prompt_id, asked["messages"], systems, ("", ""))
    order = shuffled(ballot).systems if is_blind else systems
    slots = []
    for column, side, system in zip(st.columns(2, gap="medium"), "AB", order, strict=True):
        with column:
            show_side_heading(side, system, is_blind)
            slots.append({role: st.empty() for role in ("draft", "principle", "refine")})
    steps: tuple[dict[str, Step], dict[str, Step]] = ({}, {})
    for system, places, done in zip(order, slots, steps, strict=True):
        with st.spinner("The model process is at work; the first time it loads the models"):
            coming = resident.chain(reads.store(), run_id, system.iteration, **asked)
            with closing(coming):
                for step in coming:
                    done[step.role] = step
                    with places[step.role].container():
                        show_step(step, done)
    settings = {key: value for key, value in asked.items() if key != "messages"}
    responses = (steps[0]["refine"].text, steps[1]["refine"].text)
    return Played(
        Ballot(run_id, prompt_id, asked["messages"], order, responses, {"source": "playground", **settings}),
        steps,
        is_blind,
    )


def show_side_heading(side: str, system: System, is_hidden: bool) -> None:
    """The name of a side: its letter while it is hidden which is which."""
    name = f"Side {side}" if is_hidden else system_name(System(system.iteration)).split(",")[0].capitalize()
    st.markdown(f"**{name}**")


def show_step(step: Step, done: dict[str, Step]) -> None:
    """One text of the chain; the refined answer, when it is whole, against the first one."""
    tokens = f", {step.tokens} tokens" if step.tokens else ""
    cut = ", cut at its limit" if step.finish_reason == "length" else ""
    if step.error:
        st.warning(plain(step.error))
    if step.role == "draft":
        show_text(step.text, f"First answer (y1){tokens}{cut}")
    elif step.role == "principle":
        show_text(step.text, f"Principle (z){tokens}{cut}")
    elif step.finish_reason is None:
        show_text(step.text, "Refined answer (y2)")
    else:
        show_diff(done["draft"].text, step.text, f"Refined answer (y2), changes since y1{tokens}{cut}")


def show_played(played: Played) -> None:
    """Both sides with all their steps."""
    for column, side, system, done in zip(
        st.columns(2, gap="medium"), "AB", played.ballot.systems, played.steps, strict=True
    ):
        with column:
            show_side_heading(side, system, played.is_hidden)
            for role in ("draft", "principle", "refine"):
                show_step(done[role], done)
