"""Clusters of principles. `python -m tests.test_clustering` prints the groups of icai's standard principles."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from lpd_core.clustering import cluster_principles
from lpd_core.config import ClusterConfig
from lpd_core.embedding import HashEmbedder, SentenceEmbedder
from lpd_core.hierarchy import build_tree, choose_cut
from lpd_core.keywords import cluster_keywords
from lpd_core.layout import coordinates
from lpd_core.linkage import average_linkage, cut
from lpd_core.scoring import principle_id
from lpd_core.similar import similar_clusters
from lpd_core.types import Cluster, Clustering, Member, WeightedPrinciple

ICAI = Path(__file__).parents[2] / "shared" / "data" / "principles" / "icai_standard_principles_v1-v4.json"
SUBJECTS = ("price", "colour", "warranty", "delivery", "recipe")
VERBS = ("Mention the {}.", "Say what the {} is.", "Always name the {} first.", "Do not forget the {}.")
PCA = ClusterConfig(layout="pca", embedder="hash")


def some_principles(count: int) -> list[WeightedPrinciple]:
    texts = [verb.format(subject) for verb in VERBS for subject in SUBJECTS][:count]
    return [WeightedPrinciple(principle_id(text), text, 1 + n % 4) for n, text in enumerate(texts)]


def embed(principles: list[WeightedPrinciple]) -> np.ndarray:
    return HashEmbedder().embed([principle.text for principle in principles])


def random_principles(count: int, seed: int = 0, centres: int = 30, spread: float = 0.5):
    random = np.random.default_rng(seed)
    means = random.standard_normal((centres, 24))
    vectors = means[random.integers(centres, size=count)] + spread * random.standard_normal((count, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    counts = random.integers(1, 9, size=count)
    principles = [WeightedPrinciple(f"{n:06d}", f"word{n % 7} text{n}", int(c)) for n, c in enumerate(counts)]
    return principles, vectors


def placed(found: Clustering) -> list[Member]:
    return [member for cluster in found.clusters for member in cluster.members] + list(found.unclustered)


def assert_whole(found: Clustering, principles: list[WeightedPrinciple]) -> None:
    """Every principle is in one place with its count; the tree and the map have all of them."""
    assert Counter({p.principle_id: p.count for p in principles}) == Counter(
        {member.principle_id: member.count for member in placed(found)}
    )
    assert len(placed(found)) == len(principles) == len(found.coordinates)
    assert list(found.order) == sorted(p.principle_id for p in principles)
    assert len(found.merges) == max(0, len(principles) - 1)
    assert len({cluster.cluster_id for cluster in found.clusters}) == len(found.clusters)
    json.dumps(found.params)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 15])
@pytest.mark.parametrize("choose", ["auto", "threshold", "k"])
@pytest.mark.parametrize("method", ["agglomerative", "bertopic"])
def test_any_number_of_principles_can_be_clustered(count, choose, method):
    principles = some_principles(count)
    config = replace_config(choose=choose, method=method, k=3)
    found = cluster_principles(principles, embed(principles), config, 1)
    assert_whole(found, principles)
    if method == "agglomerative" or count < 15:
        assert not found.unclustered
        assert len(found.clusters) >= min(1, count)
        if choose == "k":
            assert len(found.clusters) == min(3, count)


def replace_config(**changes) -> ClusterConfig:
    return PCA.model_copy(update=changes)


@pytest.mark.parametrize("choose", ["auto", "threshold", "k"])
def test_the_order_of_the_rows_changes_nothing(choose):
    principles, vectors = random_principles(400)
    order = np.random.default_rng(1).permutation(400)
    config = replace_config(choose=choose)
    found = cluster_principles(principles, vectors, config, 2)
    shuffled = cluster_principles([principles[n] for n in order], vectors[order], config, 2)
    assert found == shuffled


def test_principles_of_like_vectors_stand_together_with_their_own_words_as_keywords():
    principles = some_principles(20)
    subject = [n for p in principles for n, word in enumerate(SUBJECTS) if word in p.text]
    vectors = np.eye(5)[subject] + 0.1 * np.random.default_rng(0).standard_normal((20, 5))
    found = cluster_principles(principles, vectors, PCA, 1)
    assert len(found.clusters) == 5
    texts = {principle.principle_id: principle.text for principle in principles}
    for cluster in found.clusters:
        subjects = {next(s for s in SUBJECTS if s in texts[m.principle_id]) for m in cluster.members}
        assert len(subjects) == 1
        assert cluster.keywords[0] == subjects.pop()


def test_the_medoid_has_the_least_weighted_distance_to_all_other_members():
    principles, vectors = random_principles(600)
    counts = np.array([principle.count for principle in principles], dtype=float)
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    distance = 1.0 - units @ units.T
    np.fill_diagonal(distance, 0.0)
    found = cluster_principles(principles, vectors, replace_config(choose="k", k=25), 1)
    for cluster in found.clusters:
        rows = sorted(int(member.principle_id) for member in cluster.members)
        sums = (distance[np.ix_(rows, rows)] * counts[rows]).sum(axis=1)
        best = rows[int(np.round(sums / counts[rows].sum(), 9).argmin())]
        assert cluster.medoid_principle_id == f"{best:06d}"
        assert cluster.label == principles[best].text
        mean = counts[rows] @ units[rows]
        mean /= np.linalg.norm(mean)
        for member in cluster.members:
            assert member.distance == pytest.approx(1.0 - units[int(member.principle_id)] @ mean, abs=1e-9)


def test_a_tie_between_medoids_goes_to_the_lowest_id():
    principles = [WeightedPrinciple("b", "second", 2), WeightedPrinciple("a", "first", 2)]
    vectors = np.array([[1.0, 0.2], [0.2, 1.0]])
    found = cluster_principles(principles, vectors, replace_config(choose="k", k=1), 1)
    assert found.clusters[0].medoid_principle_id == "a"


def test_clusters_are_numbered_by_their_trajectories():
    principles, vectors = random_principles(200)
    found = cluster_principles(principles, vectors, replace_config(choose="k", k=12), 3)
    assert [cluster.cluster_id for cluster in found.clusters] == [f"3.{rank}" for rank in range(1, 13)]
    sizes = [sum(member.count for member in cluster.members) for cluster in found.clusters]
    assert sizes == sorted(sizes, reverse=True)


def test_identical_vectors_are_never_told_apart_by_the_automatic_choice():
    principles = some_principles(8)
    vectors = np.tile(np.eye(3, dtype=np.float32)[:1], (8, 1))
    found = cluster_principles(principles, vectors, PCA, 1)
    assert [len(cluster.members) for cluster in found.clusters] == [8]
    assert found.coordinates == ((0.0, 0.0),) * 8


def test_the_automatic_choice_has_scikit_learns_best_silhouette():
    principles, vectors = random_principles(150, centres=9, spread=0.3)
    principles = [replace(principle, count=1) for principle in principles]
    config = replace_config(min_clusters=2, max_clusters=20)
    merges = average_linkage(vectors)
    scores = {}
    for k in range(2, 21):
        scores[k] = silhouette_score(vectors, cut(merges, 150, k=k), metric="cosine")
    best = max(scores, key=lambda k: (scores[k], -k))
    found = cluster_principles(principles, vectors, config, 1)
    assert len(found.clusters) == best
    assert found.params["silhouette"] == pytest.approx(scores[best], abs=1e-6)
    assert len(set(cut(merges, 150, threshold=found.params["threshold"]).tolist())) == best


def test_the_automatic_choice_stays_within_its_bounds():
    principles, vectors = random_principles(150, centres=9)
    for low, high in ((2, 4), (30, 40), (60, 50)):
        config = replace_config(min_clusters=low, max_clusters=high)
        clusters = cluster_principles(principles, vectors, config, 1).clusters
        assert min(low, high) <= len(clusters) <= high


def test_a_heavy_principle_is_no_cluster_of_its_own_for_its_weight_alone():
    principles, vectors = random_principles(120, centres=6, spread=0.3)
    heavy = [replace(p, count=5000 if n % 10 == 0 else 1) for n, p in enumerate(principles)]
    found = cluster_principles(heavy, vectors, PCA, 1)
    assert len(found.clusters) == 6


def test_a_pin_gathers_what_is_near_it_and_keeps_its_id_and_text():
    principles = some_principles(20)
    vectors = embed(principles)
    pinned_text = "Mention the price."
    pin = ("1.7", pinned_text, HashEmbedder().embed([pinned_text])[0])
    config = replace_config(choose="threshold", threshold=0.6)
    found = cluster_principles(principles, vectors, config, 2, [pin])
    assert_whole(found, principles)
    [cluster] = [cluster for cluster in found.clusters if cluster.cluster_id == "1.7"]
    texts = {principle.principle_id: principle.text for principle in principles}
    near = {p.principle_id for p, v in zip(principles, vectors, strict=True) if 1 - v @ pin[2] <= 0.6}
    assert cluster.label == pinned_text
    assert {member.principle_id for member in cluster.members} == near != set()
    assert pinned_text in [texts[i] for i in near]


def test_a_pin_far_from_everything_stays_as_an_empty_cluster():
    principles = some_principles(20)
    far = ("e3", "Quote Shakespeare", -embed(principles).mean(axis=0))
    config = replace_config(choose="k", k=6)
    found = cluster_principles(principles, embed(principles), config, 2, [far])
    assert_whole(found, principles)
    assert found.clusters[-1] == Cluster("e3", "Quote Shakespeare", "", ())
    assert len(found.clusters) == 6


def test_pins_alone_make_a_constitution():
    found = cluster_principles([], np.zeros((0, 0)), PCA, 2, [("e1", "Be kind.", np.ones(3))])
    assert [(c.cluster_id, c.label, c.members) for c in found.clusters] == [("e1", "Be kind.", ())]


def test_between_two_pins_a_principle_goes_to_the_nearer_one():
    vectors = np.array([[1.0, 0.1], [0.1, 1.0]])
    principles = [WeightedPrinciple("a", "A", 1), WeightedPrinciple("b", "B", 1)]
    pins = [("y", "Y", np.array([0.0, 2.0])), ("x", "X", np.array([1.0, 0.0]))]
    found = cluster_principles(
        principles, vectors, replace_config(choose="threshold", threshold=1.5), 1, pins
    )
    members = {c.cluster_id: [m.principle_id for m in c.members] for c in found.clusters}
    assert members == {"x": ["a"], "y": ["b"]}


def test_a_new_cluster_never_takes_the_id_of_a_pin():
    principles = some_principles(20)
    pin = ("2.1", "Mention the price.", embed(principles)[0])
    found = cluster_principles(principles, embed(principles), replace_config(choose="k", k=5), 2, [pin])
    assert_whole(found, principles)
    assert len(found.clusters) == 5


def test_bertopic_keeps_its_outliers_as_unclustered():
    principles, vectors = random_principles(80, centres=4, spread=0.2)
    vectors[:4] = -vectors[4:8]
    config = replace_config(method="bertopic")
    found = cluster_principles(principles, vectors, config, 1)
    assert_whole(found, principles)
    assert found.params["method"] == "bertopic" and "fallback" not in found.params
    assert 2 <= len(found.clusters) <= 8
    order = np.random.default_rng(1).permutation(80)
    again = cluster_principles([principles[n] for n in order], vectors[order], config, 1)
    assert again == found


def test_bertopic_says_why_it_left_too_few_principles_to_average_linkage():
    principles = some_principles(14)
    found = cluster_principles(principles, embed(principles), replace_config(method="bertopic"), 1)
    assert found.params["method"] == "agglomerative"
    assert "at least 15" in found.params["fallback"]


def test_above_the_exact_limit_well_separated_clusters_are_the_same():
    principles, vectors = random_principles(900, centres=12, spread=0.25)
    exact = cluster_principles(principles, vectors, replace_config(choose="threshold", threshold=0.4), 1)
    staged = cluster_principles(
        principles, vectors, replace_config(choose="threshold", threshold=0.4, exact_limit=200), 1
    )
    assert exact.params["exact"] and not staged.params["exact"]
    assert_whole(staged, principles)
    assert exact.clusters == staged.clusters


@pytest.mark.parametrize("choose", ["auto", "threshold", "k"])
def test_above_the_exact_limit_the_tree_is_whole_and_much_like_the_exact_one(choose):
    principles, vectors = random_principles(900, centres=20, spread=0.6)
    weights = np.array([principle.count for principle in principles], dtype=float)
    units = vectors.astype(np.float64)
    labels = []
    for limit in (900, 300):
        config = replace_config(choose=choose, threshold=0.4, k=20, exact_limit=limit)
        tree = build_tree(units, weights, config)
        assert len(tree) == 899
        assert tree[-1].size == 900
        labels.append(choose_cut(tree, units, weights, config).labels)
    assert adjusted_rand_score(*labels) > 0.8


def test_unequal_numbers_of_principles_and_vectors_are_refused():
    with pytest.raises(ValueError, match="2 principles but 1 vectors"):
        cluster_principles(some_principles(2), np.ones((1, 3)), PCA, 1)


def test_clusters_without_telling_words_have_no_keywords():
    labels = np.array([0, 1, -1])
    assert cluster_keywords(["the of and", "!!!", "word"], np.ones(3), labels, 3) == [(), (), ()]
    words = cluster_keywords(["red paint", "blue paint", "word"], np.ones(3), labels, 2)
    assert words == [("red", "paint"), ("blue", "paint")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 40])
@pytest.mark.parametrize("method", ["auto", "pca"])
def test_coordinates_are_finite_and_the_same_each_time(count, method):
    vectors = random_principles(40)[1][:count].astype(np.float64)
    points = coordinates(vectors, method)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()
    assert np.array_equal(points, coordinates(vectors, method))


def test_a_map_of_few_different_vectors_falls_back_to_principal_components():
    vectors = np.repeat(np.eye(4), 10, axis=0)
    assert np.array_equal(coordinates(vectors, "auto"), coordinates(vectors, "pca"))


def test_principal_components_keep_the_distances_of_points_in_a_plane():
    flat = np.random.default_rng(0).standard_normal((30, 2)) @ np.array([[0.6, 0.8, 0, 0], [0, 0, 0.6, -0.8]])
    points = coordinates(flat, "pca")
    assert np.allclose(
        np.linalg.norm(points[:, None] - points, axis=2), np.linalg.norm(flat[:, None] - flat, axis=2)
    )


def merge_candidates() -> tuple[list[Cluster], dict[str, np.ndarray], dict[str, list[str]]]:
    def cluster(cluster_id, label, *ids):
        return Cluster(cluster_id, label, ids[0] if ids else "", tuple(Member(i, 1, 0.0) for i in ids))

    clusters = [
        cluster("1.1", "Mention the price", "a", "b"),
        cluster("1.2", "Name a price", "c"),
        cluster("1.3", "Say the colour", "d"),
        cluster("1.4", "Never seen"),
    ]
    vectors = {"a": np.array([1.0, 0.0]), "b": np.array([0.8, 0.6]), "c": np.array([0.8, 0.6])}
    vectors["d"] = np.array([0.0, 1.0])
    return clusters, vectors, {"a": ["p1", "p2"], "b": ["p3"], "c": ["p1", "p2", "p4"], "d": ["p4"]}


def test_the_likest_clusters_come_with_what_they_share():
    first, *others = similar_clusters(*merge_candidates(), cluster_id="1.1")
    assert (first.cluster_id, first.other_id) == ("1.1", "1.2")
    assert first.similarity == pytest.approx(np.mean([0.8, 1.0]))
    assert first.co_use == pytest.approx(2 / 4)
    assert first.shared_words == ("price",)
    assert first.word_overlap == pytest.approx(1 / 2)
    assert [other.other_id for other in others] == ["1.3", "1.4"]


def test_the_most_alike_pairs_of_all_name_each_pair_once():
    pairs = similar_clusters(*merge_candidates(), limit=4)
    assert len({frozenset((pair.cluster_id, pair.other_id)) for pair in pairs}) == 4
    assert (pairs[0].cluster_id, pairs[0].other_id) == ("1.1", "1.2")
    assert similar_clusters([], {}, {}) == []


def icai_groups(cache: Path) -> list[tuple[Cluster, list[str]]]:
    """The clusters of icai's 160 standard principles (88 different ones), with their texts."""
    versions = json.loads(ICAI.read_text(encoding="utf-8"))
    counts = Counter(
        text for parts in versions.values() for part in parts for text in part["principles_short_version"]
    )
    assert counts.total() == 160
    principles = [WeightedPrinciple(principle_id(text), text, count) for text, count in counts.items()]
    vectors = SentenceEmbedder("all-MiniLM-L6-v2", cache).embed(list(counts))
    found = cluster_principles(principles, vectors, ClusterConfig(layout="pca"), 1)
    texts = {principle.principle_id: principle.text for principle in principles}
    return [(c, [texts[member.principle_id] for member in c.members]) for c in found.clusters]


