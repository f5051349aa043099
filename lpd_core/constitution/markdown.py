"""The constitution as Markdown, for people. What a model wrote is escaped and stays text wherever it is
shown."""

from __future__ import annotations

import re

from lpd_core.constitution.state import Constitution, Entry, tally

_MARKUP = re.compile(r"[\\`*_\[\]<>&|~$#:@{}^=]")
_AT_START = re.compile(r"^([-+]|\d+(?=[.)](?:\s|$)))")
_WWW = re.compile(r"(?i)\b(www)\.")
PRUNED = "## Pruned"
_JOINER = "\N{WORD JOINER}"


def to_markdown(constitution: Constitution, title: str = "Constitution") -> str:
    """A numbered list of the active entries, each with its id, size and note, and a list of the pruned
    ones."""
    counts = tally(constitution)
    active = constitution.active
    pruned = [entry for entry in constitution.entries if entry.status == "pruned"]
    lines = [f"# {escape(title)}", ""]
    lines.append(
        f"{len(active)} entries for {counts.active.principles} principles in {counts.active.trajectories} "
        f"trajectories; pruned: {counts.pruned.principles} in {counts.pruned.trajectories}; "
        f"unclustered: {counts.unclustered.principles} in {counts.unclustered.trajectories}."
    )
    lines += ["", "## Principles", ""]
    for number, entry in enumerate(active, start=1):
        lines += [f"{number}. {escape(entry.text)}", *_details(entry)]
    if pruned:
        lines += ["", PRUNED, ""]
        for entry in pruned:
            lines += [f"- {escape(entry.text)}", *_details(entry)]
    return "\n".join(lines) + "\n"


def _details(entry: Entry) -> list[str]:
    name = "" if entry.label == entry.text else f" · {escape(entry.label)}"
    marks = "".join(f" · {mark}" for mark in ("pinned", "accepted") if getattr(entry, mark))
    source = entry.provenance
    origin = f" · {source.origin}" + (
        f" from {', '.join(map(escape, source.sources))}" if source.sources else ""
    )
    size = f"principles: {len(entry.members)} · trajectories: {entry.trajectories}"
    details = [f"    - {escape(entry.entry_id)}{name} · {size}{origin}{marks}"]
    return details + ([f"    - Note: {escape(entry.note)}"] if entry.note else [])


def escape(text: str) -> str:
    """One line of Markdown that shows a text and is no markup: no link, emphasis, HTML, formula or list."""
    line = " ".join(text.split())
    # Some renderers link bare addresses even where they are escaped; an invisible joiner prevents it.
    line = line.replace("://", f":{_JOINER}//").replace("@", f"{_JOINER}@")
    line = _WWW.sub(rf"\1{_JOINER}.", _MARKUP.sub(r"\\\g<0>", line))
    return _AT_START.sub(lambda found: "\\" + found[0] if found[0] in "+-" else found[0] + "\\", line)


def unescape(line: str) -> str:
    """The text that `escape` made a line of, with single spaces."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", line).replace(_JOINER, "")
