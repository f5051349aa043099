"""Texts of models and people in labels: nothing that Streamlit's Markdown makes a link, an image or markup of."""

from __future__ import annotations

import re

import pytest

from pages.components.text import hover, plain

BARE = re.compile(r"(https?://|www\\?\.)[-.\w\\]+", re.IGNORECASE)
MAIL = re.compile(r"[-.\w+]+@[-\w]+")
"""What remark-gfm links within a text, escaped or not."""


@pytest.mark.parametrize(
    "text",
    [
        "see https://evil.example/x",
        "HTTP://evil.example",
        "www.evil.example",
        "WWW.evil.example",
        "a@evil.example",
    ],
)
def test_a_bare_address_is_no_link_in_a_label(text):
    shown = plain(text)
    unescaped = re.sub(r"\\(.)", r"\1", shown)
    assert not BARE.search(unescaped) and not MAIL.search(unescaped)
    assert unescaped.replace("\N{WORD JOINER}", "") == text


@pytest.mark.parametrize(
    "text", ["![x](https://e.example/p.png)", "<b>x</b>", "[a](b)", "$x^2$", ":red[x]", "# x"]
)
def test_markup_is_escaped_in_a_label(text):
    shown = plain(text)
    assert not re.search(r"(?<!\\)[\[\]<>$#!(]", shown)


def test_a_title_of_a_chart_holds_no_tag():
    assert hover('<a href="https://e.example">ok</a>') == '&lt;a href="https://e.example"&gt;ok&lt;/a&gt;'


def test_a_candidate_that_was_not_the_best_is_not_said_to_have_been_beaten_by_its_equal():
    from lpd_core.config import EStepConfig
    from pages.components.reasons import reason

    equal = {"status": "not_best", "gain": 0.35}
    said = reason(equal, 0.5, EStepConfig())
    assert "another candidate scores higher, or as high and came first" in said
    assert "2 others score higher, or as high" in reason(equal, 0.5, EStepConfig(keep=2))
