"""Posterior regularisation: from an iteration's principles to a constitution for people to review, section 3.

Embeds the distinct principles of the selected trajectories, clusters them, chooses each cluster's
representative, and commits clusters, members, coordinates and the merge tree.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lpd_core.clustering import cluster_principles
from lpd_core.prompts import principle_chat
from lpd_core.stage import Stage, Tables
from lpd_core.store import constitutions, results
from lpd_core.types import Cluster, Clustering, Trajectory, WeightedPrinciple

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 5
PERPLEXITY_TEXTS = 16
PERPLEXITY_CHATS = 4


def cluster(stage: Stage) -> None:
    """Cluster the iteration's principles and commit the result as one segment."""
    principles = results.selected_principles(stage.store, stage.run_id, stage.iteration)
    vectors = stage.parts.embedder().embed([principle.text for principle in principles])
    pinned = _pinned(stage)
    found = cluster_principles(principles, vectors, stage.config.cluster, stage.iteration, pinned)
    found = replace(
        found, clusters=tuple(_represent(stage, found.clusters, principles, {p[0] for p in pinned}))
    )
    known = _new_principles(stage, vectors)
    stage.commit(0, _tables(stage, found, principles, vectors, known))


def _pinned(stage: Stage) -> list[tuple[str, str, np.ndarray]]:
    """The entries of the last approved constitution that a person pinned: id, text and vector."""
    entries = constitutions.pinned_entries(stage.store, stage.run_id, stage.iteration - 1)
    if not entries:
        return []
    vectors = stage.parts.embedder().embed([entry.text for entry in entries])
    return [(entry.entry_id, entry.text, v) for entry, v in zip(entries, vectors, strict=True)]


def _represent(
    stage: Stage,
    clusters: Sequence[Cluster],
    principles: Sequence[WeightedPrinciple],
    pinned: Collection[str],
) -> list[Cluster]:
    """Choose each cluster's representative as configured; the clustering itself proposes the medoid, and a
    pinned text stays."""
    rule = stage.config.cluster.label
    if rule in ("medoid", "none"):
        return list(clusters)
    texts = {principle.principle_id: principle.text for principle in principles}
    own = [c for c in clusters if c.members and c.cluster_id not in pinned]
    own = _most_frequent(own, texts) if rule == "mode" else _likeliest(stage, own, texts)
    replaced = {c.cluster_id: c for c in own}
    return [replaced.get(c.cluster_id, c) for c in clusters]


def _most_frequent(clusters: Sequence[Cluster], texts: Mapping[str, str]) -> list[Cluster]:
    """The member that most trajectories state; of equals the medoid, then the one nearest to the mean."""
    chosen = []
    for found in clusters:
        medoid = found.medoid_principle_id
        best = max(found.members, key=lambda m, own=medoid: (m.count, m.principle_id == own, -m.distance))
        chosen.append(_with_label(found, best.principle_id, texts))
    return chosen


def _with_label(cluster: Cluster, principle_id: str, texts: Mapping[str, str]) -> Cluster:
    return replace(cluster, label=texts[principle_id], medoid_principle_id=principle_id)


def _likeliest(stage: Stage, clusters: Sequence[Cluster], texts: Mapping[str, str]) -> list[Cluster]:
    """The member with the lowest mean perplexity under the current model, after a few of the cluster's drafts."""
    by_principle: dict[str, list[Trajectory]] = {}
    for trajectory in results.trajectories(stage.store, stage.run_id, stage.iteration):
        by_principle.setdefault(trajectory.principle_id, []).append(trajectory)
    judge = stage.parts.perplexity(stage.model_in)
    chosen = []
    for found in clusters:
        ids = [m.principle_id for m in sorted(found.members, key=lambda m: -m.count)[:PERPLEXITY_TEXTS]]
        after = [t for m in found.members for t in by_principle.get(m.principle_id, [])][:PERPLEXITY_CHATS]
        chats = [principle_chat(stage.templates, t.messages, t.draft) for t in after]
        values = judge.perplexities([(chat, texts[i]) for i in ids for chat in chats])
        means = [sum(values[n : n + len(chats)]) for n in range(0, len(values), len(chats))]
        chosen.append(_with_label(found, ids[means.index(min(means))], texts))
    return chosen


def _new_principles(stage: Stage, vectors: np.ndarray) -> int | None:
    """How many principles are farther than the lineage threshold from every cluster of earlier iterations."""
    earlier = constitutions.medoid_ids(stage.store, stage.run_id, stage.iteration)
    if not earlier or not len(vectors):
        return None
    known = results.principle_vectors(stage.store, earlier, stage.config.cluster.embedder)
    nearest = 1.0 - (vectors @ known.T).max(axis=1)
    return int((nearest > stage.config.cluster.lineage_threshold).sum())


