"""What continues what between two clusterings, and how much of an iteration is new."""

from __future__ import annotations

import numpy as np
import pytest
from constitutions import TEXTS, constitution, edited

from lpd_core.constitution import diff, discovery_rate, from_clustering, match, successors
from lpd_core.errors import DataError
from lpd_core.types import Cluster, Clustering


def vectors(**directions):
    """Unit vectors in a plane: p<n>=degrees."""
    angles = {name: np.deg2rad(degrees) for name, degrees in directions.items()}
    return {name: np.array([np.cos(a), np.sin(a)]) for name, a in angles.items()}


def fates(lineage, side):
    return {node.entry_id: node.fate for node in lineage.nodes if node.side == side}


def test_everything_is_born_in_the_first_iteration_and_all_of_it_is_new():
    current = constitution([(0,), (1,)], ())
    lineage = match(None, current, {}, 0.3)
    assert fates(lineage, "current") == {"1.1": "born", "1.2": "born"}
    assert lineage.links == ()
    assert discovery_rate([], current, {}, 0.3) == 1.0


def test_shared_principles_decide_before_distance():
    old = constitution([(0, 1), (2, 3)], ())
    new = constitution([(2, 3, 4), (0, 1)], (), iteration=2)
    swapped = vectors(p0=0, p1=0, p2=90, p3=90, p4=0)
    lineage = match(old, new, swapped, 0.3)
    assert successors(lineage) == {"1.1": "2.2", "1.2": "2.1"}
    assert {link.how for link in lineage.links} == {"principles"}
    assert set(fates(lineage, "current").values()) == {"kept"}


def test_clusters_without_shared_principles_are_matched_by_the_distance_of_their_means():
    old = constitution([(0, 1), (2, 3)], ())
    new = constitution([(10, 11), (12, 13)], (), iteration=2)
    places = vectors(p0=0, p1=10, p2=90, p3=100, p10=4, p11=6, p12=200, p13=210)
    lineage = match(old, new, places, 0.3)
    assert fates(lineage, "previous") == {"1.1": "kept", "1.2": "died"}
    assert fates(lineage, "current") == {"2.1": "kept", "2.2": "born"}
    (link,) = lineage.links
    assert (link.source, link.target, link.how) == ("1.1", "2.1", "distance")
    assert link.distance == pytest.approx(0.0, abs=0.01)
    assert fates(match(old, new, places, 0.0), "current") == {"2.1": "born", "2.2": "born"}


def test_merged_and_split_clusters_are_told_on_both_sides():
    old = constitution([(0, 1), (2, 3), (4, 5, 6, 7)], ())
    new = constitution([(0, 1, 2, 3), (4, 5), (6, 7)], (), iteration=2)
    lineage = match(old, new, {}, 0.3)
    assert fates(lineage, "previous") == {"1.1": "merged", "1.2": "merged", "1.3": "split"}
    assert fates(lineage, "current") == {"2.1": "merged", "2.2": "split", "2.3": "split"}
    assert sum(link.weight for link in lineage.links) == sum(
        n.trajectories for n in lineage.nodes if n.side == "current"
    )


def test_a_few_members_that_moved_along_make_no_merge():
    old = constitution([(0, 1, 2, 3, 4), (5, 6, 7, 8)], ())
    new = edited(old, ("move", {"principle_ids": ["p4"], "to": "1.2"})).current
    lineage = match(old, new, {}, 0.3)
    assert set(fates(lineage, "current").values()) == {"kept"}
    assert [(k.source, k.target) for k in lineage.links if not k.decisive] == [("1.1", "1.2")]


def test_versions_of_one_clustering_match_after_edits_and_pruned_entries_died():
    old = constitution()
    new = edited(old, ("merge", {"ids": ["1.1", "1.2"]}), ("prune", {"id": "1.4"})).current
    lineage = match(old, new, {}, 0.3)
    assert fates(lineage, "previous") == {"1.1": "merged", "1.2": "merged", "1.3": "kept", "1.4": "died"}
    assert successors(lineage) == {"1.1": "e1", "1.2": "e1", "1.3": "1.3"}


def test_a_pinned_entry_without_members_continues_by_its_text():
    old = edited(constitution([(0, 1)], ()), ("add", {"text": "Be kind."})).current
    carried = Clustering((Cluster("e1", "Be  KIND.", "", ()),), (), (), ())
    lineage = match(old, from_clustering(carried, TEXTS, ["e1"]), {}, 0.3)
    assert [(link.source, link.target, link.how) for link in lineage.links] == [("e1", "e1", "text")]


def test_discovery_rate_counts_principles_far_from_every_earlier_cluster():
    first, second = constitution([(0, 1)], ()), constitution([(2, 3)], ())
    third = constitution([(10, 11), (12,)], (13,), iteration=3)
    places = vectors(p0=0, p1=0, p2=90, p3=90, p10=5, p11=180, p12=93, p13=270)
    assert discovery_rate([first], third, places, 0.3) == 0.75
    assert discovery_rate([first, second], third, places, 0.3) == 0.5
    with pytest.raises(DataError, match="no vector"):
        discovery_rate([first], constitution([(14,)], ()), places, 0.3)
    assert discovery_rate([first], constitution([], ()), places, 0.3) == 0.0


def test_the_difference_across_clusterings_goes_by_lineage():
    old = constitution([(0, 1), (2, 3), (4, 5, 6, 7), (8,), (9,)], ())
    base = constitution([(0, 1, 2, 3), (4, 5), (6, 7), (8, 12), (10,)], (), iteration=2)
    new = edited(base, ("reword", {"id": "2.4", "text": "Be brief."}), ("pin", {"id": "2.4"})).current
    found = diff(old, new, lineage=match(old, new, {}, 0.3))
    assert not found.same_clustering
    assert [(c.kind, c.entry_id, c.others) for c in found.changes] == [
        ("split", "1.3", ("2.2", "2.3")),
        ("removed", "1.5", ()),
        ("merged", "2.1", ("1.2", "1.1")),
        ("reworded", "2.4", ("1.4",)),
        ("pinned", "2.4", ("1.4",)),
        ("added", "2.5", ()),
    ]


def test_an_empty_constitution_has_a_lineage_too():
    empty = constitution([], ())
    assert match(empty, empty, {}, 0.3).nodes == ()
    assert fates(match(constitution(), empty, {}, 0.3), "previous")["1.1"] == "died"
