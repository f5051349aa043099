"""The operations one by one, what they refuse, the log, previews, the difference of versions, replays."""

from __future__ import annotations

import json
import pickle

import pytest
from constitutions import TEXTS, clustering, constitution, edited, member

from lpd_core.constitution import (
    affected,
    diff,
    effective_edits,
    from_clustering,
    groups_by_k,
    groups_by_threshold,
    impact,
    index_trajectories,
    reanchor,
    record,
    replacement,
    replacements,
    replay,
    replay_log,
    start,
    tally,
    word_diff,
)
from lpd_core.constitution.arguments import ARGUMENTS
from lpd_core.constitution.edits import CHANGING, MAKING
from lpd_core.errors import DataError, EditRefused
from lpd_core.types import Cluster, Clustering, Merge

AT = "2026-01-02T03:04:05+00:00"
LEAVES = ("a", "b", "c", "d", "e")
TREE = (Merge(0, 1, 0.1, 2), Merge(2, 3, 0.2, 2), Merge(5, 6, 0.5, 4), Merge(4, 7, 0.9, 5))


def entry(history, entry_id):
    return history.current.by_id[entry_id]


def ids(members):
    return [member.principle_id for member in members]


def kinds(found):
    return [(change.kind, change.entry_id) for change in found.changes]


def test_a_clustering_proposes_a_constitution_of_its_medoids():
    state = constitution()
    assert [(e.entry_id, e.text) for e in state.active] == [
        (f"1.{n}", f"Principle number {p}.") for n, p in ((1, 0), (2, 3), (3, 5), (4, 9))
    ]
    assert replacements(state)["p2"] == TEXTS["p0"]
    assert replacements(state)["p10"] == TEXTS["p10"]
    assert tally(state).unclustered.principles == 2


def test_entries_are_in_natural_order():
    state = constitution([(n,) for n in range(12)], ())
    assert [e.entry_id for e in state.entries] == [f"1.{n}" for n in range(1, 13)]


def test_a_pinned_cluster_keeps_its_own_text_and_its_id_is_not_reused():
    carried = (Cluster("e1", "Be kind.", "", ()), Cluster("e2", "Be brief.", "p2", (member(2),)))
    found = Clustering((*clustering([(0, 1)]).clusters, *carried), (), (), ())
    assert replacements(from_clustering(found, TEXTS))["p2"] == "Be brief."
    history = edited(from_clustering(found, TEXTS, pinned=["e1"]), ("merge", {"ids": ["1.1", "e1"]}))
    assert entry(history, "e1").text == "Be kind."
    assert entry(history, "e1").into == ("ee1",)
    assert entry(history, "ee1").pinned


@pytest.mark.parametrize(
    ("groups", "unclustered"), [([(0, 1), (1, 2)], ()), ([(0, 1)], (1,)), ([(0, 199), (200,)], ())]
)
def test_a_clustering_that_is_no_partition_or_lacks_a_text_is_bad_data(groups, unclustered):
    with pytest.raises(DataError):
        constitution(groups, unclustered)


def test_every_operation_has_arguments_and_the_other_way_round():
    assert {*CHANGING, *MAKING, "undo", "redo", "reset"} == set(ARGUMENTS)


def test_rename_reword_medoid_and_note_change_only_their_entry():
    history = edited(
        constitution(),
        ("rename", {"id": "1.1", "label": " Short "}),
        ("reword", {"id": "1.2", "text": "Be brief."}),
        ("medoid", {"id": "1.3", "principle_id": "p7"}),
        ("note", {"id": "1.4", "note": "Odd."}),
    )
    assert (entry(history, "1.1").label, entry(history, "1.1").text) == ("Short", TEXTS["p0"])
    assert (entry(history, "1.2").text, entry(history, "1.2").medoid_principle_id) == ("Be brief.", None)
    assert (entry(history, "1.3").text, entry(history, "1.3").medoid_principle_id) == (TEXTS["p7"], "p7")
    assert entry(history, "1.4").note == "Odd."
    assert replacements(history.current)["p4"] == "Be brief."


