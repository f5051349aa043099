"""The constitution at the gate, kept open in the server: a click reads what was appended to the log and no more.

What an iteration's clustering says (support, keywords, merge tree) is read once; edits never change it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from lpd_core import gate
from lpd_core.config import lpd_home
from lpd_core.constitution import Entry, Impact
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import Store, constitutions, entries, evaluating
from lpd_core.support import SupportBook
from lpd_core.trials import TrialBook, may_be_pruned
from lpd_core.types import Interval
from pages.components import reads, session

SEEN, TOLD = "constitution.seen", "constitution.told"


@dataclass
class Desk:
    """An iteration's open review with what its clustering says. Shared by all sessions; `lock` guards `review`."""

    review: gate.Review
    support: SupportBook
    keywords: Mapping[str, tuple[str, ...]]
    trials: TrialBook
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(max_entries=4, ttl=3600, show_spinner="Opening the constitution")
def _desk(home: str, made: tuple[int, int], run_id: str, iteration: int) -> Desk:
    store = Store(Path(home))
    return Desk(
        gate.open_review(store, run_id, iteration),
        SupportBook(*entries.gains(store, run_id, iteration)),
        entries.keywords(store, run_id, iteration),
        TrialBook(evaluating.outcomes_by_principle(store, run_id, iteration)),
    )


@st.cache_resource(max_entries=2, ttl=3600, show_spinner="Reading the merge tree")
def _tree(home: str, made: tuple[int, int], run_id: str, iteration: int):
    return constitutions.merge_tree(Store(Path(home)), run_id, iteration)


def _made(run_id: str) -> tuple[int, int]:
    """Tells a run from another of the same id that was there before."""
    found = (lpd_home() / "runs" / run_id / "config.toml").stat()
    return (found.st_ino, found.st_mtime_ns)


def log_state(run_id: str, iteration: int) -> dict[str, Any]:
    """How far the log has come, and the iteration's approval if there is one."""
    return reads.fetch(entries.log_state, run_id, iteration)


@st.cache_resource
def _opened() -> set[tuple[str, tuple[int, int], str, int]]:
    return set()


def is_open(run_id: str, iteration: int) -> bool:
    """Whether the review was opened since the server started, so that it is there at once."""
    return (str(lpd_home()), _made(run_id), run_id, iteration) in _opened()


def desk(run_id: str, iteration: int) -> Desk:
    """The open review of an iteration, up to the log's end."""
    asked = (str(lpd_home()), _made(run_id), run_id, iteration)
    found = _desk(*asked)
    _opened().add(asked)
    length = log_state(run_id, iteration)["edits"]
    with found.lock:
        if len(found.review.history.edits) < length:
            found.review = gate.follow(reads.store(), found.review)
    if len(found.review.history.edits) > length:  # the database was put back to an earlier state
        _desk.clear()
        found = _desk(*asked)
    return found


def merge_tree(run_id: str, iteration: int):
    """The merges of an iteration's clustering and the principles' order."""
    return _tree(str(lpd_home()), _made(run_id), run_id, iteration)


def keywords_of(found: Desk, entry: Entry) -> tuple[str, ...]:
    """The words an entry is about: its cluster's, or those of the entries it was made of."""
    if entry.entry_id in found.keywords:
        return found.keywords[entry.entry_id]
    by_id = found.review.history.current.by_id
    sources = [by_id[each] for each in entry.provenance.sources if each in by_id]
    return tuple(dict.fromkeys(word for source in sources for word in keywords_of(found, source)))


def weights_of(found: Desk) -> dict[str, Interval]:
    """The weight of each active entry, as it stands now, in a logistic regression of gaining on stating them."""
    return found.trials.weights(found.review.history.current)


def prunable(weight: Interval | None) -> bool:
    """Whether an entry's weight marks it as a candidate for pruning."""
    return weight is not None and may_be_pruned(weight)


def note_seen(found: Desk) -> None:
    """Remember which state this page shows, and, until the next run of it, which one it showed before."""
    review = found.review
    st.session_state["constitution.shown"] = st.session_state.get(SEEN)
    st.session_state[SEEN] = (review.run_id, review.iteration, len(review.history.edits))


def _check_seen(review: gate.Review) -> None:
    """Raises `EditRefused` when the log has grown between what the person saw and the click."""
    shown = st.session_state.get("constitution.shown")
    edits = review.history.edits
    if shown and shown[:2] == (review.run_id, review.iteration) and shown[2] < len(edits):
        last = edits[-1]
        raise EditRefused(
            f"{last.author} wrote edit {last.seq} ({last.op}) meanwhile; nothing of yours was written: look again, and "
            "repeat it if it still makes sense"
        )


def commit(found: Desk, op: str, args: Mapping[str, Any], reason: str = "") -> None:
    """Append an edit and run the page again; a refusal is told in one line on the page as it then is."""
    try:
        session.require_edit()
        with found.lock:
            _check_seen(found.review)
            before = found.review
            found.review, effect = gate.edit_with_impact(
                reads.store(), found.review, op, args, session.author(), reason
            )
        follow_entry(before, found.review, op, args)
        tell("done", told(len(found.review.history.edits), op, effect))
    except (EditRefused, UserError) as refusal:
        tell("refused", str(refusal))
    st.rerun()


def follow_entry(before: gate.Review, after: gate.Review, op: str, args: Mapping[str, Any]) -> None:
    """Keep the entry in the address that the edit made or was about."""
    prefix = f"{after.history.current.prefix}{len(after.history.edits)}"
    made = [each for each in (prefix, f"{prefix}.1") if each in after.history.current.by_id]
    if made and op in ("merge", "split", "add"):
        session.set_param("entry", made[0])
    elif "to" in args:
        session.set_param("entry", args["to"])


def tell(kind: str, text: str) -> None:
    """Say something at the top of the page's next run."""
    st.session_state[TOLD] = (kind, text)


def told(seq: int, op: str, effect: Impact) -> str:
    """An edit's effect in one line."""
    parts = [
        f"{count:,} {word}"
        for word, count in (
            ("relabelled", effect.relabelled),
            ("lost", effect.lost),
            ("regained", effect.regained),
        )
        if count
    ]
    return f"Edit {seq} ({op}): {', '.join(parts) or 'no trajectory changes'}"
