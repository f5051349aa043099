"""The human gate: the constitution of an iteration as found, edited, approved.

What the cluster stage found is the beginning; the edit log is replayed over it; an approval or a named save is an
immutable version. The M-step reads approved versions only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lpd_core.constitution import (
    Constitution,
    Edit,
    Entry,
    History,
    Impact,
    Imported,
    Lineage,
    Replayed,
    TrajectoryIndex,
    additions,
    digest,
    entries_json,
    from_clustering,
    groups_by_k,
    groups_by_threshold,
    impact,
    index_trajectories,
    match,
    record,
    replacements,
    replay,
    replay_log,
    successors,
)
from lpd_core.constitution.lookup import find_active
from lpd_core.constitution.state import free_prefix
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import RunFolder, Store, constitutions, results
from lpd_core.types import Cluster


def found(store: Store, run_id: str, iteration: int) -> Constitution:
    """The constitution as the cluster stage found it. Raises `UserError` before that stage."""
    clustering = constitutions.clustering(store, run_id, iteration)
    if clustering is None:
        raise UserError(f"iteration {iteration} of run {run_id} has not been clustered yet")
    ids = [member.principle_id for cluster in clustering.clusters for member in cluster.members]
    ids += [member.principle_id for member in clustering.unclustered]
    pinned = {entry_id for entry_id, _ in constitutions.pinned_entries(store, run_id, iteration - 1)}
    return from_clustering(clustering, constitutions.text_lookup(store, ids), pinned)


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
        history(store, run_id, iteration),
        op,
        args,
        author=author,
        at=datetime.now(UTC).isoformat(),
        reason=reason,
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
            "digest": digest(constitution),
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


def trajectory_index(
    store: Store, run_id: str, iteration: int, constitution: Constitution
) -> TrajectoryIndex:
    """An iteration's trajectories, indexed for impact previews.

    Tokens are those sampled for z and y2, which are those trained on; a replaced principle's are estimated at
    four characters a token."""
    rows = store.database.query(
        """select prompt_id, sample, principle_id, tokens from candidates
           where run_id = ? and iteration = ? and selected order by prompt_id, sample""",
        [run_id, iteration],
    )
    return index_trajectories(
        constitution,
        [row["prompt_id"] for row in rows],
        [row["sample"] for row in rows],
        [row["principle_id"] for row in rows],
        [row["tokens"] for row in rows],
        token_length=lambda text: -(-len(text) // 4),
    )


def preview(store: Store, run_id: str, iteration: int, op: str, args: Mapping[str, Any]) -> Impact:
    """What an edit would do to the training set, the log unchanged. Raises `EditRefused` if it is impossible."""
    log = history(store, run_id, iteration)
    after = record(log, op, args, author="preview", at=datetime.now(UTC).isoformat())
    index = trajectory_index(store, run_id, iteration, log.current)
    return impact(log.current, after.current, index)


def approval_impact(store: Store, run_id: str, iteration: int) -> Impact:
    """What an approval now would change against the constitution as it was found."""
    log = history(store, run_id, iteration)
    return impact(log.base, log.current, trajectory_index(store, run_id, iteration, log.base))


def split_groups(
    store: Store, run_id: str, iteration: int, entry_id: str, k: int | None, threshold: float | None
) -> list[list[str]]:
    """The parts of an entry when its own part of the merge tree is cut into k, or at a lower distance."""
    clustering = constitutions.clustering(store, run_id, iteration)
    entry = find_active(current(store, run_id, iteration), entry_id)
    ids = [member.principle_id for member in entry.members]
    if k is not None:
        return groups_by_k(clustering.merges, clustering.order, ids, k)
    return groups_by_threshold(clustering.merges, clustering.order, ids, threshold)


def lineage(store: Store, folder: RunFolder, iteration: int) -> Lineage:
    """How the clusters of an iteration continue those of the one before, as nodes and links."""
    config = folder.config().cluster
    before = _settled(store, folder.run_id, iteration - 1) if iteration > 1 else None
    now = _settled(store, folder.run_id, iteration)
    ids = sorted({m.principle_id for c in (before, now) if c for e in c.entries for m in e.members})
    vectors = results.principle_vectors(store, ids, config.embedder) if ids else []
    return match(before, now, dict(zip(ids, vectors, strict=True)), config.lineage_threshold)


def _settled(store: Store, run_id: str, iteration: int) -> Constitution:
    return constitutions.approved(store, run_id, iteration) or current(store, run_id, iteration)


def replay_edits(
    store: Store, folder: RunFolder, source: tuple[str, int], iteration: int, author: str
) -> Replayed:
    """Apply the edits made on another clustering (run, iteration) to this iteration's, and log those that fit.

    Entries are matched by shared principles, then text, then distance; the report tells each edit's fate."""
    config = folder.config().cluster
    theirs, log = found(store, *source), history(store, folder.run_id, iteration)
    ids = sorted({m.principle_id for c in (theirs, log.current) for e in c.entries for m in e.members})
    known = results.known_vectors(store, ids, config.embedder)
    matched = successors(match(theirs, log.current, known, config.lineage_threshold))
    done = replay(
        constitutions.edits(store, *source),
        log,
        matched,
        datetime.now(UTC).isoformat(),
        free_prefix(theirs.by_id),
    )
    for new in done.history.edits[len(log.edits) :]:
        constitutions.append_edit(store, folder.run_id, iteration, replace(new, author=author))
    return done


