"""The report: one file that loads nothing, with everything in it, and no text of a model as markup."""

import re
from html.parser import HTMLParser

import pytest
from conftest import run_inline

from lpd_core import svg
from lpd_core.config import Sampling
from lpd_core.document import Link, Section, to_html, to_markdown
from lpd_core.judge import Judge
from lpd_core.measuring import Request, judge_run
from lpd_core.parts import ScriptedSampler
from lpd_core.report_document import run_document
from lpd_core.types import Interval

HOSTILE = '<script>alert(1)</script><img src="https://x.example/p.png" onerror=alert(1)>'


class Tags(HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.links = set(), set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value for name, value in attrs if name == "href"}


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
    assert not found.tags & {"script", "img", "iframe", "link", "object"}
    assert not {name for name in found.attributes if name.startswith("on") or name == "src"}
    assert all(target.startswith("#") for target in found.links)
    assert "default-src 'none'" in page


def test_a_models_text_is_shown_and_is_no_markup(document):
    assert "&lt;script&gt;alert(1)" in to_html(document)
    told = to_markdown(document)
    assert "alert(1)" in told.replace("\\", "")
    assert not re.search(r"(?<!\\)<(script|img)", told)


def test_judged_rows_show_interval_bias_failures_and_lead_to_their_pairs(store, scripted_settings):
    folder = run_inline(store, {**scripted_settings, "iterations": 1})
    judge = Judge("first", lambda: ScriptedSampler(lambda messages, seed: "[[A]]"), Sampling(), retries=0)
    judge_run(store, folder, folder.config(), judge, 1, Request(prompts=8, entries=1), lambda line: None)
    sections = run_document(store, folder.run_id)
    rows = {row["comparison"]: row for each in sections if each.title == "Judged" for row in each.rows}
    row = rows["M_1 over the base model's y1"]
    assert (row["win rate"], row["ties"], row["judge"]) == ("0.500 [0.500, 0.500]", 8, "first")
    assert (row["favours the first by"], row["both orders agree"], row["failed verdicts"]) == (
        "50%",
        "0%",
        "0 of 16",
    )
    pairs = next(each for each in sections if each.anchor == row["samples"].anchor)
    assert len(pairs.rows) == 8 and (pairs.rows[0]["a shown first"], pairs.rows[0]["b shown first"]) == (
        "a",
        "b",
    )
    page = to_html(sections)
    assert f"href='#{pairs.anchor}'" in page and f"id='{pairs.anchor}'" in page
    assert {target[1:] for target in Tags(page).links} <= {each.anchor for each in sections}


def test_a_link_is_a_link_in_html_and_words_in_markdown():
    sections = [Section("t", rows=[{"a": Link("<b>", "x'y")}])]
    assert "<a href='#x&#x27;y'>&lt;b&gt;</a>" in to_html(sections)
    assert "x'y" not in to_markdown(sections)


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