def _tables(
    stage: Stage,
    found: Clustering,
    principles: Sequence[WeightedPrinciple],
    vectors: np.ndarray,
    new_principles: int | None,
) -> Tables:
    params = json.dumps({**found.params, "new_principles": new_principles}, default=str)
    return {
        "principles": [
            {
                "principle_id": principle.principle_id,
                "text": principle.text,
                "embedding": vector.tolist(),
                "embedder": stage.config.cluster.embedder,
            }
            for principle, vector in zip(principles, vectors, strict=True)
        ],
        "clusters": _cluster_rows(stage, found, params),
        "cluster_members": _member_rows(found),
        "principle_coordinates": [
            {"principle_id": principle_id, "position": n, "x": float(x), "y": float(y)}
            for n, (principle_id, (x, y)) in enumerate(zip(found.order, found.coordinates, strict=True))
        ],
        "merges": [
            {
                "step": n,
                "node_left": merge.left,
                "node_right": merge.right,
                "distance": merge.distance,
                "size": merge.size,
            }
            for n, merge in enumerate(found.merges)
        ],
    }


def _member_rows(found: Clustering) -> list[dict[str, Any]]:
    groups = [(c.cluster_id, c.members) for c in found.clusters] + [("", found.unclustered)]
    return [
        {
            "cluster_id": cluster_id,
            "principle_id": member.principle_id,
            "count": member.count,
            "distance": member.distance,
        }
        for cluster_id, members in groups
        for member in members
    ]


def _cluster_rows(stage: Stage, found: Clustering, params: str) -> list[dict[str, Any]]:
    use = results.principle_use(stage.store, stage.run_id, stage.iteration)
    trials = results.principle_trials(stage.store, stage.run_id, stage.iteration)
    best = _best_trajectories(stage)
    return [
        {
            "cluster_id": cluster.cluster_id,
            "size": len(cluster.members),
            "medoid_principle_id": cluster.medoid_principle_id,
            "label": cluster.label,
            "params": params,
            "keywords": list(cluster.keywords),
            **cluster_figures([member.principle_id for member in cluster.members], use, trials, best),
        }
        for cluster in found.clusters
    ]


def _best_trajectories(stage: Stage) -> dict[str, list[dict[str, Any]]]:
    """For each selected principle its trajectories of highest gain, as many as a cluster shows."""
    rows = stage.store.database.query(
        """select principle_id, prompt_id, sample, gain from candidates
           where run_id = ? and iteration = ? and selected
           qualify row_number() over (partition by principle_id order by gain desc, prompt_id, sample) <= ?
           order by gain desc, prompt_id, sample""",
        [stage.run_id, stage.iteration, EXAMPLES],
    )
    best: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        best.setdefault(row.pop("principle_id"), []).append(row)
    return best


def cluster_figures(
    ids: Sequence[str],
    use: Mapping[str, Mapping[str, Any]],
    trials: Mapping[str, tuple[int, int]],
    best: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """A cluster's trajectories, prompts, mean gain, acceptance rate, share per data set, and the trajectories
    of highest gain as examples."""
    used = [use[i] for i in ids if i in use]
    count = sum(u["trajectories"] for u in used)
    prompts = {prompt for u in used for prompt in u["prompts"]}
    tried = sum(trials.get(i, (0, 0))[0] for i in ids)
    gained = sum(trials.get(i, (0, 0))[1] for i in ids)
    datasets = Counter(dataset for u in used for dataset in u["datasets"])
    examples = sorted((row for i in ids for row in best.get(i, ())), key=_by_gain)[:EXAMPLES]
    return {
        "trajectories": count,
        "prompts": len(prompts),
        "mean_gain": sum(u["gain"] for u in used) / count if count else None,
        "acceptance_rate": gained / tried if tried else None,
        "datasets": json.dumps({name: n / count for name, n in datasets.items()} if count else {}),
        "examples": json.dumps([{name: row[name] for name in ("prompt_id", "sample")} for row in examples]),
    }


def _by_gain(row: Mapping[str, Any]) -> tuple[float, str, int]:
    return -row["gain"], row["prompt_id"], row["sample"]


def summarise(stage: Stage) -> dict[str, Any]:
    """Constitution size, principles, samples and the discovery rates."""
    clusters = constitutions.cluster_rows(stage.store, stage.run_id, stage.iteration)
    samples = sum(results.statuses(stage.store, stage.run_id, stage.iteration).values())
    found = constitutions.discovery(stage.store, stage.run_id, stage.iteration)
    return {
        "constitution_size": len(clusters),
        **found,
        "new_per_sample": found["new_principles"] / samples if samples else None,
        "cut": json.loads(clusters[0]["params"]).get("threshold") if clusters else None,
    }