@pytest.mark.skipif(not ICAI.exists(), reason=f"{ICAI} is not on this machine")
def test_the_standard_principles_of_icai_fall_into_groups_a_person_agrees_with(tmp_path):
    group = {text: cluster.cluster_id for cluster, texts in icai_groups(tmp_path) for text in texts}
    for one, other in (
        ("has a more friendly tone", "has a friendlier tone"),
        ("more strictly follows the requested format", "more strictly follows the requested output format"),
        ("refuses to answer the question", "provides an apology instead of an answer"),
        ("is overly general and vague", "is more vague"),
        ("is overly lengthy and lacks brevity", "is too long"),
        ("is more concise", "is more concise and structured"),
        ("includes inappropriate language", "includes inappropriate language or content"),
        ("lacks nuance in political analysis", "lacks neutrality in political matters"),
        ("contains redundant information", "avoids unnecessary repetition"),
    ):
        assert group[one] == group[other], (one, other)
    for one, other in (
        ("uses more emojis", "promotes conspiracy theories without critical analysis"),
        ("is too long", "suggests illegal activities"),
        ("has a more friendly tone", "lacks nuance in political analysis"),
    ):
        assert group[one] != group[other], (one, other)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for cluster, texts in icai_groups(Path(folder)):
            print(f"{cluster.cluster_id} {cluster.label}  [{', '.join(cluster.keywords)}]")
            print(*(f"    {text}" for text in texts), sep="\n")
