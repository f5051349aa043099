"""A review of what one edit touches tells and writes the same as a review of the whole."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_constitution_properties import edit_arguments
from test_gate import make_run

from lpd_core import focus, gate
from lpd_core.errors import EditRefused, UserError
from lpd_core.store import Store, constitutions

RUNS = count(1)
CLUSTERING = """
insert into candidates (run_id, iteration, prompt_id, sample, principle, principle_id, response, score, gain,
    status, selected, tokens)
    select '{run}', 1, 'x' || n // 2, n % 2, repeat('Own text ', n + 1) || case n % 3 when 0 then '.' else '' end,
           'p' || n % 11, 'y2', 0.5, 0.1, 'accepted', true, 100 + n from range(24) r(n);
insert into clusters (run_id, iteration, cluster_id, size, medoid_principle_id, label, params)
    select '{run}', 1, '1.' || n + 1, 3, 'p' || 3 * n, repeat('Own text ', 3 * n + 1) || '.', '{{}}' from range(3) r(n);
insert into cluster_members
    select '{run}', 1, case when n < 9 then '1.' || (n // 3 + 1) else '' end, 'p' || n, 2, 0.1 from range(10) r(n);
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("home"))


def clustered_run(store: Store, label: str) -> str:
    run = f"r{next(RUNS)}"
    make_run(store, run, label)
    with store.database.write() as connection:
        connection.execute(CLUSTERING.format(run=run))
    return run


def told(act) -> tuple:
    """What an edit tells: its refusal, or its effect."""
    try:
        return "done", act()[1]
    except EditRefused as refusal:
        return "refused", str(refusal)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), label=st.sampled_from(["medoid", "none"]))
def test_edits_by_what_they_touch_equal_edits_of_the_whole(shared, data, label):
    run = clustered_run(shared, label)
    for _ in range(data.draw(st.integers(1, 6))):
        whole = gate.open_review(shared, run, 1)
        op, args = data.draw(edit_arguments(whole.history))
        expected = told(lambda review=whole, op=op, args=args: gate.preview(review, op, args, "ann"))
        found = told(lambda op=op, args=args: focus.edit_with_impact(shared, run, 1, op, args, "ann"))
        assert found == expected
    assert all(edit.seq == n for n, edit in enumerate(constitutions.edits(shared, run, 1), start=1))


def test_only_what_an_edit_touches_is_read_and_the_sums_are_of_all(shared):
    run = clustered_run(shared, "medoid")
    review = focus.review_for(shared, run, 1, "prune", {"id": "1.2"})
    assert [entry.entry_id for entry in review.history.base.entries] == ["1.2"]
    effect = gate.preview(review, "prune", {"id": "1.2"})[1]
    assert (effect.rows_before, effect.rows_after) == (24, 24 - effect.lost)
    assert effect.tokens_before > effect.tokens_after > 0


def test_a_cold_edit_is_refused_after_somebody_elses_and_before_the_clustering(shared):
    run = clustered_run(shared, "medoid")
    review = focus.review_for(shared, run, 1, "pin", {"id": "1.1"})
    focus.edit_with_impact(shared, run, 1, "prune", {"id": "1.2"}, "bob")
    with pytest.raises(EditRefused, match="bob wrote edit 1"):
        gate.edit_with_impact(shared, review, "pin", {"id": "1.1"}, "ann")
    with pytest.raises(UserError, match="has not been clustered"):
        focus.edit_with_impact(shared, run, 2, "add", {"text": "New."}, "ann")
