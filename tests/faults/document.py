"""The parts of a document that commands write: each between `<!-- NAME -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
RELIABILITY = PROJECT / "docs" / "reliability.md"


def section(name: str, document: Path = RELIABILITY) -> str:
    """What stands there now."""
    return _cut(name, document)[1]


def rewrite(name: str, text: str, document: Path = RELIABILITY) -> None:
    """Put another text there."""
    before, _, after = _cut(name, document)
    document.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


def _cut(name: str, document: Path) -> tuple[str, str, str]:
    whole = document.read_text(encoding="utf-8")
    head, begin, rest = whole.partition(f"<!-- {name} -->\n")
    inside, end, tail = rest.partition(f"<!-- end of {name} -->")
    if not begin or not end:
        raise ValueError(f"{document} has no place for {name!r}")
    return head + begin, inside.strip("\n"), end + tail
