"""The human gate: the constitution of an iteration as found, edited, approved.

What the cluster stage found is the beginning; the edit log is replayed over it; an approval or a named save is an
immutable version. The M-step reads approved versions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lpd_core.constitution import (
    Constitution,
    Edit,
    History,
    entries_digest,
    entries_json,
    from_clustering,
    record,
    replacements,
    replay_log,
)
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import RunFolder, Store, constitutions, results


def found(store: Store, run_id: str, iteration: int) -> Constitution:
    """The constitution as the cluster stage found it. Raises `UserError` before that stage."""
    clustering = constitutions.clustering(store, run_id, iteration)
    if clustering is None:
        raise UserError(f"iteration {iteration} of run {run_id} has not been clustered yet")
    ids = [member.principle_id for cluster in clustering.clusters for member in cluster.members]
    ids += [member.principle_id for member in clustering.unclustered]
    return from_clustering(clustering, constitutions.text_lookup(store, ids))


def current(store: Store, run_id: str, iteration: int) -> Constitution:
    """The constitution with every edit of the log applied."""
    return history(store, run_id, iteration).current


def history(store: Store, run_id: str, iteration: int) -> History:
    """The edit log of an iteration's constitution with the states it leads to."""
    return replay_log(found(store, run_id, iteration), constitutions.edits(store, run_id, iteration))


def edit(
    store: Store, run_id: str, iteration: int, op: str, args: Mapping[str, Any], author: str, reason: str = ""
) -> Edit:
    """Append one edit (or undo, redo, reset) to the log. Raises `EditRefused`, the log unchanged, when it is
    impossible or another process has appended first."""
    if constitutions.approved_version(store, run_id, iteration) is not None:
        raise EditRefused(
            f"iteration {iteration} of run {run_id} is approved and may be trained on already; "
            "edit the next iteration's constitution, or start another run from here"
        )
    log = record(
        history(store, run_id, iteration), op, args, author=author, at=datetime.now(UTC).isoformat(), reason=reason
    )
    constitutions.append_edit(store, run_id, iteration, log.edits[-1])
    return log.edits[-1]


def save(
    store: Store, folder: RunFolder, iteration: int, author: str, message: str, approved: bool = False
) -> int:
    """Write the current constitution as an immutable version; returns its number."""
    constitution = current(store, folder.run_id, iteration)
    log = constitutions.edits(store, folder.run_id, iteration)
    return constitutions.add_version(
        store,
        {
            "run_id": folder.run_id,
            "iteration": iteration,
            "message": message,
            "author": author,
            "at": datetime.now(UTC),
            "entries": entries_json(constitution),
            "approved": approved,
            "digest": entries_digest(constitution),
            "last_seq": log[-1].seq if log else 0,
            "training_rows": training_rows(store, folder.run_id, iteration, constitution),
        },
    )


def approve(store: Store, folder: RunFolder, iteration: int, author: str, message: str) -> int:
    """Approve the current constitution: the M-step of this iteration trains on it."""
    return save(store, folder, iteration, author, message, approved=True)


def training_rows(store: Store, run_id: str, iteration: int, constitution: Constitution) -> int:
    """How many of the iteration's trajectories stay in the training set under a constitution."""
    kept = replacements(constitution)
    return sum(
        use["trajectories"]
        for principle_id, use in results.principle_use(store, run_id, iteration).items()
        if kept.get(principle_id) is not None
    )