def test_merge_takes_the_text_of_the_largest_and_keeps_its_sources_visible():
    history = edited(constitution(), ("pin", {"id": "1.2"}), ("merge", {"ids": ["1.2", "1.3"]}))
    whole = entry(history, "e2")
    assert (whole.text, whole.label, whole.pinned) == (TEXTS["p5"], TEXTS["p5"], True)
    assert ids(whole.members) == ["p3", "p4", "p5", "p6", "p7", "p8"]
    assert whole.provenance.sources == ("1.2", "1.3")
    assert [(entry(history, i).status, entry(history, i).into) for i in ("1.2", "1.3")] == [
        ("merged", ("e2",))
    ] * 2
    assert replacement(history.current, "p4") == TEXTS["p5"]


def test_merge_under_another_medoid_or_ones_own_words():
    medoid = edited(constitution(), ("merge", {"ids": ["1.1", "1.2"], "medoid_principle_id": "p4"}))
    assert entry(medoid, "e1").text == TEXTS["p4"]
    words = edited(constitution(), ("merge", {"ids": ["1.1", "1.2"], "text": "Both.", "label": "B"}))
    assert (entry(words, "e1").text, entry(words, "e1").label) == ("Both.", "B")
    assert entry(words, "e1").medoid_principle_id is None


def test_split_leaves_text_label_and_pin_with_the_part_that_holds_the_medoid():
    history = edited(
        constitution(),
        ("pin", {"id": "1.3"}),
        ("rename", {"id": "1.3", "label": "Three"}),
        ("split", {"id": "1.3", "groups": [["p6", "p8"], ["p5", "p7"]]}),
    )
    first, second = entry(history, "e3.1"), entry(history, "e3.2")
    assert (second.text, second.label, second.pinned) == (TEXTS["p5"], "Three", True)
    assert (first.text, first.label, first.pinned) == (TEXTS["p8"], TEXTS["p8"], False)
    assert first.medoid_principle_id == "p8"
    assert (entry(history, "1.3").status, entry(history, "1.3").into) == ("split", ("e3.1", "e3.2"))


def test_split_with_medoids_and_of_ones_own_words():
    args = {"id": "1.3", "groups": [["p6", "p8"], ["p5", "p7"]], "medoids": ["p6", None]}
    history = edited(constitution(), ("split", args))
    assert [entry(history, f"e1.{n}").text for n in (1, 2)] == [TEXTS["p6"], TEXTS["p5"]]
    own = edited(
        constitution(), ("reword", {"id": "1.3", "text": "Mine."}), ("split", {**args, "medoids": None})
    )
    assert [entry(own, f"e2.{n}").text for n in (1, 2)] == [TEXTS["p8"], "Mine."]


def test_move_takes_members_and_unclustered_principles_and_replaces_a_lost_medoid():
    history = edited(constitution(), ("move", {"principle_ids": ["p0", "p10"], "to": "1.4"}))
    assert ids(entry(history, "1.4").members) == ["p9", "p0", "p10"]
    assert ids(entry(history, "1.1").members) == ["p1", "p2"]
    assert entry(history, "1.1").text == TEXTS["p2"]
    assert list(history.current.unclustered) == ["p11"]


def test_prune_and_restore_of_entries_and_of_single_principles():
    history = edited(constitution(), ("prune", {"id": "1.1"}), ("prune", {"principle_ids": ["p3", "p10"]}))
    texts = replacements(history.current)
    assert [texts[p] for p in ("p0", "p1", "p3", "p10")] == [None] * 4
    assert texts["p4"] == TEXTS["p4"], "the medoid was pruned, its text must not be trained on"
    back = edited(history, ("restore", {"id": "1.1"}), ("restore", {"principle_ids": ["p3", "p10"]}))
    assert ids(entry(back, "1.2").members) == ["p4", "p3"]
    assert "p10" in back.current.unclustered
    assert tally(back.current) == tally(constitution())


def test_a_restored_principle_follows_the_merges_of_its_entry():
    history = edited(
        constitution(),
        ("prune", {"principle_ids": ["p4"]}),
        ("merge", {"ids": ["1.2", "1.1"]}),
        ("merge", {"ids": ["e2", "1.3"]}),
        ("restore", {"principle_ids": ["p4"]}),
    )
    assert history.current.home["p4"] == "e3"


def test_an_added_principle_may_take_members_and_be_pinned_at_once():
    args = {"text": "Be kind.", "principle_ids": ["p1", "p11"], "note": "ours", "pinned": True}
    history = edited(constitution(), ("add", args))
    own = entry(history, "e1")
    assert (own.text, own.label, own.pinned, own.note) == ("Be kind.", "Be kind.", True, "ours")
    assert replacement(history.current, "p11") == "Be kind."


