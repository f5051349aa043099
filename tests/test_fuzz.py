"""Every parser under a little generated input; the long form is `python -m tests.fuzz`."""

import pytest

from tests.fuzz import TARGETS, fuzz


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_taken_or_refused_in_a_line(name):
    assert fuzz(name, 60) > 0
