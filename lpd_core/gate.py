"""The human gate: the constitution of an iteration as found, edited, approved.

What the cluster stage found is the beginning; the edit log is replayed over it; an approval or a named save is an
immutable version. The M-step reads approved versions only.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lpd_core.constitution import Constitution, entries_digest, entries_json, from_clustering, replay
from lpd_core.errors import UserError
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
    return replay(found(store, run_id, iteration), constitutions.edits(store, run_id, iteration))


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
    from lpd_core.constitution import replacements

    kept = replacements(constitution)
    return sum(
        use["trajectories"]
        for principle_id, use in results.principle_use(store, run_id, iteration).items()
        if kept.get(principle_id) is not None
    )
