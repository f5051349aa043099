"""A review of no more than one edit touches: what a command line pays for a single edit of a large constitution.

The edits of the log and the new one name entries and principles. The clusters of those, whole, with their
trajectories, make a small constitution on which the log is replayed; everything else brings to the training set
what it brought as found, and only its sums are read. Where that is not enough to tell, and for the words of a
refusal, which may name what is not touched, the whole is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lpd_core import gate
from lpd_core.constitution import (
    Edit,
    Impact,
    edit_prefix,
    free_prefix,
    index_trajectories,
    replay_log,
    with_rest,
)
from lpd_core.errors import DataError, EditRefused
from lpd_core.store import Store, constitutions
from lpd_core.store.touched import Touched, read_touched
from lpd_core.types import Clustering

ENTRY_NAMES, PRINCIPLE_NAMES = (
    ("id", "ids", "to"),
    ("principle_ids", "groups", "medoid_principle_id", "medoids"),
)


def edit_with_impact(
    store: Store, run_id: str, iteration: int, op: str, args: Mapping[str, Any], author: str, reason: str = ""
) -> tuple[gate.Review, Impact]:
    """Append one edit and tell its effect, as `gate.edit_with_impact` does on an open review; the review
    returned holds what was touched. Raises `EditRefused` as that does."""
    review = review_for(store, run_id, iteration, op, args)
    return gate.edit_with_impact(store, review, op, args, author, reason)


def review_for(store: Store, run_id: str, iteration: int, op: str, args: Mapping[str, Any]) -> gate.Review:
    """The part of a review that one edit needs, or all of it where the part cannot answer."""
    with store.database.read():  # one connection for all that follows
        review = _focused(store, run_id, iteration, args)
    if review is not None:
        try:
            gate.preview(review, op, args)
            return review
        except EditRefused:
            pass
    return gate.open_review(store, run_id, iteration)


def _focused(store: Store, run_id: str, iteration: int, args: Mapping[str, Any]) -> gate.Review | None:
    edits = constitutions.edits(store, run_id, iteration)
    touched = read_touched(
        store, run_id, iteration, *_named([*(edit.args for edit in edits), args]), gate.CHARACTERS_A_TOKEN
    )
    if not touched.cluster_ids:
        return None
    try:
        return _review(store, run_id, iteration, touched, edits)
    except (
        DataError
    ):  # a part too small for the log, for instance for an accept_all after which nothing is left
        return None


def _review(store: Store, run_id: str, iteration: int, touched: Touched, edits: list[Edit]) -> gate.Review:
    members = [m for cluster in touched.clusters for m in cluster.members] + [*touched.unclustered]
    missing = [m.principle_id for m in members if m.principle_id not in touched.texts]
    texts = touched.texts | (constitutions.text_lookup(store, missing) if missing else {})
    part = Clustering(touched.clusters, (), (), (), touched.unclustered)
    base = gate.as_found(store, run_id, iteration, part, texts)
    prefix = free_prefix(touched.cluster_ids, edit_prefix(iteration))
    log, replaces = replay_log(base, edits, prefix), gate.replaces_texts(store, run_id)
    index = index_trajectories(
        log.current, *touched.trajectories, token_length=gate.token_length if replaces else None
    )
    tokens = touched.rest_tokens + (touched.rest_longer if replaces else 0)
    index = with_rest(index, touched.beside, touched.rest_rows, tokens)
    return gate.Review(run_id, iteration, log, index, replaces)


def _named(arguments: Iterable[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """The ids of entries and of principles that edits name."""
    entries: set[str] = set()
    principles: set[str] = set()
    for args in arguments:
        for names, found in ((ENTRY_NAMES, entries), (PRINCIPLE_NAMES, principles)):
            found.update(each for name in names for each in _flat(args.get(name)))
    return entries, principles


def _flat(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value.encode("utf-8", "replace").decode()  # a half of a surrogate pair names nothing
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _flat(each)
