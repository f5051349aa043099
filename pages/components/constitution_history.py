"""The history: who did what, when and why; back to any point of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from lpd_core import gate
from lpd_core.constitution import Edit
from lpd_core.errors import EditRefused
from pages.components.constitution_effect import show_staged
from pages.components.reviews import Desk, commit, told
from pages.components.text import clip, plain

ROWS = 50


def show_undo(found: Desk) -> None:
    """Undo and redo, each with what it would do."""
    log = found.review.history
    for op, able, key in (("undo", log.can_undo, "U"), ("redo", log.can_redo, "Y")):
        told_before = _would(found, op) if able else f"Nothing to {op}."
        if st.button(
            op.capitalize(), key=f"constitution.{op}", disabled=not able, help=told_before, shortcut=key
        ):
            commit(found, op, {})


def _would(found: Desk, op: str) -> str:
    try:
        effect = gate.preview(found.review, op, {})[1]
    except EditRefused as refusal:
        return plain(refusal)
    rows = f"training rows {effect.rows_before:,} to {effect.rows_after:,}"
    return plain(f"{told(len(found.review.history.edits) + 1, op, effect)}; {rows}")


def show_history(found: Desk, editing: bool) -> None:
    """The log, newest first; a line selected can be gone back to."""
    edits = found.review.history.edits
    if not edits:
        st.info("No edit yet. What you do under Entries is listed here with who, when and why.")
        return
    pages = -(-(len(edits) + 1) // ROWS)
    page = st.pagination(pages, key="constitution.history.page") if pages > 1 else 1
    lines = [*reversed(edits), None][(page - 1) * ROWS : page * ROWS]
    chosen = st.dataframe(
        _frame(lines),
        hide_index=True,
        height=min(420, 38 + 35 * len(lines)),
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        key=f"constitution.history.{page}.{len(edits)}",
        column_config={
            "Edit": st.column_config.NumberColumn(width=56),
            "When": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150),
            "What": st.column_config.TextColumn(width=420),
        },
    )
    rows = chosen["selection"]["rows"]
    if not rows:
        st.caption(
            "Select a line to go back to the state after it. Nothing is taken out of the history by that."
        )
        return
    edit = lines[rows[0]]
    if edit is not None:
        st.markdown(f"Edit {edit.seq} by {plain(edit.author)}: {plain(describe(edit.op, edit.args), 1500)}")
    if editing:
        seq = edit.seq if edit else 0
        label = f"Go back to the state after edit {seq}" if seq else "Go back to the constitution as found"
        show_staged(found, "reset", {"seq": seq}, "constitution.reset", label)


def _frame(lines: list[Edit | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Edit": [edit.seq if edit else 0 for edit in lines],
            "When": [datetime.fromisoformat(edit.at) if edit else None for edit in lines],
            "Who": [edit.author if edit else "the clustering" for edit in lines],
            "What": [clip(describe(edit.op, edit.args), 200) if edit else "as found" for edit in lines],
            "Why": [edit.reason if edit else "" for edit in lines],
        }
    )


def describe(op: str, args: Mapping[str, Any]) -> str:
    """An edit in a sentence."""
    principles = f"{len(args.get('principle_ids', ()))} principles"
    entry = args.get("id", "")
    words = {
        "rename": f"rename {entry} to “{args.get('label', '')}”",
        "reword": f"reword {entry}: “{args.get('text', '')}”",
        "medoid": f"let {args.get('principle_id', '')} speak for {entry}",
        "merge": f"merge {', '.join(args.get('ids', ()))}",
        "split": f"split {entry} into {len(args.get('groups', ()))}",
        "move": f"move {principles} into {args.get('to', '')}",
        "prune": f"prune {entry or principles}",
        "restore": f"restore {entry or principles}",
        "pin": f"pin {entry}",
        "unpin": f"unpin {entry}",
        "add": f"add “{args.get('text', '')}”" + (", pinned" if args.get("pinned") else ""),
        "note": f"note on {entry}: “{args.get('note', '')}”",
        "accept_all": "accept every active entry as it is",
        "reset": f"back to the state after edit {args.get('seq', 0)}",
    }
    return " ".join(words.get(op, op).split())
