"""Model and user text on the page: always as text, never as HTML, Markdown or plotly's pseudo-HTML."""

from __future__ import annotations

import html
import re

import streamlit as st

from lpd_core.constitution import word_diff

COMPARED_WORDS = 4000
"""Above this many words in either text a word-level difference takes too long to draw."""
_JOINER = "\N{WORD JOINER}"
_WWW = re.compile(r"(?i)\b(www)\.")
STYLE = """<style>
.stMainBlockContainer { padding: 3.2rem 2.6rem 4rem; max-width: 1520px; }
@media (max-width: 960px) { .stMainBlockContainer { padding: 3.2rem 1.2rem 3rem; } }
.lpd-text, .lpd-diff {
  white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; max-height: 24rem; overflow-y: auto;
  padding: .6rem .8rem; border: 1px solid rgba(128,128,128,.28); border-radius: 6px; font-size: .92rem; line-height: 1.5;
}
.lpd-text:focus-visible, .lpd-diff:focus-visible { outline: 2px solid currentColor; }
.lpd-label { font-size: .8rem; opacity: .75; margin-bottom: .2rem; }
.lpd-diff ins { text-decoration: none; background: rgba(47,133,90,.24); border-bottom: 2px solid rgba(47,133,90,.85); }
.lpd-diff del { background: rgba(190,70,70,.16); text-decoration: line-through; text-decoration-color: rgba(190,70,70,.9); }
.lpd-token { border-radius: 3px; padding: 0 1px; }
.lpd-token.on { background: rgba(47,133,90,.26); }
.lpd-figures { display: flex; flex-wrap: wrap; gap: .45rem 1.6rem; }
.lpd-figures div { display: flex; flex-direction: column; min-width: 6rem; }
.lpd-figures span, .lpd-figures i { font-size: .78rem; opacity: .75; font-style: normal; }
.lpd-figures b { font-weight: 600; font-variant-numeric: tabular-nums; }
[data-testid=stLayoutWrapper]:has(> .st-key-constitution-head) {
  position: sticky; top: 0; z-index: 20; padding-top: .5rem; background: light-dark(#fdfcfa, #15181b);
  border-bottom: 1px solid rgba(128,128,128,.28); padding-bottom: .6rem;
}
@media (min-width: 961px) { .st-key-constitution-head .lpd-figures { gap: .3rem .9rem; }
  .st-key-constitution-head .lpd-figures div { min-width: 4.6rem; } }
@media (max-width: 960px) { .st-key-constitution-head .lpd-figures i { display: none; } }
</style>"""


def show_text(text: str | None, label: str = "", height: str = "24rem") -> None:
    """A text in a box of at most `height` that scrolls; an empty one says so."""
    body = _escaped(text) if text else "<i>empty</i>"
    st.html(
        f'{_label(label)}<div class="lpd-text" dir="auto" tabindex="0" style="max-height:{height}">{body}</div>'
    )


def show_diff(before: str, after: str, label: str = "", height: str = "24rem") -> None:
    """`after` word by word against `before`: additions underlined in green, removals struck in red."""
    if max(len(before.split()), len(after.split())) > COMPARED_WORDS:
        show_text(
            after, f"{label} (longer than {COMPARED_WORDS:,} words: shown without the comparison)", height
        )
        return
    body = "".join(_run(words.kind, words.text) for words in word_diff(before, after)) or "<i>empty</i>"
    st.html(
        f'{_label(label)}<div class="lpd-diff" dir="auto" tabindex="0" style="max-height:{height}">{body}</div>'
    )


def show_tokens(tokens: list[str], trained: list[bool], label: str = "", height: str = "24rem") -> None:
    """A training row token by token, those that carry the loss in colour."""
    spans = (
        f'<span class="lpd-token{" on" if on else ""}">{_escaped(token)}</span>'
        for token, on in zip(tokens, trained, strict=True)
    )
    st.html(
        f'{_label(label)}<div class="lpd-text" dir="auto" tabindex="0" style="max-height:{height}">{"".join(spans)}</div>'
    )


def plain(text: object, most: int = 0) -> str:
    """A text for a label that Streamlit reads as Markdown: every sign escaped, on one line, cut after `most`."""
    line = " ".join(_visible(str(text)).split())
    line = clip(line, most) if most else line
    # Streamlit links bare addresses even where they are escaped; an invisible joiner prevents it.
    line = _WWW.sub(rf"\1{_JOINER}.", line.replace("://", f":{_JOINER}//").replace("@", f"{_JOINER}@"))
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$~:&^=])", r"\\\1", line)


def hover(text: object, most: int = 0) -> str:
    """A text for plotly's titles, labels and hover boxes, which read some HTML; cut after `most` signs."""
    line = " ".join(_visible(str(text)).split())
    return html.escape(clip(line, most) if most else line, quote=False)


def cell(text: object, most: int = 300) -> str:
    """A text for a table's cell: on one line, control characters made visible, cut after `most` signs."""
    return clip(" ".join(_visible(str(text)).split()), most)


def clip(text: str, most: int) -> str:
    """At most `most` characters, the end replaced by an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _run(kind: str, text: str) -> str:
    tag = {"added": "ins", "removed": "del"}.get(kind)
    return f"<{tag}>{_escaped(text)}</{tag}>" if tag else _escaped(text)


def _label(label: str) -> str:
    return f'<div class="lpd-label">{_escaped(label)}</div>' if label else ""


def _escaped(text: str) -> str:
    return html.escape(_visible(text))


def _visible(text: str) -> str:
    """Control characters as the signs that picture them; lone surrogates as the replacement character."""
    shown = re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f]", lambda m: chr(0x2421 if m[0] == "\x7f" else 0x2400 + ord(m[0])), text
    )
    return shown.encode("utf-8", "replace").decode("utf-8")
