"""Cost of exact average linkage beside scikit-learn, SciPy, fastcluster and BERTopic as it comes:
`python -m bench.clustering`.

Every figure comes from a process of its own with one thread: CPU seconds of the clustering alone, peak
memory of the whole process. Vectors are synthetic: 384 dimensions, 400 centres, all different. The adjusted Rand index
(ARI) tells how far two groupings agree: with one another, and with the centres that the vectors were made from.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lpd_core.types import Merge

THRESHOLDS = (0.3, 0.35, 0.4, 0.5, 0.9)
STAGED_LIMIT, STAGED_CUT = 5_000, 0.4
CENTRES = 400


def synthetic_vectors(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, and the centre that each was made from."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CENTRES, 384)) / 384**0.5
    noise = random.standard_normal((count, 384)) / 384**0.5
    chosen = random.integers(CENTRES, size=count)
    vectors = centres[chosen] + 0.8 * noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), chosen


def ours(vectors: np.ndarray) -> tuple[Merge, ...]:
    from lpd_core.linkage import average_linkage

    return average_linkage(vectors)


def scikit_learn(vectors: np.ndarray) -> tuple[Merge, ...]:
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(
        None, metric="cosine", linkage="average", distance_threshold=0.0, compute_full_tree=True
    ).fit(vectors)
    pairs = zip(model.children_.tolist(), model.distances_.tolist(), strict=True)
    return tuple(Merge(left, right, distance, 0) for (left, right), distance in pairs)


def scipy(vectors: np.ndarray) -> tuple[Merge, ...]:
    from scipy.cluster.hierarchy import linkage

    return from_scipy(linkage(vectors, "average", metric="cosine"))


def fastcluster(vectors: np.ndarray) -> tuple[Merge, ...]:
    from fastcluster import linkage

    return from_scipy(linkage(vectors, "average", metric="cosine"))


def from_scipy(rows: np.ndarray) -> tuple[Merge, ...]:
    """SciPy's four columns as merges."""
    return tuple(Merge(int(left), int(right), distance, 0) for left, right, distance, _ in rows.tolist())


def bertopic(vectors: np.ndarray) -> np.ndarray:
    """Its topics with every setting as it comes: UMAP to five dimensions, HDBSCAN; -1 is no topic."""
    from bertopic import BERTopic

    texts = [f"Mention word{n % 997} and word{n % 31}" for n in range(len(vectors))]
    return np.array(BERTopic().fit_transform(texts, vectors)[0])


def staged(vectors: np.ndarray) -> tuple[Merge, ...]:
    from lpd_core.config import ClusterConfig
    from lpd_core.hierarchy import build_tree

    config = ClusterConfig(choose="threshold", threshold=STAGED_CUT, exact_limit=STAGED_LIMIT)
    return build_tree(vectors.astype(np.float64), np.ones(len(vectors)), config)


def whole_stage(vectors: np.ndarray) -> tuple[Merge, ...]:
    """Everything the cluster stage computes from vectors, the map by PCA."""
    from lpd_core.clustering import cluster_principles
    from lpd_core.config import ClusterConfig
    from lpd_core.types import WeightedPrinciple

    principles = [
        WeightedPrinciple(f"{n:06d}", f"Mention word{n % 997} and word{n % 31}", 1 + n % 3)
        for n in range(len(vectors))
    ]
    return cluster_principles(principles, vectors, ClusterConfig(layout="pca"), 1).merges


METHODS = {
    method.__name__: method
    for method in (ours, scikit_learn, scipy, fastcluster, bertopic, staged, whole_stage)
}


