"""The report: one file that loads nothing, with everything in it, and no text of a model as markup."""

import re
from html.parser import HTMLParser

import pytest
from conftest import run_inline

from lpd_core import svg
from lpd_core.report_document import Section, run_document, to_html, to_markdown
from lpd_core.types import Interval

HOSTILE = '<script>alert(1)</script><img src="https://x.example/p.png" onerror=alert(1)>'


class Tags(HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture
def document(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    store.database.execute("update evaluations set response = ? where iteration = 1", [HOSTILE])
    return run_document(store, folder.run_id)


def test_the_report_holds_every_part_and_loads_nothing(document):
    page = to_html(document)
    titles = [section.title for section in document]
    for part in (
        "Mined prompts",
        "Constitution of iteration 1",
        "Edits in iteration 1",
        "Setting",
        "Manifest",
    ):
        assert part in titles
    assert any(title.startswith("Examples") for title in titles)
    assert page.count("<svg") >= 3
    found = Tags(page)
    assert not found.tags & {"script", "img", "iframe", "link", "object", "a"}
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "href")}
    assert "default-src 'none'" in page


def test_a_models_text_is_shown_and_is_no_markup(document):
    assert "&lt;script&gt;alert(1)" in to_html(document)
    told = to_markdown(document)
    assert "alert(1)" in told.replace("\\", "")
    assert not re.search(r"(?<!\\)<(script|img)", told)


def test_the_markdown_twin_has_the_same_sections_and_whole_tables(document):
    lines = to_markdown(document).splitlines()
    assert sum(line.startswith(("# ", "## ")) for line in lines) == len(document)
    tables = [line for line in lines if line.startswith("| ")]
    assert len(tables) >= sum(len(section.rows) for section in document)


def test_a_pipe_in_a_cell_does_not_break_the_table():
    told = to_markdown([Section("t", rows=[{"a": "x | y", "b": "z"}])]).splitlines()
    row = told[-2] if told[-1] == "" else told[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_charts_show_each_value_and_nothing_where_there_is_none():
    drawn = svg.line_chart(
        [("f", [("M_0", Interval(0.2, 0.1, 0.3, 5)), ("M_1", Interval(0.4, 0.3, 0.5, 5))])], "f"
    )
    assert drawn.count("<circle") == 2
    assert svg.line_chart([("f", [("M_0", Interval(0, 0, 0, 0))])], "f") == ""
    bars = svg.bar_chart(
        [("<b>", Interval(-0.1, -0.2, 0.0, 4)), ("x", Interval(0.1, 0.0, 0.2, 4))], "effects"
    )
    assert bars.count("<rect") == 2
    assert "&lt;b&gt;" in bars and "<b>" not in bars
