"""Every page in every state: no exception, and the words that belong there."""

from __future__ import annotations

import pytest
from conftest import PROJECT

from dashboard.conftest import open_page, words

PAGES = sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))
STATES = ("empty", "finished", "waiting", "failed")
SAID = {
    "home": ("Start the demo run", "n = 24 test prompts", "Waits for your review", "Picked: **demo-1**"),
    "launch": ("Prompts per iteration",) * 4,
    "runs": ("No runs yet", "finished", "awaiting review", "Why it ended"),
    "data": ("Nothing is imported yet", "Look into", "Look into", "Look into"),
    "trajectories": ("nothing to look at yet", "96 candidates", "160 candidates", "160 candidates"),
    "principles": ("no runs yet", "principles", "principles", "no candidate gained over its draft"),
    "constitution": ("No run yet", "Approved, read-only", "Waits for your review", "Approved, read-only"),
    "compare": ("nothing to compare yet", "Held-out set", "Held-out set", "Held-out set"),
    "playground": ("no run yet", "Iteration 2", "no trained model yet", "no trained model yet"),
    "evaluate": ("nothing to evaluate yet", "bootstrap", "Only the base model", "Only the base model"),
}
"""What each page says in each of the states, in their order."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_in_every_state_and_says_what_it_should(page, any_home):
    app = open_page(page)
    assert not app.exception, app.exception
    assert not app.error, [error.value for error in app.error]
    assert app.title[0].value
    assert SAID[page][STATES.index(any_home)] in words(app)
