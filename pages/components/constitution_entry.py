"""One entry: what it says, what stands behind it, and everything that can be done to it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lpd_core.constitution import Entry
from lpd_core.metrics import interval
from lpd_core.store import entries as entry_store
from pages.components import reads, session
from pages.components.cards import show_figures, signed
from pages.components.constitution_effect import show_staged
from pages.components.constitution_members import show_members
from pages.components.constitution_split import show_split
from pages.components.constitution_table import state_of
from pages.components.reviews import Desk, keywords_of, prunable, weights_of
from pages.components.text import plain, show_diff, show_text

EXAMPLES = 3
RESAMPLES = 1000
LABEL = 110


def show_entry(found: Desk, entry: Entry, editing: bool) -> None:
    """An entry in full, with the views of it below; without `editing` only those that look."""
    with st.container(border=True, key="constitution.entry"):
        st.subheader(f"{plain(entry.entry_id)}  {plain(entry.label, LABEL)}", anchor=False)
        _show_origin(entry)
        if plain(entry.text) != plain(entry.label, LABEL):
            show_text(entry.text, "The principle that its trajectories are trained on", height="9rem")
        if entry.note:
            show_text(entry.note, "Note", height="6rem")
        _show_support(found, entry)
        _show_view(found, entry, editing)


def _show_origin(entry: Entry) -> None:
    made = entry.provenance
    words = {
        "clustered": "found by the clustering",
        "merged": f"merged from {', '.join(made.sources)} by edit {made.seq}",
        "split": f"split from {', '.join(made.sources)} by edit {made.seq}",
        "added": f"added by edit {made.seq}",
    }[made.origin]
    text = "a person's own words" if entry.medoid_principle_id is None else "the words of its medoid"
    st.caption(plain(f"{state_of(entry).capitalize()}; {words}; {text}."))


def _show_support(found: Desk, entry: Entry) -> None:
    support = found.support.of(entry)
    gain = interval(found.support.gains(entry), RESAMPLES)
    shown = f"{signed(gain.mean)} [{signed(gain.low)}, {signed(gain.high)}]" if gain.n else "–"
    words = ", ".join(keywords_of(found, entry)[:8])
    figures = [
        ("Trajectories", f"{support.trajectories:,}", "stand behind it"),
        ("Prompts", f"{support.prompts:,}", "it helped on"),
        ("Principles", f"{support.principles:,}", "distinct texts"),
        ("Mean gain in f", shown, f"95 % interval, n = {gain.n:,} trajectories"),
    ]
    figures.append(("Keywords", words or "–", "c-TF-IDF over the clusters"))
    weight = weights_of(found).get(entry.entry_id)
    if weight is not None and weight.n:
        told = f"{signed(weight.mean, 2)} [{signed(weight.low, 2)}, {signed(weight.high, 2)}]"
        figures.append(
            ("Weight for gaining", told, f"95 % Wald interval, n = {weight.n:,} candidates state it")
        )
    show_figures(figures)
    if prunable(weight):
        st.markdown(
            ":material/flag: A candidate for pruning: stating it makes a gain less likely, beyond its weight's interval."
        )
    review = found.review
    query = {"run": review.run_id, "iteration": str(review.iteration), "cluster": entry.entry_id}
    st.page_link("pages/trajectories.py", label="All candidates that state it", query_params=query)


def _show_view(found: Desk, entry: Entry, editing: bool) -> None:
    views: dict[str, tuple[str, Callable[[Desk, Entry, bool], None]]] = {
        "examples": ("Examples", lambda desk, each, _: show_examples(desk, each)),
        "members": ("Members", show_members),
    }
    if editing:
        views["words"] = ("Name and words", lambda desk, each, _: show_words(desk, each))
        views["split"] = ("Split", lambda desk, each, _: show_split(desk, each))
        views["marks"] = ("Prune, pin, note", lambda desk, each, _: show_marks(desk, each))
    if not entry.holds_members or entry.status == "pruned":
        views.pop("words", None)
        views.pop("split", None)
    if not entry.holds_members:
        views.pop("marks", None)
    asked = session.param("part", "examples")
    chosen = st.segmented_control(
        "About this entry",
        list(views),
        format_func=lambda name: views[name][0],
        default=asked if asked in views else "examples",
        required=True,
        key=f"constitution.part.{entry.entry_id}",
        label_visibility="collapsed",
    )
    session.set_param("part", chosen)
    views[chosen or "examples"][1](found, entry, editing)


def show_examples(found: Desk, entry: Entry) -> None:
    """Trajectories of the entry, of highest gain first, each with a link to its card."""
    ids = [member.principle_id for member in entry.members]
    total = found.support.of(entry).trajectories
    if not total:
        st.caption("No trajectory stands behind this entry: a person added it, or its members left.")
        return
    pages = -(-total // EXAMPLES)
    page = st.pagination(pages, key=f"constitution.examples.{entry.entry_id}") if pages > 1 else 1
    review = found.review
    rows = reads.fetch(
        entry_store.examples, review.run_id, review.iteration, tuple(ids), EXAMPLES, (page - 1) * EXAMPLES
    )
    for row in rows:
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"Gain **{signed(row['gain'])}** over its draft")
                st.page_link(
                    "pages/trajectories.py",
                    label="Open the trajectory",
                    query_params=session.address(prompt=row["prompt_id"]),
                )
            left, right = st.columns(2)
            with left:
                show_text(row["prompt"], "Prompt", height="6rem")
                show_text(row["principle"], "Principle as mined, z", height="6rem")
            with right:
                show_diff(
                    row["draft"] or "", row["response"] or "", "Refinement y2 against the draft y1", "12rem"
                )


def show_words(found: Desk, entry: Entry) -> None:
    """Rename in place, or put the principle into a person's own words."""
    seq = len(found.review.history.edits)
    label = st.text_input(
        "Label: a short name for people; nothing is trained on it",
        entry.label,
        key=f"constitution.label.{entry.entry_id}.{seq}",
        max_chars=300,
    )
    text = st.text_area(
        "Words: what every trajectory of this entry is trained on",
        entry.text,
        key=f"constitution.text.{entry.entry_id}.{seq}",
        height=90,
        max_chars=4000,
    )
    if text.strip() and text.strip() != entry.text:
        show_diff(entry.text, text.strip(), "Your words against the present ones", "8rem")
        show_staged(
            found,
            "reword",
            {"id": entry.entry_id, "text": text},
            "constitution.reword",
            "Reword the principle",
        )
    if label.strip() and label.strip() != entry.label:
        show_staged(found, "rename", {"id": entry.entry_id, "label": label}, "constitution.rename", "Rename")
    if text.strip() == entry.text and label.strip() == entry.label:
        st.caption(
            "Change either to see what that would do. To let another member speak for the entry, choose it under Members."
        )


