"""The human gate: the constitution of an iteration as found, edited, approved.

What the cluster stage found is the beginning; the edit log is replayed over it; an approval or a named save is an
immutable version. The M-step reads approved versions only. What else a curator does is in `curation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lpd_core.constitution import (
    Constitution,
    Edit,
    History,
    Impact,
    TrajectoryIndex,
    digest,
    edit_prefix,
    entries_json,
    from_clustering,
    go_on,
    impact,
    index_trajectories,
    record,
    replacements,
    replay_log,
)
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import RunFolder, Store, constitutions, results
from lpd_core.types import Clustering

CHARACTERS_A_TOKEN = 4
"""To estimate the tokens of a text that replaces a principle."""


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """An iteration's log and trajectories, read once: what an edit and its preview need.

    With `replaces` False (cluster.label = "none") the M-step trains on the principles as they were mined, and
    only prunes."""

    run_id: str
    iteration: int
    history: History
    index: TrajectoryIndex
    replaces: bool


def found(store: Store, run_id: str, iteration: int) -> Constitution:
    """The constitution as the cluster stage found it. Raises `UserError` before that stage."""
    clustering = constitutions.clustering(store, run_id, iteration)
    if clustering is None:
        raise not_clustered(store, run_id, iteration)
    texts = results.principle_texts(store, run_id, iteration)
    groups = [cluster.members for cluster in clustering.clusters] + [clustering.unclustered]
    missing = [m.principle_id for members in groups for m in members if m.principle_id not in texts]
    if missing:
        texts |= constitutions.text_lookup(store, missing)
    return as_found(store, run_id, iteration, clustering, texts)


def as_found(
    store: Store, run_id: str, iteration: int, clustering: Clustering, texts: Mapping[str, str]
) -> Constitution:
    """The constitution that a clustering, or a part of it, proposes; pinned entries keep their labels and notes."""
    pinned = {entry.entry_id: entry for entry in constitutions.pinned_entries(store, run_id, iteration - 1)}
    base = from_clustering(clustering, texts, pinned)
    carried = {
        entry_id: replace(base.by_id[entry_id], label=old.label, note=old.note)
        for entry_id, old in pinned.items()
        if entry_id in base.by_id
    }
    return replace(base, by_id=base.by_id.updated(carried)) if carried else base


def not_clustered(store: Store, run_id: str, iteration: int) -> UserError:
    """The error for an iteration without a clustering, which names those that have one."""
    known = ", ".join(map(str, constitutions.clustered(store, run_id))) or "none yet"
    return UserError(f"iteration {iteration} of run {run_id} has not been clustered; clustered are: {known}")


def current(store: Store, run_id: str, iteration: int) -> Constitution:
    """The constitution with every edit of the log applied."""
    return history(store, run_id, iteration).current


def history(store: Store, run_id: str, iteration: int) -> History:
    """The edit log of an iteration's constitution with the states it leads to."""
    base, edits = found(store, run_id, iteration), constitutions.edits(store, run_id, iteration)
    return replay_log(base, edits, prefix=edit_prefix(iteration))


def now() -> str:
    """The present time as the log keeps it."""
    return datetime.now(UTC).isoformat()


def open_review(store: Store, run_id: str, iteration: int) -> Review:
    """Read what edits and previews of an iteration need. Raises `UserError` before its clustering."""
    log = history(store, run_id, iteration)
    replaces = replaces_texts(store, run_id)
    return Review(run_id, iteration, log, _index(store, run_id, iteration, log.current, replaces), replaces)


def follow(store: Store, review: Review) -> Review:
    """An open review brought up to the log, with what others have appended since; itself where nobody has."""
    edits = constitutions.edits(store, review.run_id, review.iteration, after=len(review.history.edits))
    return replace(review, history=go_on(review.history, edits)) if edits else review


def replaces_texts(store: Store, run_id: str) -> bool:
    """Whether the M-step trains on the entries' texts in place of the principles as they were mined."""
    return RunFolder(store.runs / run_id).config().cluster.label != "none"


def token_length(text: str) -> int:
    """The tokens of a text, estimated from its length."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def _index(
    store: Store, run_id: str, iteration: int, constitution: Constitution, replaces: bool
) -> TrajectoryIndex:
    """An iteration's trajectories. Tokens are those sampled for z and y2, which are those trained on; a
    replaced principle's are estimated from its length."""
    with store.database.read() as connection:
        rows = connection.execute(
            """select prompt_id, sample, principle_id, tokens from candidates
               where run_id = ? and iteration = ? and selected""",
            [run_id, iteration],
        ).fetchall()
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return index_trajectories(constitution, *columns, token_length=token_length if replaces else None)


def effect_of(review: Review, before: Constitution, after: Constitution) -> Impact:
    """What the training set loses and gains between two states of a review's constitution."""
    effect = impact(before, after, review.index)
    if review.replaces:
        return effect
    changes = tuple(c for c in effect.changes if c.before is None or c.after is None)
    return replace(effect, relabelled=0, changes=changes)


