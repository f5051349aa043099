"""From principles to clusters, each with its medoid, members, keywords and place on the map: section 3.

Knows embeddings and counts; no models, files or trajectories. Nothing depends on the order of the rows: they
are sorted by principle id first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np

from lpd_core.config import ClusterConfig
from lpd_core.hierarchy import Cut, build_tree, choose_cut
from lpd_core.keywords import cluster_keywords
from lpd_core.layout import coordinates
from lpd_core.types import Cluster, Clustering, Member, Merge, WeightedPrinciple

BERTOPIC_FROM = 15
"""Principles below which UMAP and HDBSCAN find nothing; average linkage takes over."""
TIE_DIGITS = 9
"""Mean distances equal to so many digits are a tie between medoids."""
SEED = 1


class Pin(NamedTuple):
    """A principle that a person pinned: the id that its cluster keeps, its text and its unit vector [d]."""

    cluster_id: str
    text: str
    vector: np.ndarray


class _Rows(NamedTuple):
    """Principles sorted by id, their unit vectors [n, d] in float64 and their counts [n]."""

    principles: Sequence[WeightedPrinciple]
    vectors: np.ndarray
    weights: np.ndarray


class _Group(NamedTuple):
    """The rows of a cluster in the making, its medoid's row, its members, and its pin, if any."""

    rows: np.ndarray
    medoid: int | None
    members: tuple[Member, ...]
    pin: Pin | None


def cluster_principles(
    principles: Sequence[WeightedPrinciple],
    vectors: np.ndarray,
    config: ClusterConfig,
    iteration: int,
    pinned: Sequence[tuple[str, str, np.ndarray]] = (),
) -> Clustering:
    """Cluster distinct principles by their unit vectors [n, d], each as heavy as its count.

    Principles within the cut of a pin go to the nearest pin, whose cluster keeps its id and text even without
    members (then its medoid is ""); the rest is clustered as configured. New ids are `<iteration>.<rank>`,
    the largest cluster first. `merges` is the tree of all principles, pinned or not. An unclustered member's
    distance is that to the nearest cluster's mean. `params` tells how the clusters came about: `threshold` is
    the distance of the cut, `fallback` why another method than the configured one ran."""
    if len(principles) != len(vectors):
        raise ValueError(f"{len(principles)} principles but {len(vectors)} vectors")
    rows = _sorted_rows(principles, vectors)
    pins = [Pin(*pin) for pin in pinned]
    tree = build_tree(rows.vectors, rows.weights, config)
    cut = choose_cut(tree, rows.vectors, rows.weights, config)
    at_pin = _nearest_pin(rows.vectors, pins, cut.threshold)
    labels, params = _label(rows, at_pin, len(pins), tree, cut, config)
    groups = [_describe(rows, members, pin) for members, pin in _members_by_label(labels, pins)]
    clusters = _clusters(rows, groups, labels, iteration)
    points = coordinates(rows.vectors, config.layout)
    return Clustering(
        clusters=clusters,
        order=tuple(principle.principle_id for principle in rows.principles),
        merges=tree,
        coordinates=tuple((float(x), float(y)) for x, y in points),
        unclustered=_unclustered(rows, groups, np.flatnonzero(labels < 0)),
        params={**params, "principles": len(labels), "exact": len(labels) <= config.exact_limit},
    )


def _sorted_rows(principles: Sequence[WeightedPrinciple], vectors: np.ndarray) -> _Rows:
    order = sorted(range(len(principles)), key=lambda row: principles[row].principle_id)
    units = np.asarray(vectors, dtype=np.float64)[order] if order else np.zeros((0, 1))
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    weights = np.array([principles[row].count for row in order], dtype=np.float64)
    return _Rows([principles[row] for row in order], units, weights)


def _nearest_pin(vectors: np.ndarray, pins: Sequence[Pin], threshold: float) -> np.ndarray:
    """For each row the number of the nearest pin within the threshold, the first at a tie, or -1."""
    if not pins or not len(vectors):
        return np.full(len(vectors), -1)
    directions = np.stack([np.asarray(pin.vector, dtype=np.float64) for pin in pins])
    similarity = vectors @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    return np.where(1.0 - similarity.max(axis=1) <= threshold, similarity.argmax(axis=1), -1)


