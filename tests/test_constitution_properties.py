"""What holds for any sequence of edits, possible or not."""

from __future__ import annotations

from collections import Counter

from constitutions import constitution, edited
from hypothesis import given, settings
from hypothesis import strategies as st

from lpd_core.constitution import (
    diff,
    entries_json,
    from_json,
    impact,
    index_trajectories,
    replacements,
    replay,
    replay_log,
    start,
    tally,
    word_diff,
)
from lpd_core.constitution.arguments import ARGUMENTS
from lpd_core.constitution.persistent import PersistentMap
from lpd_core.errors import EditRefused

PRINCIPLES = [f"p{n}" for n in range(12)]
STEPS = 24


@st.composite
def edit_arguments(draw, history):
    """An operation with arguments that often fit: ids that exist, members of the entry named."""
    op = draw(st.sampled_from([*ARGUMENTS, "merge", "split", "move", "prune", "restore"]))
    entries = history.current.entries
    likely = (
        [e.entry_id for e in entries if e.status == "active"] * 4 + [e.entry_id for e in entries] + ["9.9"]
    )
    ids = st.sampled_from(likely)
    principles = st.lists(st.sampled_from(PRINCIPLES), min_size=1, max_size=4, unique=True)
    text = st.sampled_from(["Be brief.", "Be kind.", "Say why."])
    entry_id = draw(ids)
    members = [m.principle_id for e in entries if e.entry_id == entry_id for m in e.members]
    if op in ("rename", "reword", "note"):
        args = {"id": entry_id, {"rename": "label", "reword": "text"}.get(op, op): draw(text)}
    elif op == "medoid":
        args = {"id": entry_id, "principle_id": draw(st.sampled_from(members or PRINCIPLES))}
    elif op == "merge":
        args = {"ids": draw(st.lists(ids, min_size=1, max_size=3, unique=True))}
        args |= draw(st.sampled_from([{}, {"label": "Both"}, {"text": "Do both."}]))
    elif op == "split":
        cut = draw(st.integers(0, max(0, len(members))))
        args = {"id": entry_id, "groups": [group for group in (members[:cut], members[cut:]) if group]}
        medoids = st.lists(st.sampled_from([None, *members]), min_size=2, max_size=2)
        args |= draw(st.sampled_from([{}, {"medoids": draw(medoids)}]))
    elif op == "move":
        args = {"principle_ids": draw(principles), "to": entry_id}
    elif op in ("prune", "restore"):
        gone = [e.entry_id for e in entries if e.status == "pruned"]
        if op == "restore" and history.current.pruned:
            principles = st.lists(st.sampled_from(sorted(history.current.pruned)), min_size=1, unique=True)
        single = {"principle_ids": draw(principles)}
        if op == "restore":
            entry_id = draw(st.sampled_from(gone or [entry_id]))
            single |= draw(st.sampled_from([{}, {}, {"to": draw(ids)}]))
        args = draw(st.sampled_from([{"id": entry_id}, single]))
    elif op in ("pin", "unpin"):
        args = {"id": entry_id}
    elif op == "add":
        args = {"text": draw(text)} | draw(st.sampled_from([{}, {"principle_ids": draw(principles)}]))
    elif op == "reset":
        args = {"seq": draw(st.integers(0, len(history.edits) + 1))}
    else:
        args = {}
    return op, args


def walk(data, history):
    """The histories that a random sequence of edits leads through, refused edits left out."""
    histories = [history]
    for _ in range(data.draw(st.integers(1, STEPS))):
        try:
            histories.append(edited(histories[-1], data.draw(edit_arguments(histories[-1]))))
        except EditRefused:
            continue
    return histories


