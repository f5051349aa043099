"""What continues what between two clusterings, and how much of an iteration is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from constitutions import TEXTS, clustering, constitution, edited, member
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(("entry_id", "how"), [("e1", "id"), ("e2", "text")])
def test_an_entry_without_members_continues_by_its_id_or_its_text(entry_id, how):
    old = edited(constitution([(0, 1)], ()), ("add", {"text": "Be kind."})).current
    carried = Clustering((Cluster(entry_id, "Be  KIND.", "", ()),), (), (), ())
    lineage = match(old, from_clustering(carried, TEXTS, [entry_id]), {}, 0.3)
    assert [(link.source, link.target, link.how) for link in lineage.links] == [("e1", entry_id, how)]


def carry(groups, *carried, iteration=2):
    """A clustering's constitution with pinned clusters of the iteration before: (id, text, members)."""
    clusters = [Cluster(entry_id, text, "", tuple(map(member, group))) for entry_id, text, group in carried]
    found = clustering(groups, (), iteration)
    return from_clustering(
        replace(found, clusters=(*found.clusters, *clusters)), TEXTS, [c[0] for c in carried]
    )


def test_a_carried_entry_continues_itself_whatever_its_members_and_its_neighbours_are():
    old = edited(constitution([(0, 1, 2), (3, 4), (5, 6)], ()), ("pin", {"id": "1.3"})).current
    new = edited(
        carry([(0, 2, 5, 6, 10, 11)], ("1.3", TEXTS["p5"], (1,))), ("reword", {"id": "1.3", "text": "New."})
    )
    angles = {f"p{n}": 180 if n in (3, 4) else 0 for n in range(12)}
    lineage = match(old, new.current, vectors(**angles), 0.3)
    assert fates(lineage, "previous") == {"1.1": "kept", "1.2": "died", "1.3": "kept"}
    assert fates(lineage, "current") == {"2.1": "kept", "1.3": "kept"}
    assert successors(lineage)["1.3"] == "1.3"
    assert [link.how for link in lineage.links if link.decisive and link.source == "1.3"] == ["id"]


def test_equal_ids_of_other_entries_are_no_carry_over():
    old, new = constitution([(0, 1), (2, 3)], ()), constitution([(2, 3), (0, 1)], ())
    new = edited(new, ("pin", {"id": "1.1"})).current
    assert successors(match(old, new, {}, 0.3)) == {"1.1": "1.2", "1.2": "1.1"}


def test_a_link_by_distance_replaces_the_pairs_few_shared_principles():
    old, new = constitution([(0, 1, 2, 3, 4)], ()), constitution([(4, 10, 11, 12, 13)], (), iteration=2)
    everywhere = vectors(**{f"p{n}": 0 for n in range(14)})
    lineage = match(old, new, everywhere, 0.3)
    (link,) = lineage.links
    assert (link.how, link.decisive, link.weight) == ("distance", True, old.by_id["1.1"].trajectories)
    assert fates(lineage, "current") == {"2.1": "kept"}


@st.composite
def groupings(draw, iteration):
    homes = draw(st.lists(st.integers(-1, 4), min_size=12, max_size=12))
    groups = [[p for p, home in enumerate(homes) if home == n] for n in range(5)]
    return constitution([group for group in groups if group], (), iteration)


@settings(max_examples=150, deadline=None)
@given(groupings(1), groupings(2), st.lists(st.integers(0, 360), min_size=12, max_size=12), st.floats(0, 1))
def test_flows_are_one_a_pair_and_never_exceed_what_an_entry_has(old, new, angles, threshold):
    new = edited(new, *[("reword", {"id": e.entry_id, "text": TEXTS["p0"]}) for e in new.active[1:2]]).current
    lineage = match(old, new, vectors(**{f"p{n}": angle for n, angle in enumerate(angles)}), threshold)
    pairs = [(link.source, link.target) for link in lineage.links]
    assert len(pairs) == len(set(pairs))
    for node in lineage.nodes:
        end = "source" if node.side == "previous" else "target"
        flows = [link.weight for link in lineage.links if getattr(link, end) == node.entry_id]
        assert all(weight >= 0 for weight in flows) and sum(flows) <= node.trajectories


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