def preview(
    review: Review, op: str, args: Mapping[str, Any], author: str = "preview", reason: str = ""
) -> tuple[Review, Impact]:
    """The review after one more edit, undo, redo or reset, and its effect; nothing is written. Raises
    `EditRefused` when the edit is impossible."""
    log = record(review.history, op, args, author=author, at=now(), reason=reason)
    return replace(review, history=log), effect_of(review, review.history.current, log.current)


def edit_with_impact(
    store: Store, review: Review, op: str, args: Mapping[str, Any], author: str, reason: str = ""
) -> tuple[Review, Impact]:
    """Append one edit (or undo, redo, reset) to the log and tell its effect; the review goes on from there.
    Raises `EditRefused`, the log unchanged, when it is impossible or another process has appended first."""
    after, effect = preview(review, op, args, author, reason)
    constitutions.append_edits(store, review.run_id, review.iteration, after.history.edits[-1:])
    return after, effect


def edit(
    store: Store, run_id: str, iteration: int, op: str, args: Mapping[str, Any], author: str, reason: str = ""
) -> Edit:
    """Append one edit (or undo, redo, reset) to the log, as `edit_with_impact` does."""
    log = history(store, run_id, iteration)
    done = record(log, op, args, author=author, at=now(), reason=reason)
    constitutions.append_edits(store, run_id, iteration, done.edits[-1:])
    return done.edits[-1]


def save(
    store: Store, folder: RunFolder, iteration: int, author: str, message: str, alias: str | None = None
) -> int:
    """Write the current constitution as an immutable version, under a name if asked; returns its number."""
    if alias is not None:
        constitutions.check_alias(alias)
    log = history(store, folder.run_id, iteration)
    number = constitutions.add_version(store, _version(store, folder, iteration, log, author, message))
    if alias is not None:
        constitutions.set_alias(store, folder.run_id, alias, iteration, number)
    return number


def approve(
    store: Store, folder: RunFolder, iteration: int, author: str, message: str, seen: int | None = None
) -> int:
    """Approve the current constitution: the M-step of this iteration trains on it. Returns the version; that
    of the first approval where there is one already.

    Raises `EditRefused` when nothing would be left to train on, or the log has grown meanwhile, or beyond the
    `seen` edits that the approver has looked at."""
    there = constitutions.approved_version(store, folder.run_id, iteration)
    if there is not None:
        return there
    log = history(store, folder.run_id, iteration)
    if seen is not None and len(log.edits) != seen:
        raise EditRefused(
            f"not approved: the log has edit {len(log.edits)} by now, and you have seen it up to edit {seen}; look at "
            "it again and approve then"
        )
    row = _version(store, folder, iteration, log, author, message)
    if row["training_rows"] == 0 and _uses(store, folder.run_id, iteration):
        raise EditRefused(
            f"no trajectory of iteration {iteration} would be left to train on; restore an entry "
            "(`constitution undo` or `constitution edit RUN restore id=...`) and approve then"
        )
    return constitutions.add_version(store, {**row, "approved": True})


def _version(
    store: Store, folder: RunFolder, iteration: int, log: History, author: str, message: str
) -> dict[str, Any]:
    return {
        "run_id": folder.run_id,
        "iteration": iteration,
        "message": message,
        "author": author,
        "at": datetime.now(UTC),
        "entries": entries_json(log.current),
        "approved": False,
        "digest": digest(log.current),
        "last_seq": len(log.edits),
        "training_rows": training_rows(store, folder.run_id, iteration, log.current),
    }


def restore_version(store: Store, folder: RunFolder, iteration: int, version: int, author: str) -> int:
    """Bring back the state of a version, as a new version; the log goes on from there."""
    known = {row["version"]: row for row in constitutions.versions(store, folder.run_id, iteration)}
    if version not in known:
        raise UserError(
            f"iteration {iteration} of run {folder.run_id} has no constitution version {version}; "
            f"there are: {', '.join(map(str, known)) or 'none yet'}"
        )
    args = {"seq": known[version]["last_seq"]}
    log = history(store, folder.run_id, iteration)
    log = record(log, "reset", args, author=author, at=now(), reason=f"back to version {version}")
    constitutions.append_edits(store, folder.run_id, iteration, log.edits[-1:])
    row = _version(store, folder, iteration, log, author, f"version {version} restored")
    return constitutions.add_version(store, row)


def training_rows(store: Store, run_id: str, iteration: int, constitution: Constitution) -> int:
    """How many of the iteration's trajectories stay in the training set under a constitution."""
    kept = replacements(constitution)
    uses = _uses(store, run_id, iteration)
    return sum(count for principle_id, count in uses if kept.get(principle_id) is not None)


def _uses(store: Store, run_id: str, iteration: int) -> list[tuple[str, int]]:
    """The iteration's selected principles with their numbers of trajectories."""
    with store.database.read() as connection:
        return connection.execute(
            """select principle_id, count(*) from candidates
               where run_id = ? and iteration = ? and selected group by principle_id""",
            [run_id, iteration],
        ).fetchall()
