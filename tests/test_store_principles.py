"""Reads of an iteration's principles: samples, scopes, pages, neighbours, words, examples."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import run_inline
from principle_homes import RUN, TEXTS, clustered_home

from lpd_core import curation
from lpd_core.store import entries, lineages, principles
from lpd_core.store.principles import Scope

HERE = (RUN, 1, "hash")


@pytest.fixture
def explored(store):
    """The store of a run with fifteen principles in a few clusters."""
    clustered_home(store, TEXTS)
    return store


def test_the_map_has_every_principle_with_its_place_cluster_count_and_text(explored):
    points = principles.points(explored, *HERE, 1000)
    assert points.total == len(points.x) == len(TEXTS)
    assert points.position.tolist() == list(range(15))
    assert points.text.tolist() == TEXTS
    assert points.count.tolist() == [1 + n % 3 for n in range(15)]
    placed = principles.placed(explored, RUN, 1)
    ours = [points.clusters[n] for n in points.cluster]
    assert ours == [placed.clusters[n] for n in placed.cluster]
    assert set(ours) == set(principles.cluster_labels(explored, RUN, 1))


def test_what_a_clustering_found_is_counted_without_reading_it(explored):
    found = entries.found_counts(explored, RUN, 1)
    assert found["principles"] == len(TEXTS)
    assert found["trajectories"] == sum(1 + n % 3 for n in range(15))
    assert found["clusters"] == len(principles.cluster_labels(explored, RUN, 1))


def test_a_sample_takes_the_same_share_of_every_cluster_and_is_the_same_each_time(store):
    clustered_home(
        store, [f"{verb} number {n} of the {verb} things." for verb in ("Red", "Blue") for n in range(40)]
    )
    whole, part = (principles.points(store, *HERE, most) for most in (1000, 40))
    again = principles.points(store, *HERE, 40)
    assert part.total == 80
    assert part.position.tolist() == again.position.tolist()
    sizes = dict(zip(*np.unique([whole.clusters[n] for n in whole.cluster], return_counts=True), strict=True))
    drawn = dict(zip(*np.unique([part.clusters[n] for n in part.cluster], return_counts=True), strict=True))
    assert {name: max(1, size // 2) for name, size in sizes.items()} == drawn


def test_a_scope_narrows_by_cluster_position_and_text_together(explored):
    labels = principles.cluster_labels(explored, RUN, 1)
    first = next(iter(labels))
    everything = principles.counts_by_cluster(explored, *HERE, Scope())
    assert sum(count for count, _ in everything.values()) == 15
    assert sum(used for _, used in everything.values()) == sum(1 + n % 3 for n in range(15))
    assert principles.counts_by_cluster(explored, *HERE, Scope((first,))) == {first: everything[first]}
    named = principles.members(explored, *HERE, Scope(text="NAME THE"), 10, 0)
    assert {row["text"] for row in named} == {TEXTS[0], TEXTS[2]}
    assert principles.members(explored, *HERE, Scope(None, (0, 1), "name the"), 10, 0)[0]["text"] == TEXTS[0]
    assert principles.members(explored, *HERE, Scope((), None), 10, 0) == []


def test_members_come_in_pages_that_follow_each_other(explored):
    whole = principles.members(explored, *HERE, Scope(), 100, 0)
    pages = [row for offset in (0, 6, 12) for row in principles.members(explored, *HERE, Scope(), 6, offset)]
    assert pages == whole
    assert [row["count"] for row in whole] == sorted((row["count"] for row in whole), reverse=True)


def test_the_principle_most_like_one_is_itself_and_then_what_shares_its_words(explored):
    vector = principles.vector_of(explored, "p000", "hash")
    near = principles.similar(explored, *HERE, vector, Scope(), 3)
    assert near[0]["principle_id"] == "p000"
    assert near[0]["similarity"] == pytest.approx(1.0)
    assert near[0]["position"] == 0
    assert "the source" in near[1]["text"] or "Name" in near[1]["text"]
    assert len(principles.similar(explored, *HERE, vector, Scope(positions=(3, 4)), 9)) == 2
    assert principles.vector_of(explored, "nowhere", "hash") is None


def test_clusters_come_with_their_figures_and_the_names_of_their_data_sets(explored):
    rows = principles.cluster_page(explored, RUN, 1, None, 100, 0)
    assert sum(row["size"] for row in rows) == 15
    assert all(row["datasets"] == {"answers": 1.0} and row["total"] == len(rows) for row in rows)
    one = principles.cluster_page(explored, RUN, 1, (rows[-1]["cluster_id"],), 100, 0)
    assert [row["cluster_id"] for row in one] == [rows[-1]["cluster_id"]]
    trials = principles.cluster_trials(explored, RUN, 1, tuple(row["cluster_id"] for row in rows))
    assert all(trials[row["cluster_id"]]["tried"] == row["trajectories"] for row in rows)


def test_a_keywords_share_counts_the_trajectories_whose_principle_says_it(explored):
    labels = principles.cluster_labels(explored, RUN, 1)
    shares = principles.keyword_shares(explored, *HERE, tuple(labels))
    members = {each: principles.members(explored, *HERE, Scope((each,)), 99, 0) for each in labels}
    for cluster, words in shares.items():
        total = sum(row["count"] for row in members[cluster])
        for word, share in words:
            said = sum(row["count"] for row in members[cluster] if word in row["text"].lower())
            assert share == pytest.approx(said / total), (cluster, word)


def test_examples_are_the_trajectories_of_highest_gain_in_the_scope(explored):
    rows = principles.examples(explored, *HERE, Scope(), 4)
    assert [round(row["gain"], 2) for row in rows] == [0.24, 0.24, 0.24, 0.23]
    assert rows[0]["prompt"].startswith("Question 14")
    assert {row["principle"] for row in principles.examples(explored, *HERE, Scope(positions=(3,)), 9)} == {
        TEXTS[3]
    }


def test_hostile_search_texts_are_only_texts(explored):
    for text in ("'; drop table principles; --", "%", "_", "\x00", "\\", "$1"):
        assert principles.members(explored, *HERE, Scope(text=text), 5, 0) == []
    assert principles.points(explored, *HERE, 10).total == 15


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_principles_are_read_like_many(store, count):
    clustered_home(store, TEXTS[:count])
    assert principles.points(store, *HERE, 100).total == count
    assert principles.tree(store, RUN, 1).count == count
    assert len(principles.placed(store, RUN, 1).count) == count
    assert len(principles.members(store, *HERE, Scope(), 10, 0)) == count
    assert principles.cluster_params(store, RUN, 1).get("threshold") == (0.4 if count else None)


def test_the_relabel_stage_keeps_the_lineage_that_curation_finds(store, scripted_settings):
    folder = run_inline(store, scripted_settings)
    kept = lineages.stored(store, folder.run_id)
    assert list(kept) == [1, 2]
    for iteration, lineage in kept.items():
        found = curation.lineage(store, folder, iteration)
        assert set(lineage.nodes) == set(found.nodes)
        assert set(lineage.links) == set(found.links)
