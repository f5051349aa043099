"""How the command line speaks: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

PROBLEMS_SHOWN = 20


def wants_json() -> bool:
    """Whether the command line asks for JSON."""
    return "--json" in sys.argv


_shown = False


def show(value: Any, as_json: bool, text: str = "") -> None:
    """Print `value` as JSON, or `text` for people."""
    global _shown
    _shown = True
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str) if as_json else text)


def table(rows: Sequence[Mapping[str, Any]], title: str = "") -> str:
    """Rows as an aligned text table, at least 80 and at most 240 columns wide."""
    import io
    import shutil

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return f"{title}: none" if title else "none"
    names = list(dict.fromkeys(name for row in rows for name in row))
    drawn = Table(
        title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in names:
        drawn.add_column(Text(name), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if row.get(name) is None else str(row.get(name))) for name in names))
    wide = shutil.get_terminal_size((200, 24)).columns if sys.stdout.isatty() else 240
    out = io.StringIO()
    Console(file=out, width=max(80, min(240, wide))).print(drawn)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def fail(message: str, code: int, problems: Sequence[str] = ()) -> NoReturn:
    """Say what is wrong on stderr (and as JSON on stdout where asked for) and exit."""
    line = " ".join(message.split("\n"))
    print(f"error: {line}", file=sys.stderr)
    for problem in problems[:PROBLEMS_SHOWN]:
        print(f"  {problem}", file=sys.stderr)
    if len(problems) > PROBLEMS_SHOWN:
        print(f"  ... and {len(problems) - PROBLEMS_SHOWN} more", file=sys.stderr)
    if wants_json() and not _shown:  # one document only
        print(json.dumps({"error": line, "problems": list(problems)}, ensure_ascii=False))
    sys.exit(code)
