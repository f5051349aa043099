"""Ids, replays, prunes and differences over several iterations: what a curator's decisions must not turn into."""

from __future__ import annotations

from dataclasses import replace

import pytest
from constitutions import TEXTS, clustering, constitution, edited, member

from lpd_core.constitution import (
    diff,
    edit_prefix,
    free_prefix,
    from_clustering,
    match,
    replacements,
    replay,
    replay_log,
    start,
    successors,
)
from lpd_core.types import Cluster

AT = "2026-01-02T03:04:05+00:00"
JOINED = {"1.2": "2.1", "1.1": "2.1", "1.3": "2.2"}
"""The new clustering joined two old clusters, 1.2 the heavier of them."""


def carried(*clusters):
    """The second clustering's constitution with pinned clusters of the first: (id, text, members)."""
    found = clustering([(0, 3), (5, 6)], (), 2)
    pins = tuple(Cluster(each, text, "", tuple(map(member, group))) for each, text, group in clusters)
    return from_clustering(
        replace(found, clusters=(*found.clusters, *pins)), TEXTS, [each[0] for each in clusters]
    )


def outcomes(done):
    return [outcome.status for outcome in done.outcomes]


def kinds(before, after):
    return [(c.kind, c.entry_id, c.before, c.after) for c in diff(before, after).changes]


def test_edits_of_two_iterations_make_different_ids():
    first = start(constitution(), edit_prefix(1))
    second = start(constitution(iteration=2), edit_prefix(2))
    first = edited(first, ("merge", {"ids": ["1.1", "1.2"]}))
    second = edited(
        second,
        ("merge", {"ids": ["2.1", "2.2"]}),
        ("split", {"id": "2.3", "groups": [["p5", "p6"], ["p7", "p8"]]}),
        *[("add", {"text": f"Rule {n}."}) for n in range(8)],
    )
    assert "e1.1" in first.current.by_id
    assert [e.entry_id for e in second.current.active] == [
        "2.4", "e2.1", "e2.2.1", "e2.2.2", *(f"e2.{n}" for n in range(3, 11))
    ]  # fmt: skip
    again = replay_log(constitution(iteration=2), second.edits, prefix=edit_prefix(2))
    assert again.current == second.current
    assert replay_log(constitution(iteration=2), second.edits).current.by_id["e1"].status == "active"


def test_a_prefix_that_an_entry_has_already_is_not_used():
    assert free_prefix(["1.1", "e1.4", "e22.1"], "e2.") == "e2."
    assert free_prefix(["e2.1"], "e2.") == "ee2."
    assert free_prefix(["e2.1", "ee2.1"], "e2.") == "eee2."
    assert [free_prefix(ids) for ids in ([], ["e1"], ["ee1", "e2"])] == ["e", "ee", "eee"]


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("prune", {}),
        ("reword", {"text": "Mine."}),
        ("rename", {"label": "Mine"}),
        ("medoid", {"principle_id": "p2"}),
    ],
)
def test_what_was_decided_about_a_small_entry_is_not_done_to_those_joined_with_it(op, args):
    target = start(constitution([(3, 4, 0, 1, 2), (5, 6)], (), iteration=2))
    history = edited(constitution(), (op, {"id": "1.1", **args}))
    done = replay(history.edits, target, JOINED, AT)
    assert outcomes(done) == ["not_applied"]
    assert done.outcomes[0].reason.startswith("entry 2.1 continues 1.1, 1.2, and 1.1 is not the largest")
    assert done.history.current == target.current
    largest = replay(history.edits, target, {"1.1": "2.1", "1.2": "2.1"}, AT)
    assert outcomes(largest) == ["adapted"]


def test_what_merges_and_splits_did_counts_when_a_later_edit_names_their_result():
    target = start(constitution([(3, 4, 0, 1, 2), (5, 6, 7), (9,)], (), iteration=2))
    both = edited(constitution(), ("merge", {"ids": ["1.1", "1.2"]}), ("prune", {"id": "e1"}))
    assert outcomes(replay(both.edits, target, JOINED, AT)) == ["adapted", "applied"]
    other = edited(
        constitution(),
        ("merge", {"ids": ["1.1", "1.3"], "text": "Mine."}),
        ("prune", {"id": "e1"}),
        ("note", {"id": "e1", "note": "x"}),
    )
    done = replay(other.edits, target, JOINED, AT)
    assert outcomes(done) == ["adapted", "not_applied", "adapted"]
    assert "joined 1.2 with them" in done.outcomes[0].reason
    parts = edited(
        constitution(),
        ("split", {"id": "1.1", "groups": [["p0", "p1"], ["p2"]]}),
        ("prune", {"id": "e1.1"}),
        ("prune", {"id": "e1.2"}),
    )
    done = replay(parts.edits, target, JOINED, AT)
    assert outcomes(done) == ["adapted", "not_applied", "applied"]
    assert [p for p, text in replacements(done.history.current).items() if text is None] == ["p2"]


def test_a_merge_whose_one_counterpart_is_used_up_is_reported():
    target = start(constitution([(0, 3, 9), (5, 6)], (), iteration=2))
    history = edited(
        constitution(), ("merge", {"ids": ["1.1", "1.3"]}), ("merge", {"ids": ["1.2", "1.4"], "text": "x"})
    )
    done = replay(history.edits, target, {"1.1": "2.1", "1.2": "2.1", "1.4": "2.1", "1.3": "2.2"}, AT)
    assert outcomes(done) == ["adapted", "not_applied"]
    assert "2.1 was merged into e1" in done.outcomes[1].reason