def restore_version(store: Store, folder: RunFolder, iteration: int, version: int, author: str) -> int:
    """Bring back the state of a version, as a new version; the log goes on from there."""
    rows = [
        row for row in constitutions.versions(store, folder.run_id, iteration) if row["version"] == version
    ]
    if not rows:
        constitutions.version_entries(store, folder.run_id, iteration, version)
    edit(
        store,
        folder.run_id,
        iteration,
        "reset",
        {"seq": rows[0]["last_seq"]},
        author,
        f"back to version {version}",
    )
    return save(store, folder, iteration, author, f"version {version} restored")


def add_principles(
    store: Store,
    run_id: str,
    iteration: int,
    imported: Imported,
    pin: bool,
    author: str,
    skip: Collection[str] = (),
) -> list[str]:
    """Add imported principles as entries without members, pinned if asked; returns their ids."""
    log = history(store, run_id, iteration)
    made = []
    for fields in additions(imported):
        if fields["text"] in skip:
            continue
        done = edit(store, run_id, iteration, "add", {**fields, "pinned": pin}, author, "imported")
        made.append(f"{log.current.prefix}{done.seq}")
    return made


def suggest_merges(
    store: Store, folder: RunFolder, iteration: int, entry_id: str | None, most: int
) -> list[dict[str, Any]]:
    """The entries most like one (or the most alike pairs), by meaning, use and words, with each merge's effect."""
    from lpd_core.similar import similar_clusters

    log = history(store, folder.run_id, iteration)
    if entry_id is not None:
        find_active(log.current, entry_id)
    clusters = [_as_cluster(entry) for entry in log.current.active]
    use = results.principle_use(store, folder.run_id, iteration)
    known = results.known_vectors(store, list(use), folder.config().cluster.embedder)
    prompts = {principle_id: each["prompts"] for principle_id, each in use.items()}
    index = trajectory_index(store, folder.run_id, iteration, log.current)
    rows = []
    for pair in similar_clusters(clusters, known, prompts, entry_id, most):
        args = {"ids": [pair.cluster_id, pair.other_id]}
        merged = record(log, "merge", args, author="preview", at=datetime.now(UTC).isoformat())
        effect = impact(log.current, merged.current, index)
        rows.append(
            {
                "id": pair.cluster_id,
                "principle": log.current.by_id[pair.cluster_id].text,
                "other": pair.other_id,
                "other principle": log.current.by_id[pair.other_id].text,
                "meaning": pair.similarity,
                "co-use": pair.co_use,
                "words": pair.word_overlap,
                "relabelled": effect.relabelled,
                "tokens": effect.tokens_after - effect.tokens_before,
            }
        )
    return rows


def _as_cluster(entry: Entry) -> Cluster:
    return Cluster(entry.entry_id, entry.text, entry.medoid_principle_id or "", entry.members)
