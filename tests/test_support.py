"""What stands behind an entry is counted from its members' trajectories."""

from __future__ import annotations

import pytest
from constitutions import constitution, edited

from lpd_core.support import Support, SupportBook


def test_support_counts_principles_trajectories_prompts_and_gains():
    book = SupportBook(["p0", "p0", "p1", "p9"], ["x", "y", "x", "z"], [0.1, 0.3, 0.2, 0.5])
    here = constitution()
    assert book.of(here.by_id["1.1"]) == Support(3, 3, 2, pytest.approx(0.2))
    assert book.gains(here.by_id["1.4"]) == [0.5]
    assert book.of(here.by_id["1.2"]) == Support(2, 0, 0, None)


def test_support_follows_the_members_of_an_edited_entry():
    book = SupportBook(["p0", "p3"], ["x", "y"], [0.1, 0.3])
    here = constitution()
    assert book.of(here.by_id["1.1"]).trajectories == 1
    moved = edited(here, ("move", {"principle_ids": ["p3"], "to": "1.1"})).current
    assert book.of(moved.by_id["1.1"]) == Support(4, 2, 2, pytest.approx(0.2))


def test_without_trajectories_nothing_stands_behind_an_entry():
    assert SupportBook([], [], []).of(constitution().by_id["1.1"]) == Support(3, 0, 0, None)