def test_accepting_is_undone_by_a_change_of_text_or_members_only():
    history = edited(constitution(), ("accept_all", {}), ("rename", {"id": "1.1", "label": "A"}))
    assert all(e.accepted for e in history.current.active)
    history = edited(
        history, ("reword", {"id": "1.1", "text": "B"}), ("move", {"principle_ids": ["p4"], "to": "1.4"})
    )
    assert [e.accepted for e in history.current.active] == [False, False, True, False]


REFUSED = [
    ("rename", {"id": "1.9", "label": "x"}, "did you mean 1."),
    ("rename", {"id": "1.1", "labell": "x"}, "unknown argument 'labell'; did you mean 'label'"),
    ("rename", {"id": "1.1", "label": TEXTS["p0"]}, "nothing would change"),
    ("renam", {"id": "1.1"}, "did you mean 'rename'"),
    ("rename", {"id": "1.1"}, "label is missing"),
    ("rename", {"id": 1.1, "label": "x"}, "id input should be a valid string (given 1.1)"),
    ("reword", {"id": "1.1", "text": " \n"}, "text must not be empty"),
    ("reword", {"id": "1.1", "text": "\ud800"}, "no valid Unicode"),
    ("medoid", {"id": "1.1", "principle_id": "p4"}, "p4: not among the members of entry 1.1"),
    ("merge", {"ids": ["1.1"]}, "at least 2"),
    ("merge", {"ids": ["1.1", "1.1"]}, "names 1.1 twice"),
    ("merge", {"ids": ["1.1", "1.2"], "text": "x", "medoid_principle_id": "p0"}, "not both"),
    ("merge", {"ids": ["1.1", "1.2"], "medoid_principle_id": "p9"}, "not among the members"),
    ("split", {"id": "1.3", "groups": [["p5", "p6", "p7", "p8"]]}, "at least 2"),
    ("split", {"id": "1.3", "groups": [["p5", "p6"], ["p7"]]}, "leave out p8"),
    ("split", {"id": "1.3", "groups": [["p5", "p6", "p7"], ["p7", "p8"]]}, "p7 would be in two groups"),
    ("split", {"id": "1.3", "groups": [["p5", "p6", "p7"], ["p8", "p0"]]}, "p0: not among the members"),
    ("split", {"id": "1.3", "groups": [["p5", "p6", "p7", "p8"], []]}, "at least 1"),
    ("split", {"id": "1.2", "groups": [["p3"], ["p4"]], "medoids": ["p3"]}, "1 medoids for 2 groups"),
    ("split", {"id": "1.2", "groups": [["p3"], ["p4"]], "medoids": [None, "p3"]}, "not among the members"),
    ("move", {"principle_ids": ["p0"], "to": "1.1"}, "already in entry 1.1"),
    ("move", {"principle_ids": ["p9"], "to": "1.1"}, "would be left without members"),
    ("move", {"principle_ids": ["q"], "to": "1.1"}, "there is no principle 'q'"),
    ("move", {"principle_ids": [], "to": "1.1"}, "at least 1"),
    ("prune", {}, "either id or principle_ids"),
    ("prune", {"id": "1.1", "principle_ids": ["p0"]}, "either id or principle_ids"),
    ("prune", {"principle_ids": ["p3", "p4"]}, "would be left without members"),
    ("restore", {"id": "1.1"}, "only pruned entries are restored"),
    ("restore", {"principle_ids": ["p0"]}, "p0: not pruned one by one"),
    ("unpin", {"id": "1.1"}, "nothing would change"),
    ("undo", {}, "nothing to undo"),
    ("redo", {}, "nothing to redo"),
    ("reset", {"seq": 1}, "the log has no edit 1"),
    ("undo", {"id": "1.1"}, "it takes none"),
]