def test_replay_knows_pinned_entries_that_kept_their_ids():
    history = edited(
        constitution(),
        ("pin", {"id": "1.4"}),
        ("merge", {"ids": ["1.1", "1.2"], "text": "Both."}),
        ("pin", {"id": "e2"}),
        ("add", {"text": "Be kind.", "pinned": True}),
        ("reword", {"id": "e4", "text": "Be kinder."}),
        ("rename", {"id": "1.4", "label": "Nine"}),
        ("note", {"id": "e2", "note": "two"}),
        ("rename", {"id": "e4", "label": "Kind"}),
    )
    target = start(carried(("1.4", TEXTS["p9"], ()), ("e2", "Both.", (1,)), ("e4", "Be kinder.", ())))
    done = replay(history.edits, target, {"1.1": "2.1"}, AT)
    assert (
        outcomes(done)
        == ["not_applied", "adapted", "not_applied", "adapted", "not_applied"] + ["applied"] * 3
    )
    assert "nothing would change" in done.outcomes[0].reason
    assert "e2 is what it would make" in done.outcomes[1].reason
    now = done.history.current
    assert [now.by_id[each].label for each in ("1.4", "e4")] == ["Nine", "Kind"]
    assert now.by_id["e2"].note == "two"
    strange = replay(history.edits, target, {}, AT, carried=())
    assert "1.4 has no counterpart here" in strange.outcomes[0].reason


def test_the_matching_for_a_replay_lists_the_heaviest_first():
    old = constitution([(0,), (1, 2, 4, 5)], ())
    new = constitution([(0, 1, 2, 4, 5)], (), iteration=2)
    assert list(successors(match(old, new, {}, 0.3))) == ["1.2", "1.1"]


@pytest.mark.parametrize(
    ("pruned", "restored"),
    [
        ([["p0"]], [["p0"]]),
        ([["p0", "p2"]], [["p2", "p0"]]),
        ([["p0"], ["p2"]], [["p0"], ["p2"]]),
        ([["p0"], ["p2"]], [["p2"], ["p0"]]),
        ([["p0"], ["p2"]], [["p2", "p0"]]),
    ],
)
def test_pruning_and_restoring_a_medoid_changes_nothing(pruned, restored):
    base = constitution()
    history = edited(base, *[("prune", {"principle_ids": ids}) for ids in pruned])
    assert history.current.by_id["1.1"].text != TEXTS["p0"]
    back = edited(history, *[("restore", {"principle_ids": ids}) for ids in restored]).current
    assert replacements(back) == replacements(base)
    assert diff(base, back).changes == ()
    assert (back.by_id["1.1"].label, back.by_id["1.1"].medoid_principle_id) == (TEXTS["p0"], "p0")


@pytest.mark.parametrize(
    ("op", "args", "text"),
    [
        ("reword", {"text": "Mine."}, "Mine."),
        ("medoid", {"principle_id": "p1"}, TEXTS["p1"]),
        ("rename", {"label": "One"}, TEXTS["p0"]),
    ],
)
def test_a_text_that_a_person_gave_meanwhile_stays(op, args, text):
    history = edited(
        constitution(),
        ("prune", {"principle_ids": ["p0"]}),
        (op, {"id": "1.1", **args}),
        ("restore", {"principle_ids": ["p0"]}),
    )
    assert history.current.by_id["1.1"].text == text


def test_edits_of_an_added_entry_show():
    added = ("add", {"text": "Be kind.", "note": "n"})
    edits = (
        ("pin", {"id": "e1"}),
        ("note", {"id": "e1", "note": "m"}),
        ("rename", {"id": "e1", "label": "Kind"}),
        ("reword", {"id": "e1", "text": "Be kinder."}),
    )
    base = constitution()
    assert kinds(base, edited(base, added).current) == [("added", "e1", "", "Be kind.")]
    assert kinds(base, edited(base, added, *edits).current) == [
        ("added", "e1", "", "Be kind."),
        ("reworded", "e1", "Be kind.", "Be kinder."),
        ("renamed", "e1", "Be kind.", "Kind"),
        ("pinned", "e1", "", ""),
        ("noted", "e1", "n", "m"),
    ]


def test_a_merge_with_its_own_text_and_label_is_one_change():
    base = constitution()
    merged = edited(base, ("merge", {"ids": ["1.1", "1.2"], "text": "Both.", "label": "B"}))
    assert kinds(base, merged.current) == [("merged", "e1", "", "Both.")]
    later = edited(merged, ("reword", {"id": "e1", "text": "Do both."})).current
    assert kinds(base, later) == [("merged", "e1", "", "Both."), ("reworded", "e1", "Both.", "Do both.")]


def test_acceptance_shows_and_so_does_its_undoing():
    base = constitution([(0, 1), (2,)], ())
    accepted = edited(base, ("accept_all", {}))
    assert [kind for kind, *_ in kinds(base, accepted.current)] == ["accepted", "accepted"]
    assert [kind for kind, *_ in kinds(accepted.current, base)] == ["unaccepted", "unaccepted"]
    reworded = edited(accepted, ("reword", {"id": "1.2", "text": "Mine."})).current
    assert [kind for kind, *_ in kinds(accepted.current, reworded)] == ["reworded"]
