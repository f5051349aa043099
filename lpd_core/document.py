"""A document of titled sections, drawn as one HTML file or as Markdown.

The HTML has no script and loads nothing; its only links lead to other places of the same file. Every text of a model or
a person is escaped, never markup.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lpd_core.constitution.markdown import escape
from lpd_core.types import Interval


class Link(NamedTuple):
    """A cell that leads to the section with an anchor; in Markdown its text alone."""

    text: str
    anchor: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what it says, a chart as SVG ("" for none) and a table's rows. `source` is shown as it is written; `anchor`
    is where links lead."""

    title: str
    text: str = ""
    chart: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    source: str = ""
    anchor: str = ""


def figure(value: Interval) -> str:
    """A mean with its interval, or a dash where n is 0."""
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]" if value.n else "-"


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1d2129;
  background: #fff }
h1, h2 { font-weight: 600 } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #dfe3e8 }
th { background: #f4f6f8 } td { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 3rem }
.wide { overflow-x: auto } pre { background: #f4f6f8; padding: .8rem; overflow-x: auto; font-size: 12px }
"""


def to_html(sections: Sequence[Section]) -> str:
    """The document as one HTML file."""
    parts = [_section_html(section, "h2" if n else "h1") for n, section in enumerate(sections)]
    title = _e(sections[0].title) if sections else "Report"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<meta name='viewport' content='width=device-width'><title>{title}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _section_html(section: Section, level: str) -> str:
    parts = [
        f"<{level} id='{_e(section.anchor)}'>{_e(section.title)}</{level}>"
        if section.anchor
        else f"<{level}>{_e(section.title)}</{level}>"
    ]
    parts += [f"<p>{_e(section.text)}</p>"] if section.text else []
    parts += [section.chart] if section.chart else []
    parts += [_table_html(section.rows)] if section.rows else []
    parts += [f"<pre>{_e(section.source)}</pre>"] if section.source else []
    return "".join(parts)


def _table_html(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{_e(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td dir='auto'>{_cell_html(row.get(name))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _cell_html(value: Any) -> str:
    if isinstance(value, Link):
        return f"<a href='#{_e(value.anchor)}'>{_e(value.text)}</a>"
    return _e(value)


def _e(value: Any) -> str:
    return html.escape("" if value is None else str(value))


def to_markdown(sections: Sequence[Section]) -> str:
    """The document as Markdown, without its charts, whose numbers stand in the tables."""
    parts = []
    for n, section in enumerate(sections):
        parts += [f"{'##' if n else '#'} {escape(section.title)}", ""]
        parts += [escape(section.text), ""] if section.text else []
        parts += [*_table_markdown(section.rows), ""] if section.rows else []
        parts += [*(f"    {line}" for line in section.source.splitlines()), ""] if section.source else []
    return "\n".join(parts)


def _table_markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(names), "|" + " --- |" * len(names)]
    return [*lines, *(_line([row.get(name) for name in names]) for row in rows)]


def _line(cells: Sequence[Any]) -> str:
    texts = [
        "" if cell is None else escape(str(cell)).replace("\\|", "|").replace("|", "\\|") for cell in cells
    ]
    return "| " + " | ".join(texts) + " |"