@pytest.mark.parametrize(("op", "args", "reason"), REFUSED)
def test_an_impossible_edit_is_refused_with_the_reason(op, args, reason):
    with pytest.raises(EditRefused) as refused:
        edited(constitution(), (op, args))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"ids": ["1.1", "1.4"]}, "entry 1.1 is pruned; restore it first"),
        ({"ids": ["1.2", "1.4"]}, "entry 1.2 was merged into e2; edit that instead"),
    ],
)
def test_used_up_and_pruned_entries_are_no_targets(args, reason):
    history = edited(constitution(), ("prune", {"id": "1.1"}), ("merge", {"ids": ["1.2", "1.3"]}))
    with pytest.raises(EditRefused, match=reason):
        edited(history, ("merge", args))
    with pytest.raises(EditRefused, match=r"is in entry 1\.1, which is pruned"):
        edited(history, ("move", {"principle_ids": ["p0"], "to": "1.4"}))


def test_what_a_restored_principle_cannot_return_to_is_said_and_to_helps():
    history = edited(
        constitution(),
        ("prune", {"principle_ids": ["p8"]}),
        ("split", {"id": "1.3", "groups": [["p5"], ["p6", "p7"]]}),
    )
    with pytest.raises(EditRefused, match=r"split into e2\.1 and e2\.2; say which entry it goes `to`"):
        edited(history, ("restore", {"principle_ids": ["p8"]}))
    assert edited(history, ("restore", {"principle_ids": ["p8"], "to": "e2.2"})).current.home["p8"] == "e2.2"


def test_pinned_entries_are_unpinned_before_they_are_pruned():
    with pytest.raises(EditRefused, match="unpin it"):
        edited(constitution(), ("pin", {"id": "1.1"}), ("prune", {"id": "1.1"}))


def test_an_edit_needs_an_author_and_keeps_plain_json():
    with pytest.raises(EditRefused, match="author"):
        record(start(constitution()), "accept_all", {}, author=" ", at=AT)
    history = record(
        start(constitution()), "merge", {"ids": ("1.1", "1.2")}, author="ann", at=AT, reason=" alike "
    )
    edit = history.edits[-1]
    assert json.loads(json.dumps(edit.args)) == {"ids": ["1.1", "1.2"]} == edit.args
    assert (edit.seq, edit.op, edit.author, edit.reason, edit.at) == (1, "merge", "ann", "alike", AT)


def test_a_refused_edit_leaves_the_history_as_it_was():
    history = edited(constitution(), ("pin", {"id": "1.1"}))
    before = history.current
    with pytest.raises(EditRefused):
        edited(history, ("pin", {"id": "1.1"}))
    assert history.current is before and len(history.edits) == 1


def test_an_edit_after_an_undo_drops_the_redo_branch_but_the_log_keeps_it():
    history = edited(
        constitution(), ("merge", {"ids": ["1.1", "1.2"]}), ("undo", {}), ("merge", {"ids": ["1.3", "1.4"]})
    )
    assert [e.op for e in history.edits] == ["merge", "undo", "merge"]
    assert "e1" not in history.current.by_id and "e3" in history.current.by_id
    assert not history.can_redo
    assert [e.seq for e in effective_edits(history.edits)] == [3]


def test_reset_returns_to_the_state_after_any_line_of_the_log_and_can_be_undone():
    history = edited(
        constitution(),
        ("merge", {"ids": ["1.1", "1.2"]}),
        ("undo", {}),
        ("pin", {"id": "1.3"}),
        ("reset", {"seq": 1}),
    )
    assert "e1" in history.current.by_id and not entry(history, "1.3").pinned
    assert [e.seq for e in effective_edits(history.edits)] == [1]
    assert entry(edited(history, ("undo", {})), "1.3").pinned
    assert edited(history, ("reset", {"seq": 0})).current == constitution()


def test_a_log_that_does_not_fit_is_bad_data_and_names_its_line():
    history = edited(constitution(), ("pin", {"id": "1.3"}), ("merge", {"ids": ["1.3", "1.4"]}))
    with pytest.raises(DataError, match="number 2 stands where 1 belongs"):
        replay_log(constitution(), history.edits[1:])
    with pytest.raises(DataError, match=r"edit 2 \(merge\): there is no entry '1.4'"):
        replay_log(constitution([(0, 1), (2,), (5, 6)]), history.edits)


def test_a_constitution_survives_pickling_as_the_pages_cache_needs():
    state = edited(constitution(), ("merge", {"ids": ["1.1", "1.2"]})).current
    assert pickle.loads(pickle.dumps(state)) == state