def _label(
    rows: _Rows, at_pin: np.ndarray, pins: int, tree: tuple[Merge, ...], cut: Cut, config: ClusterConfig
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Labels [n] (the pins' numbers first; -1: unclustered) and how they came about."""
    free = np.flatnonzero(at_pin < 0)
    labels = at_pin.copy()
    params = {"method": config.method, "choose": config.choose, "threshold": cut.threshold, "pins": pins}
    if config.method == "bertopic" and len(free) >= BERTOPIC_FROM:
        found = _by_bertopic([rows.principles[row].text for row in free], rows.vectors[free])
        labels[free] = np.where(found < 0, -1, found + pins)
        return labels, params
    if config.method == "bertopic":
        reason = f"BERTopic needs at least {BERTOPIC_FROM} principles to cluster; there are {len(free)}"
        params |= {"method": "agglomerative", "fallback": reason}
    if pins:
        vectors, weights = rows.vectors[free], rows.weights[free]
        tree = tree if len(free) == len(labels) else build_tree(vectors, weights, config)
        cut = choose_cut(tree, vectors, weights, config, taken=pins)
    labels[free] = cut.labels + pins
    return labels, {**params, "silhouette": cut.silhouette}


def _by_bertopic(texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
    """BERTopic's topics [n] of texts with given embeddings: UMAP to 5 dimensions, HDBSCAN; -1 are outliers.

    Follows https://maartengr.github.io/BERTopic/getting_started/best_practices/best_practices.html, with
    topics of fewer texts where there are few (its default of 10 finds none among some dozens)."""
    from bertopic import BERTopic
    from hdbscan import HDBSCAN
    from sklearn.feature_extraction.text import CountVectorizer
    from umap import UMAP

    smallest = max(3, min(10, len(texts) // 20))
    reducer = {"n_neighbors": min(15, len(texts) - 1), "n_components": 5, "min_dist": 0.0, "metric": "cosine"}
    model = BERTopic(
        embedding_model=None,
        umap_model=UMAP(**reducer, random_state=SEED, n_jobs=1),
        hdbscan_model=HDBSCAN(min_cluster_size=smallest, metric="euclidean"),
        vectorizer_model=CountVectorizer(token_pattern=r"(?u)\S+"),  # noqa: S106 (words, no secret)
    )
    topics, _ = model.fit_transform(list(texts), embeddings=vectors.astype(np.float32))
    return np.array(topics)


def _members_by_label(labels: np.ndarray, pins: Sequence[Pin]) -> list[tuple[np.ndarray, Pin | None]]:
    """The rows of each label, empty ones (of pins) included, with its pin."""
    found = max(len(pins), int(labels.max(initial=-1)) + 1)
    in_order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[in_order], np.arange(found + 1))
    groups = [in_order[start:end] for start, end in pairwise(bounds)]
    return [(group, pins[n] if n < len(pins) else None) for n, group in enumerate(groups)]


def _describe(rows: _Rows, group: np.ndarray, pin: Pin | None) -> _Group:
    """A group's medoid and members, heaviest first.

    The summed distance of v to all others is W - <v, S> for their weight W and vector sum S (v's own term is
    0); the medoid is the row where it is least, at a tie the one with the lowest principle id."""
    if not len(group):
        return _Group(group, None, (), pin)
    vectors, weights = rows.vectors[group], rows.weights[group]
    towards = vectors @ (weights @ vectors)
    medoid = group[np.round(-towards / weights.sum(), TIE_DIGITS).argmin()]
    distances = np.maximum(0.0, 1.0 - towards / max(np.linalg.norm(weights @ vectors), np.finfo(float).tiny))
    members = [
        Member(rows.principles[row].principle_id, rows.principles[row].count, float(distance))
        for row, distance in zip(group, distances, strict=True)
    ]
    return _Group(group, int(medoid), tuple(sorted(members, key=lambda member: -member.count)), pin)


def _clusters(
    rows: _Rows, groups: Sequence[_Group], labels: np.ndarray, iteration: int
) -> tuple[Cluster, ...]:
    """The clusters, heaviest first, ties by medoid; new ones are numbered in that order."""
    texts = [principle.text for principle in rows.principles]
    keywords = cluster_keywords(texts, rows.weights, labels, len(groups))
    taken = {group.pin.cluster_id for group in groups if group.pin}
    fresh = (name for rank in count(1) if (name := f"{iteration}.{rank}") not in taken)
    clusters = []
    for number in sorted(range(len(groups)), key=lambda n: _rank(rows, groups[n])):
        group = groups[number]
        medoid = rows.principles[group.medoid] if group.medoid is not None else None
        clusters.append(
            Cluster(
                cluster_id=group.pin.cluster_id if group.pin else next(fresh),
                label=group.pin.text if group.pin else medoid.text,
                medoid_principle_id=medoid.principle_id if medoid else "",
                members=group.members,
                keywords=keywords[number],
            )
        )
    return tuple(clusters)


def _rank(rows: _Rows, group: _Group) -> tuple[float, int]:
    # Rows are sorted by principle id, so that the medoid's row ranks as its id does.
    return -float(rows.weights[group.rows].sum()), -1 if group.medoid is None else group.medoid


def _unclustered(rows: _Rows, groups: Sequence[_Group], outside: np.ndarray) -> tuple[Member, ...]:
    sums = [rows.weights[group.rows] @ rows.vectors[group.rows] for group in groups if len(group.rows)]
    distances = np.ones(len(outside))
    if sums and len(outside):
        means = np.stack(sums) / np.linalg.norm(sums, axis=1, keepdims=True)
        distances = 1.0 - (rows.vectors[outside] @ means.T).max(axis=1)
    return tuple(
        Member(rows.principles[row].principle_id, rows.principles[row].count, float(distance))
        for row, distance in zip(outside, distances, strict=True)
    )
