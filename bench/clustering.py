"""Cost of exact average linkage beside scikit-learn's: `python -m bench.clustering`.

Every figure comes from a process of its own with one thread: CPU seconds of the clustering alone, peak
memory of the whole process. Vectors are synthetic: 384 dimensions, 400 centres, all different.
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


def synthetic_vectors(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.standard_normal((400, 384)) / 384**0.5
    noise = random.standard_normal((count, 384)) / 384**0.5
    vectors = centres[random.integers(len(centres), size=count)] + 0.8 * noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


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


METHODS = {method.__name__: method for method in (ours, scikit_learn, staged, whole_stage)}


def child(name: str, count: int, labels: Path) -> None:
    """Run one method and print its cost; save its labels at each threshold."""
    import torch

    from lpd_core.linkage import cut

    torch.set_num_threads(1)
    vectors = synthetic_vectors(count)
    start = time.process_time()
    merges = METHODS[name](vectors)
    cost = {
        "cpu": time.process_time() - start,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    np.save(labels, np.stack([cut(merges, count, threshold=threshold) for threshold in THRESHOLDS]))
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost = {count: measure("ours", count, folder) for count in (5_000, 10_000, 20_000, 40_000, 50_000)}
        sizes = (5_000, 10_000, 20_000, 40_000)
        growth = [cost[2 * size]["cpu"] / cost[size]["cpu"] for size in sizes[:-1]]
        print("cost of doubling the rows: " + ", ".join(f"{factor:.1f} times" for factor in growth), end="")
        print(f" (exponent {math.log2(cost[40_000]['cpu'] / cost[5_000]['cpu']) / 3:.2f})")
        for count in (5_000, 20_000):
            theirs = measure("scikit_learn", count, folder)
            print(
                f"  scikit-learn / ours: {theirs['cpu'] / cost[count]['cpu']:.1f} times the CPU (bar at 20,000: 4)"
            )
            print(f"  ARI by threshold: {agreement(folder, 'ours', 'scikit_learn', count)}")
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