def test_groups_of_a_split_follow_the_tree_restricted_to_the_members():
    assert groups_by_threshold(TREE, LEAVES, "abcd", 0.3) == [["a", "b"], ["c", "d"]]
    assert groups_by_threshold(TREE, LEAVES, "abcd", 0.15) == [["a", "b"], ["c"], ["d"]]
    assert groups_by_k(TREE, LEAVES, "abce", 2) == [["a", "b", "c"], ["e"]]
    assert groups_by_k(TREE, LEAVES, "ace", 3) == [["a"], ["c"], ["e"]]
    with pytest.raises(EditRefused, match="give 2 to 3"):
        groups_by_k(TREE, LEAVES, "ace", 4)
    with pytest.raises(EditRefused, match=r"1 members are not in the merge tree \(z\)"):
        groups_by_threshold(TREE, LEAVES, "az", 0.3)


def sample_index(state, **options):
    prompts = ["x1", "x2", "x2", "x3", "x4", "x5"]
    principles = ["p0", "p1", "p3", "p3", "p5", "p10"]
    return index_trajectories(state, prompts, [0, 0, 1, 0, 2, 0], principles, [10] * 6, **options)


def test_preview_counts_rows_tokens_and_prompts_that_lose_their_last_trajectory():
    history = start(constitution())
    index = sample_index(history.current, token_length=len)
    after = edited(
        history, ("merge", {"ids": ["1.1", "1.3"], "text": "Be brief and clear."}), ("prune", {"id": "1.2"})
    )
    found = impact(history.current, after.current, index)
    assert (found.relabelled, found.lost, found.regained) == (3, 2, 0)
    assert (found.rows_before, found.rows_after) == (6, 4)
    longer = len("Be brief and clear.") - len(TEXTS["p0"])
    assert (found.tokens_before, found.tokens_after) == (60, 40 + 3 * longer)
    assert found.prompts_lost == ("x3",), "x2 keeps a trajectory"
    assert [(c.principle_id, c.trajectories) for c in found.changes if c.trajectories] == [
        ("p0", 1), ("p1", 1), ("p3", 2), ("p5", 1)
    ]  # fmt: skip
    assert [(a.prompt_id, a.sample) for a in affected(found, index)] == [("x1", 0), ("x2", 0), ("x4", 2)]


def test_undoing_a_prune_regains_what_was_lost_and_names_change_nothing():
    history = edited(constitution(), ("prune", {"id": "1.2"}))
    index = reanchor(sample_index(constitution()), history.current)
    back = impact(history.current, edited(history, ("undo", {})).current, index)
    assert (back.regained, back.rows_before, back.rows_after, back.prompts_lost) == (2, 4, 6, ())
    renamed = edited(history, ("rename", {"id": "1.1", "label": "x"}), ("accept_all", {}))
    none = impact(history.current, renamed.current, index)
    assert (none.changes, none.tokens_before, none.tokens_after) == ((), 40, 40)


def test_diff_lists_precisely_the_edits_between_two_versions():
    old = constitution()
    new = edited(
        old,
        ("merge", {"ids": ["1.1", "1.2"]}),
        ("prune", {"id": "1.4"}),
        ("reword", {"id": "1.3", "text": "Principle reworded."}),
        ("move", {"principle_ids": ["p8", "p10"], "to": "e1"}),
        ("prune", {"principle_ids": ["p6"]}),
        ("pin", {"id": "1.3"}),
        ("add", {"text": "Be kind."}),
        ("note", {"id": "1.3", "note": "why"}),
        ("rename", {"id": "e1", "label": "Both"}),
        ("accept_all", {}),
    ).current
    found = diff(old, new, 60, 50)
    assert found.same_clustering and (found.rows_before, found.rows_after) == (60, 50)
    assert sorted(kinds(found)) == sorted(
        [
            ("merged", "e1"),
            ("removed", "1.4"),
            ("reworded", "1.3"),
            ("moved", "e1"),
            ("moved", "e1"),
            ("principles_pruned", "1.3"),
            ("pinned", "1.3"),
            ("added", "e7"),
            ("noted", "1.3"),
            ("renamed", "e1"),
            ("accepted", "1.3"),
            ("accepted", "e1"),
            ("accepted", "e7"),
        ]
    )
    by_kind = {(change.kind, change.others): change for change in found.changes}
    assert ("merged", ("1.1", "1.2")) in by_kind
    assert by_kind["moved", ("1.3",)].principles == ("p8",)
    assert by_kind["moved", ()].principles == ("p10",)
    reworded = by_kind["reworded", ()]
    assert [w.text for w in word_diff(reworded.before, reworded.after) if w.kind == "added"] == ["reworded"]