def show_marks(found: Desk, entry: Entry) -> None:
    """Prune or restore, pin or unpin, leave a note."""
    choices = {"restore": "Restore it"} if entry.status == "pruned" else {"prune": "Prune it"}
    if entry.status == "active":
        choices |= {"unpin": "Unpin it"} if entry.pinned else {"pin": "Pin it"}
    choices["note"] = "Leave a note"
    chosen = st.radio(
        "What to do",
        list(choices),
        format_func=choices.get,
        captions=[MEANING[op] for op in choices],
        key=f"constitution.mark.{entry.entry_id}.{entry.status}.{entry.pinned}",
        label_visibility="collapsed",
    )
    args = {"id": entry.entry_id}
    if chosen == "note":
        seq = len(found.review.history.edits)
        args["note"] = st.text_area(
            "Note; empty to remove it",
            entry.note,
            key=f"constitution.note.{entry.entry_id}.{seq}",
            height=80,
            max_chars=4000,
        )
    show_staged(found, chosen, args, "constitution.mark", choices[chosen])


MEANING = {
    "prune": "Its trajectories leave the training set; they can be restored as long as the iteration is open.",
    "restore": "Its trajectories come back into the training set.",
    "pin": "It survives the next iteration's clustering, with its words, label and note.",
    "unpin": "The next clustering may drop or change it.",
    "note": "A remark for people, kept with the versions and exports.",
}
