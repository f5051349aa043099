"""Which clusters are so alike that a person may want to merge them: data for the merge wizard."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

import numpy as np

from lpd_core.types import Cluster


@dataclass(frozen=True, slots=True)
class SimilarClusters:
    """Two clusters and what they have in common: the mean cosine over pairs of their members (weighted by
    counts), the share of their prompts that both are used on and of their words that both have (Jaccard, in
    [0, 1]), and the words they share. `likeness` is the sum of the three; an unknown cosine counts nothing."""

    cluster_id: str
    other_id: str
    likeness: float
    similarity: float | None
    co_use: float
    word_overlap: float
    shared_words: tuple[str, ...]


def similar_clusters(
    clusters: Sequence[Cluster],
    vectors: Mapping[str, np.ndarray],
    prompts: Mapping[str, Collection[str]],
    cluster_id: str | None = None,
    limit: int = 10,
    own: Mapping[str, np.ndarray] | None = None,
) -> list[SimilarClusters]:
    """The clusters most like the one named, or the most alike pairs of all, the likest first.

    `vectors` are the members' unit vectors and `prompts` the prompts they were used on, by principle id; a
    principle that is missing in either counts as without. `own` are the unit vectors of the texts of clusters
    without members, by cluster id. Words are a cluster's keywords and its label's."""
    ids = [cluster.cluster_id for cluster in clusters]
    known = [_mean(cluster, vectors, own or {}) for cluster in clusters]
    width = max((len(mean) for mean in known if mean is not None), default=0)
    means = (
        np.stack([np.zeros(width) if mean is None else mean for mean in known]) if known else np.zeros((0, 0))
    )
    used = [_used_on(cluster, prompts) for cluster in clusters]
    words = [_words(cluster) for cluster in clusters]

    def pairs() -> Iterator[SimilarClusters]:
        for row in range(len(ids)) if cluster_id is None else [ids.index(cluster_id)]:
            similarity = means @ means[row]
            others = range(row + 1, len(ids)) if cluster_id is None else set(range(len(ids))) - {row}
            for other in others:
                co_use, overlap = _jaccard(used[row], used[other]), _jaccard(words[row], words[other])
                cosine = None if known[row] is None or known[other] is None else float(similarity[other])
                shared = tuple(sorted(words[row] & words[other]))
                likeness = (cosine or 0.0) + co_use + overlap
                yield SimilarClusters(ids[row], ids[other], likeness, cosine, co_use, overlap, shared)

    return nlargest(limit, pairs(), key=lambda pair: (pair.likeness, pair.cluster_id, pair.other_id))


def _mean(
    cluster: Cluster, vectors: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """The weighted mean [d] of the members' vectors, or the vector of the cluster's own text; None without
    either."""
    known = [member for member in cluster.members if member.principle_id in vectors]
    if not known:
        return own.get(cluster.cluster_id)
    weights = np.array([member.count for member in known], dtype=np.float64)
    return weights @ np.stack([vectors[member.principle_id] for member in known]) / weights.sum()


def _used_on(cluster: Cluster, prompts: Mapping[str, Collection[str]]) -> set[str]:
    return {prompt for member in cluster.members for prompt in prompts.get(member.principle_id, ())}


def _words(cluster: Cluster) -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return {*cluster.keywords, *re.findall(r"\w\w+", cluster.label.casefold())} - ENGLISH_STOP_WORDS


def _jaccard(left: set[str], right: set[str]) -> float:
    either = len(left | right)
    return len(left & right) / either if either else 0.0