def test_diff_the_other_way_round_shows_the_edits_undone():
    old = constitution()
    merged = edited(old, ("merge", {"ids": ["1.1", "1.2"]})).current
    split = edited(old, ("split", {"id": "1.2", "groups": [["p3"], ["p4"]]})).current
    assert kinds(diff(merged, old)) == [("split", "e1")]
    assert kinds(diff(old, split)) == [("split", "1.2")]
    assert kinds(diff(split, old)) == [("merged", "1.2")]
    assert sorted(kinds(diff(merged, split))) == [("split", "1.2"), ("split", "e1")]
    pruned = edited(old, ("prune", {"id": "1.1"}), ("prune", {"principle_ids": ["p8"]})).current
    assert kinds(diff(pruned, old)) == [("restored", "1.1"), ("principles_restored", "1.3")]
    assert kinds(diff(edited(old, ("add", {"text": "x"})).current, old)) == [("removed", "e1")]


def test_replay_names_what_was_applied_adapted_and_not_applied():
    history = edited(
        constitution(),
        ("merge", {"ids": ["1.1", "1.2"], "text": "Both."}),
        ("reword", {"id": "1.4", "text": "Undone."}),
        ("undo", {}),
        ("prune", {"id": "1.4"}),
        ("rename", {"id": "e1", "label": "B"}),
        ("split", {"id": "1.3", "groups": [["p5"], ["p6", "p7", "p8"]]}),
        ("note", {"id": "e6.2", "note": "Second part."}),
        ("move", {"principle_ids": ["p11", "p10"], "to": "e1"}),
        ("add", {"text": "Be kind."}),
    )
    target = start(constitution([(0, 12), (3,), (5, 6, 13)], (10,), iteration=2))
    done = replay(history.edits, target, {"1.1": "2.1", "1.2": "2.2", "1.3": "2.3"}, AT)
    assert [(o.seq, o.status, o.new_seq) for o in done.outcomes] == [
        (1, "applied", 1),
        (4, "not_applied", None),
        (5, "applied", 2),
        (6, "adapted", 3),
        (7, "applied", 4),
        (8, "adapted", 5),
        (9, "applied", 6),
    ]
    reasons = {o.seq: o.reason for o in done.outcomes}
    assert "1.4 has no counterpart" in reasons[4]
    assert "1 members that the log does not know joined the largest group" in reasons[6]
    assert "left out p11" in reasons[8]
    assert entry(done.history, "e1").label == "B"
    assert entry(done.history, "e3.2").note == "Second part."
    assert ids(entry(done.history, "e1").members) == ["p0", "p12", "p3", "p10"]
    assert done.history.edits[0].reason == "replay of edit 1"


def test_replay_does_not_repeat_what_the_new_clustering_did_by_itself():
    history = edited(
        constitution(),
        ("merge", {"ids": ["1.1", "1.2"], "text": "Both."}),
        ("merge", {"ids": ["e1", "1.3"]}),
        ("add", {"text": "Be kind."}),
        ("pin", {"id": "1.4"}),
    )
    carried = Clustering(
        (*clustering([(0, 3), (9,)], iteration=2).clusters, Cluster("e3", "Be kind.", "", ())), (), (), ()
    )
    match = {"1.1": "2.1", "1.2": "2.1", "1.3": "2.1", "1.4": "2.2"}
    done = replay(history.edits, start(from_clustering(carried, TEXTS, ["e3"])), match, AT)
    assert [(o.status, o.new_seq) for o in done.outcomes] == [
        ("adapted", 1), ("adapted", None), ("adapted", None), ("applied", 2)
    ]  # fmt: skip
    assert entry(done.history, "2.1").text == "Both."


def test_replay_survives_a_log_that_it_cannot_understand():
    history = edited(constitution(), ("pin", {"id": "1.1"}))
    strange = [history.edits[0].__class__(1, "explode", {}, "ann", "", AT)]
    done = replay(strange, start(constitution()), {}, AT)
    assert done.outcomes[0].status == "not_applied" and "unknown operation" in done.outcomes[0].reason
