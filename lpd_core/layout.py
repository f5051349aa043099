"""Where each principle stands on the map: 2-D coordinates by UMAP or PCA, the same at every call."""

from __future__ import annotations

from typing import Literal

import numpy as np

UMAP_FROM = 15
"""Points below which UMAP has too few neighbours to learn from."""
SEED = 1


def coordinates(vectors: np.ndarray, method: Literal["auto", "umap", "pca"] = "auto") -> np.ndarray:
    """Coordinates [n, 2] of n unit vectors [n, d]; UMAP from 15 different vectors on, else PCA."""
    if method == "pca" or len(np.unique(vectors, axis=0)) < UMAP_FROM:
        return principal_components(vectors)
    return _umap(vectors)


def principal_components(vectors: np.ndarray) -> np.ndarray:
    """The two first principal components [n, 2]; each axis points to where its largest weight is positive."""
    flat = np.zeros((len(vectors), 2))
    if len(vectors) < 2:
        return flat
    centred = vectors - vectors.mean(axis=0)
    # The d x d covariance stays small however many rows there are.
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    flat[:, : axes.shape[1]] = centred @ axes
    return flat


def _umap(vectors: np.ndarray) -> np.ndarray:
    import warnings

    from umap import UMAP

    neighbours = min(15, len(vectors) - 1)
    model = UMAP(n_neighbors=neighbours, n_components=2, metric="cosine", random_state=SEED, n_jobs=1)
    with warnings.catch_warnings():
        # Disconnected vertices and spectral start-up trouble only make the map less pretty.
        warnings.simplefilter("ignore")
        return model.fit_transform(vectors.astype(np.float32)).astype(np.float64)
