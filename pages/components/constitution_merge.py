"""Merging: of the entries selected in the table, and the wizard that walks the most similar pairs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lpd_core import curation
from lpd_core.constitution import Entry
from pages.components import reads, session
from pages.components.cards import number, show_figures
from pages.components.constitution_effect import show_staged
from pages.components.constitution_pick import pick_entry
from pages.components.reviews import Desk, keywords_of
from pages.components.text import clip, plain, show_diff, show_text

PAIRS = 60
ALL_PAIRS_UP_TO = 300
"""Above this many entries the wizard compares one entry with all others instead of all with all."""


def show_merge(found: Desk, chosen: list[Entry], editing: bool) -> None:
    """The entries selected in the table, and their merge."""
    with st.container(border=True):
        st.subheader(f"{len(chosen):,} entries selected", anchor=False)
        for entry in chosen[:12]:
            st.markdown(f"{plain(entry.entry_id)}: {plain(entry.text, 220)}")
        if not editing:
            return
        fixed = [entry.entry_id for entry in chosen if entry.status != "active"]
        if fixed:
            st.caption(f"Only active entries are merged; {plain(', '.join(fixed))} cannot be.")
            return
        _stage_merge(found, [entry.entry_id for entry in chosen], "constitution.merge", None)


def _stage_merge(found: Desk, ids: list[str], key: str, shortcut: str | None) -> None:
    by_id = found.review.history.current.by_id
    largest = max((by_id[each] for each in ids), key=lambda entry: entry.trajectories)
    texts = {entry_id: clip(" ".join(by_id[entry_id].text.split()), 110) for entry_id in ids}
    speaker = st.selectbox(
        "Whose words stand for the whole",
        [*ids, ""],
        index=ids.index(largest.entry_id),
        format_func=lambda each: f"{each}  {texts[each]}" if each else "Words of my own",
        key=f"{key}.speaker.{'.'.join(ids)}",
    )
    args: dict[str, Any] = {"ids": ids}
    if speaker == "":
        args["text"] = st.text_input("Words", largest.text, key=f"{key}.words", max_chars=4000)
    elif speaker != largest.entry_id:
        entry = by_id[speaker]
        said = (
            {"medoid_principle_id": entry.medoid_principle_id}
            if entry.medoid_principle_id
            else {"text": entry.text}
        )
        args |= said
    show_staged(found, "merge", args, key, f"Merge {len(ids)}", shortcut)


def show_wizard(found: Desk) -> None:
    """Best against most similar: merge, skip or go back, pair by pair."""
    st.caption(
        "The most alike come first: by meaning, by use on the same prompts, by words. M merges, S skips, B goes back."
    )
    active = [e for e in found.review.history.current.by_id.values() if e.status == "active"]
    if len(active) < 2:
        st.info("A merge needs two active entries or more.")
        return
    best = _choose_best(found, active)
    with st.spinner("Comparing the entries"):
        pairs = reads.fetch_once(suggestions, found, best, len(found.review.history.edits))
    skipped = st.session_state.setdefault("constitution.skipped", {})
    place = min(skipped.get((best, "at"), 0), len(pairs))
    if place >= len(pairs):
        st.success(f"All {len(pairs):,} pairs have been looked at.")
        if pairs and st.button("Start again", key="constitution.wizard.again"):
            skipped[best, "at"] = 0
            st.rerun()
        return
    _show_pair(found, pairs, place, best, skipped)


def suggestions(found: Desk, best: str | None, edits: int) -> list[dict[str, Any]]:
    """The most alike pairs of the constitution as it is after so many edits."""
    review = found.review
    folder = reads.folder(review.run_id)
    return curation.suggest_merges(reads.store(), folder, review.iteration, best, PAIRS, review=review)


def _choose_best(found: Desk, active: list[Entry]) -> str | None:
    """The entry to compare with all others; None: all pairs."""
    if len(active) <= ALL_PAIRS_UP_TO:
        whole = st.segmented_control(
            "Walk",
            ["all", "one"],
            format_func={"all": "All pairs, most alike first", "one": "One entry against its likes"}.get,
            default="all",
            required=True,
            key="constitution.wizard.walk",
            label_visibility="collapsed",
        )
        if whole != "one":
            return None
    asked = session.param("entry")
    ids = {entry.entry_id for entry in active}
    chosen = pick_entry(found, "Entry", "constitution.wizard.entry")
    largest = max(active, key=lambda entry: entry.trajectories).entry_id
    return chosen or (asked if asked in ids else largest)


def _show_pair(found: Desk, pairs: list[dict], place: int, best: str | None, skipped: dict) -> None:
    pair = pairs[place]
    by_id = found.review.history.current.by_id
    left, right = by_id[pair["id"]], by_id[pair["other"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Skip", key="constitution.wizard.skip", shortcut="S"):
            skipped[best, "at"] = place + 1
            st.rerun()
        if st.button("Back", key="constitution.wizard.back", shortcut="B", disabled=place == 0):
            skipped[best, "at"] = place - 1
            st.rerun()
        st.progress((place + 1) / len(pairs), text=f"Pair {place + 1} of {len(pairs)}", width=320)
    sides = st.columns(2)
    for side, entry in zip(sides, (left, right), strict=True):
        with side:
            support = found.support.of(entry)
            n = f"{support.trajectories:,} trajectories, {support.prompts:,} prompts"
            show_text(entry.text, f"{entry.entry_id}, {n}", height="8rem")
            st.caption(plain(f"Keywords: {', '.join(keywords_of(found, entry)[:8]) or 'none'}"))
    shared = ", ".join(pair["shared words"][:8]) or "none"
    show_figures(
        [
            ("Meaning", number(pair["meaning"], 2), "cosine of the means, up to 1"),
            ("Same prompts", number(pair["co-use"], 2), "Jaccard, 0 to 1"),
            ("Words", number(pair["words"], 2), f"Jaccard; shared: {shared}"),
        ]
    )
    _stage_merge(found, [pair["id"], pair["other"]], "constitution.wizard.merge", "M")
    show_diff(left.text, right.text, f"{right.entry_id} word by word against {left.entry_id}", "7rem")