def depth(history):
    count = 0
    while history.can_undo:
        history, count = edited(history, ("undo", {})), count + 1
    return count, history


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_as_many_undos_as_edits_restore_the_constitution_and_redos_bring_it_back(data):
    history = walk(data, start(constitution()))[-1]
    count, undone = depth(history)
    assert undone.current == constitution()
    assert entries_json(undone.current) == entries_json(constitution())
    redone = edited(undone, *[("redo", {})] * count)
    assert redone.current == history.current
    assert len(redone.edits) == len(history.edits) + 2 * count


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_replaying_the_log_from_scratch_gives_the_same_state_and_ids_are_never_reused(data):
    histories = walk(data, start(constitution()))
    assert replay_log(constitution(), histories[-1].edits).current == histories[-1].current
    made = {}
    for history in histories:
        for entry in history.current.by_id.values():
            assert made.setdefault(entry.entry_id, entry.provenance) == entry.provenance


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_principle_is_in_one_place_and_counts_add_up(data):
    total = tally(constitution()).total
    for history in walk(data, start(constitution())):
        state = history.current
        holders = [(m, e.entry_id) for e in state.by_id.values() if e.holds_members for m in e.members]
        places = [m.principle_id for m, _ in holders] + [*state.pruned, *state.unclustered]
        assert sorted(places) == sorted(PRINCIPLES)
        assert {m.principle_id: entry_id for m, entry_id in holders} == dict(state.home)
        counts = tally(state)
        shares = (counts.active, counts.pruned, counts.unclustered)
        assert counts.total == total
        assert sum(share.principles for share in shares) == total.principles
        assert sum(share.trajectories for share in shares) == total.trajectories
        texts = {e.text for e in state.active} | {state.texts[p] for p in state.unclustered}
        assert {text for text in replacements(state).values() if text} <= texts
        for entry in state.by_id.values():
            if entry.medoid_principle_id:
                assert entry.text == state.texts[entry.medoid_principle_id]
                assert entry.medoid_principle_id in {m.principle_id for m in entry.members}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_impact_equals_a_recount_of_the_whole_training_set(data):
    rows = [
        (f"x{data.draw(st.integers(0, 8))}", n, principle, 10 + n)
        for n, principle in enumerate([*PRINCIPLES, *PRINCIPLES[::2], "unknown"])
    ]
    histories = walk(data, start(constitution()))
    anchor = data.draw(st.sampled_from(histories)).current
    index = index_trajectories(anchor, *zip(*rows, strict=True), token_length=len)
    before, after = (data.draw(st.sampled_from(histories)).current for _ in range(2))
    found = impact(before, after, index)
    old, new = replacements(before), replacements(after)
    texts = [(old.get(p, ""), new.get(p, "")) for _, _, p, _ in rows]
    assert found.relabelled == sum(a != b and None not in (a, b) for a, b in texts)
    assert found.lost == sum(a is not None and b is None for a, b in texts)
    assert found.regained == sum(a is None and b is not None for a, b in texts)
    for state, n_rows, n_tokens in (
        (old, found.rows_before, found.tokens_before),
        (new, found.rows_after, found.tokens_after),
    ):
        kept = [(row, state.get(row[2], "")) for row in rows if state.get(row[2], "") is not None]
        assert n_rows == len(kept)
        own = before.texts
        assert n_tokens == sum(
            t + (len(text) - len(own[p]) if p in own else 0) for (_, _, p, t), text in kept
        )
    prompts = [Counter(row[0] for row in rows if state.get(row[2], "") is not None) for state in (old, new)]
    assert found.prompts_lost == tuple(sorted(prompts[0].keys() - prompts[1].keys()))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_documents_round_trip_and_versions_compare_after_any_edits(data):
    histories = walk(data, start(constitution()))
    one, other = (data.draw(st.sampled_from(histories)).current for _ in range(2))
    assert from_json(entries_json(one)) == one
    assert entries_json(from_json(entries_json(one))) == entries_json(one)
    assert not diff(one, from_json(entries_json(one))).changes
    assert diff(one, other) == diff(from_json(entries_json(one)), from_json(entries_json(other)))
    if replacements(one) != replacements(other):
        assert diff(one, other).changes


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_replay_on_the_same_clustering_repeats_everything_and_elsewhere_never_raises(data):
    history = walk(data, start(constitution()))[-1]
    same = {entry.entry_id: entry.entry_id for entry in constitution().entries}
    here = replay(history.edits, start(constitution()), same, at="2026-01-03")
    assert replacements(here.history.current) == replacements(history.current)
    assert {outcome.status for outcome in here.outcomes} <= {"applied", "adapted"}
    elsewhere = start(constitution([(0, 3, 12), (5, 6, 13), (14, 15)], (1,), iteration=2))
    match = {"1.1": "2.1", "1.2": "2.1", "1.3": "2.2"}
    there = replay(history.edits, elsewhere, match, at="2026-01-03")
    assert len(there.outcomes) == len(here.outcomes)
    assert [o.new_seq for o in there.outcomes if o.new_seq] == [e.seq for e in there.history.edits]


@given(st.lists(st.tuples(st.sampled_from("sdx"), st.integers(0, 400)), max_size=300))
def test_persistent_map_behaves_as_a_dict_and_leaves_its_originals_alone(steps):
    plain, shared = {}, PersistentMap()
    past = []
    for step, number in steps:
        past.append((dict(plain), shared))
        if step == "d" and str(number) in plain:
            del plain[str(number)]
            shared = shared.updated({}, [str(number)])
        else:
            plain[str(number)] = step
            shared = shared.updated({str(number): step})
    for copy, original in [*past, (plain, shared)]:
        assert dict(original) == copy and len(original) == len(copy)
    for copy, original in past[::10]:
        changed = {k for k in {*copy, *plain} if copy.get(k) != plain.get(k)}
        assert original.changed_keys(shared) == changed


@given(st.text("ab .,", max_size=30), st.text("ab .,", max_size=30))
def test_a_word_diff_spells_both_texts(before, after):
    runs = word_diff(before, after)
    assert "".join(run.text for run in runs if run.kind != "added") == before
    assert "".join(run.text for run in runs if run.kind != "removed") == after


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_pruning_principles_and_restoring_them_in_any_order_changes_nothing(data):
    history = start(constitution())
    steps = data.draw(st.lists(st.lists(st.sampled_from(PRINCIPLES), min_size=1, max_size=3, unique=True)))
    for principles in steps:
        try:
            history = edited(history, ("prune", {"principle_ids": principles}))
        except EditRefused:
            continue
    while history.current.pruned:
        gone = st.lists(st.sampled_from(sorted(history.current.pruned)), min_size=1, unique=True)
        history = edited(history, ("restore", {"principle_ids": data.draw(gone)}))
    assert replacements(history.current) == replacements(constitution())
    assert not diff(constitution(), history.current).changes
