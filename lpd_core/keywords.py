"""The words that set clusters of texts apart: BERTopic's class-based TF-IDF over our own labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

WORDS = 6


def cluster_keywords(
    texts: Sequence[str], counts: np.ndarray, labels: np.ndarray, clusters: int
) -> list[tuple[str, ...]]:
    """The most telling words of each of the clusters 0..clusters-1, best first, ties in the alphabet's order.

    A text counts `counts` times; label -1 leaves it out. A cluster of stop words only has no keywords.
    Follows https://maartengr.github.io/BERTopic/api/ctfidf.html."""
    kept = np.flatnonzero(labels >= 0)
    table = _word_table([texts[row] for row in kept])
    if table is None:
        return [()] * clusters
    from scipy.sparse import csr_matrix

    matrix, vocabulary = table
    by_cluster = csr_matrix((counts[kept], (labels[kept], np.arange(len(kept)))), shape=(clusters, len(kept)))
    scores = (by_cluster @ matrix).tocsr()
    # The transformer breaks on a single column; there is nothing to rank then.
    if len(vocabulary) > 1:
        scores = _class_tfidf()().fit_transform(scores).tocsr()
    return [_best_words(scores[[cluster]], vocabulary) for cluster in range(clusters)]


@cache
def _class_tfidf() -> type:
    """BERTopic's ClassTfidfTransformer, from its own file: the package around it imports UMAP, torch and plotly, which
    takes five seconds in every process that clusters."""
    (folder,) = find_spec("bertopic").submodule_search_locations
    spec = spec_from_file_location("bertopic_ctfidf", Path(folder) / "vectorizers" / "_ctfidf.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClassTfidfTransformer


def _word_table(texts: Sequence[str]):
    """Word counts [texts, vocabulary] without English stop words, and the vocabulary; None if it is empty."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b\w\w+\b")  # noqa: S106 (words, no secret)
    if not any(map(vectorizer.build_analyzer(), texts)):
        return None
    matrix = vectorizer.fit_transform(texts)
    return matrix, vectorizer.get_feature_names_out()


def _best_words(row, vocabulary: np.ndarray) -> tuple[str, ...]:
    # The vocabulary is sorted, so that a stable sort leaves ties in the alphabet's order.
    row.sort_indices()
    columns, scores = row.indices, row.data
    best = np.argsort(-scores, kind="stable")[:WORDS]
    return tuple(str(vocabulary[columns[i]]) for i in best if scores[i] > 0)
