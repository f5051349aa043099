"""Every page in every state: no exception, and its own words."""

from __future__ import annotations

import pytest
from conftest import PROJECT

from dashboard.conftest import open_page, words

PAGES = sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_in_every_state(page, any_home):
    app = open_page(page)
    assert not app.exception, app.exception
    assert not app.error, [error.value for error in app.error]
    assert app.title[0].value
    assert words(app)