def child(name: str, count: int, labels: Path) -> None:
    """Run one method and print its cost; save its labels at each threshold."""
    import torch

    from lpd_core.linkage import cut

    torch.set_num_threads(1)
    vectors, _ = synthetic_vectors(count)
    start = time.process_time()
    found = METHODS[name](vectors)
    cost = {
        "cpu": time.process_time() - start,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if isinstance(found, tuple):
        found = [cut(found, count, threshold=threshold) for threshold in THRESHOLDS]
    np.save(labels, np.atleast_2d(found))
    print(json.dumps(cost))


def measure(name: str, count: int, folder: Path) -> dict[str, float]:
    """Run a method in a child process and print what it cost."""
    single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    command = [sys.executable, "-m", "bench.clustering", "--child", name, "--rows", str(count)]
    command += ["--labels", str(folder / f"{name}-{count}.npy")]
    done = subprocess.run(
        command, env={**os.environ, **single}, stdout=subprocess.PIPE, check=True, text=True
    )
    cost = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:12} {count:6} rows: {cost['cpu']:7.2f} CPU s, peak {cost['mib']:6.0f} MiB", flush=True)
    return cost


def agreement(folder: Path, one: str, other: str, count: int, lowest: float = 0.0) -> str:
    """The adjusted Rand index of two methods at each threshold from the lowest on."""
    from sklearn.metrics import adjusted_rand_score

    left, right = (np.load(folder / f"{name}-{count}.npy") for name in (one, other))
    return ", ".join(
        f"{threshold}: {adjusted_rand_score(a, b):.6f} ({a.max() + 1} clusters)"
        for threshold, a, b in zip(THRESHOLDS, left, right, strict=True)
        if threshold >= lowest
    )


def truth(folder: Path, name: str, count: int) -> str:
    """How well a method finds the centres: ours at the best of the thresholds."""
    from sklearn.metrics import adjusted_rand_score

    _, chosen = synthetic_vectors(count)
    labels = np.load(folder / f"{name}-{count}.npy")
    best = max(labels, key=lambda row: adjusted_rand_score(chosen, row))
    return (
        f"ARI with the {CENTRES} centres {adjusted_rand_score(chosen, best):.3f}, {len(set(best.tolist()) - {-1})} "
        f"groups, {np.mean(best == -1):.1%} in none"
    )


def compare_with_peers(folder: Path, cost: dict[int, dict[str, float]]) -> None:
    """The exact peers, which must give the same groups, and BERTopic, which gives others."""
    for count in (5_000, 20_000):
        for peer in ("scikit_learn", "scipy", "fastcluster"):
            theirs = measure(peer, count, folder)
            bar = " (bar at 20,000: 4)" if peer == "scikit_learn" else ""
            print(f"  {peer} / ours: {theirs['cpu'] / cost[count]['cpu']:.1f} times the CPU{bar}")
            print(f"  ARI by threshold: {agreement(folder, 'ours', peer, count)}")
        measure("bertopic", count, folder)
        for name in ("ours", "bertopic"):
            print(f"  {name}: {truth(folder, name, count)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost = {count: measure("ours", count, folder) for count in (5_000, 10_000, 20_000, 40_000, 50_000)}
        sizes = (5_000, 10_000, 20_000, 40_000)
        growth = [cost[2 * size]["cpu"] / cost[size]["cpu"] for size in sizes[:-1]]
        print("cost of doubling the rows: " + ", ".join(f"{factor:.1f} times" for factor in growth), end="")
        print(f" (exponent {math.log2(cost[40_000]['cpu'] / cost[5_000]['cpu']) / 3:.2f})")
        compare_with_peers(folder, cost)
        measure("staged", 20_000, folder)
        # Below its cut the staged tree has no structure to agree with.
        print(f"  exact up to {STAGED_LIMIT}, cut at {STAGED_CUT}; ARI against exact by threshold: ", end="")
        print(agreement(folder, "ours", "staged", 20_000, STAGED_CUT))
        measure("whole_stage", 50_000, folder)
        print("  bars: 20,000 under 1024 MiB; 50,000 at most 120 CPU s and 2048 MiB")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--child", choices=METHODS)
    arguments.add_argument("--rows", type=int)
    arguments.add_argument("--labels", type=Path)
    given = arguments.parse_args()
    if given.child:
        child(given.child, given.rows, given.labels)
    else:
        main()
