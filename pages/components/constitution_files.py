"""In and out: download the constitution, bring principles of your own, repeat the edits of another iteration."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path, PurePath

import pandas as pd
import streamlit as st

from lpd_core import curation, gate
from lpd_core.constitution import Imported, entries_json, read_principles, to_markdown, to_yaml
from lpd_core.errors import DataError, LpdError
from lpd_core.store import constitutions
from pages.components import reads, session
from pages.components.constitution_effect import show_impact
from pages.components.reviews import Desk, tell
from pages.components.text import clip, plain

LISTED = 200
UPLOAD_MIB = 1
"""Read within the server, so no more than takes a moment."""


def show_files(found: Desk, editing: bool) -> None:
    """Export, import and replay."""
    _show_export(found)
    if editing:
        _show_import(found)
        _show_replay(found)


def _show_export(found: Desk) -> None:
    review = found.review
    here = review.history.current
    title = f"Constitution of {review.run_id}, iteration {review.iteration}"
    name = f"constitution-{review.run_id}-{review.iteration}"
    st.markdown("**Export the constitution as it is now**")
    makers = {
        "md": ("Markdown, for people", lambda: to_markdown(here, title), "text/markdown"),
        "yaml": ("YAML", lambda: to_yaml(here), "application/yaml"),
        "json": ("JSON", lambda: _as_json(here), "application/json"),
    }
    with st.container(horizontal=True):
        for ending, (label, make, mime) in makers.items():
            st.download_button(
                label,
                data=make,
                file_name=f"{name}.{ending}",
                mime=mime,
                key=f"constitution.export.{ending}",
                on_click="ignore",
            )
    st.caption("YAML and JSON follow the schema lpd-constitution/1 and can be imported again.")


def _as_json(here) -> str:
    return json.dumps(json.loads(entries_json(here)), indent=1, ensure_ascii=False) + "\n"


def _show_import(found: Desk) -> None:
    st.markdown("**Import principles**")
    upload = st.file_uploader(
        "Lines of text, Markdown, a JSON list, JSONL with `principle`, YAML, or an exported constitution; at most "
        f"{UPLOAD_MIB} MiB here, more with `python -m lpd_core constitution import`",
        type=["txt", "md", "json", "jsonl", "yaml", "yml"],
        key="constitution.upload",
        max_upload_size=UPLOAD_MIB,
    )
    if upload is None:
        return
    try:
        imported = _read(upload.name, upload.getvalue())
    except DataError as problem:
        st.error(plain(str(problem)))
        return
    for notice in imported.notices:
        st.caption(plain(notice))
    there = {entry.text for entry in found.review.history.current.active}
    new = {each.text for each in imported.principles} - there
    st.dataframe(
        pd.DataFrame(
            {
                "Principle": [clip(each.text, 300) for each in imported.principles[:LISTED]],
                "Label": [each.label for each in imported.principles[:LISTED]],
                "New here": [each.text not in there for each in imported.principles[:LISTED]],
            }
        ),
        hide_index=True,
        height=220,
    )
    passed = len(imported.principles) - len(new)
    st.caption(
        f"{len(new):,} new entries; {passed:,} are here already or stand twice. They have no trajectories yet, so the "
        "training set stays as it is until you move members into them."
    )
    pin = st.toggle("Pin them, so that they survive the next clustering", key="constitution.import.pin")
    if st.button(f"Import {len(new):,}", type="primary", key="constitution.import", disabled=not new):
        _import(found, imported, pin)


def _read(name: str, content: bytes) -> Imported:
    """The principles of an uploaded file, read under its own ending."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{PurePath(name).suffix.lower()}"
        path.write_bytes(content)
        try:
            return read_principles(path)
        except DataError as problem:
            raise DataError(
                str(problem).replace(str(path), PurePath(name).name), problem.problems
            ) from problem


def _import(found: Desk, imported: Imported, pin: bool) -> None:
    review = found.review
    try:
        session.require_edit()
        added = curation.add_principles(
            reads.store(), review.run_id, review.iteration, imported, pin, session.author()
        )
        tell("done", f"{len(added):,} principles imported")
    except LpdError as refusal:
        tell("refused", str(refusal))
    st.rerun()


def _show_replay(found: Desk) -> None:
    st.markdown("**Replay the edits of another iteration**")
    review = found.review
    sources = [
        each for each in reads.fetch(constitutions.clustered, review.run_id) if each != review.iteration
    ]
    if not sources:
        st.caption("There is no other iteration of this run with a clustering yet.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = st.selectbox(
            "Whose edits",
            sources[::-1],
            format_func=lambda each: f"iteration {each}",
            key="constitution.replay.source",
            width=200,
        )
        tried = st.button("Try it", key="constitution.replay.try")
    if tried:
        st.session_state["constitution.replay"] = (review.run_id, review.iteration, source)
    if st.session_state.get("constitution.replay") == (review.run_id, review.iteration, source):
        _show_report(found, source)


def _show_report(found: Desk, source: int) -> None:
    """What each edit would come to here, the effect of all, and the button that makes them."""
    review, folder = found.review, reads.folder(found.review.run_id)
    with st.spinner("Trying the edits"):
        done = curation.try_replay(reads.store(), folder, (review.run_id, source), review.history)
    if not done.outcomes:
        st.caption(f"Iteration {source} has no edits to repeat.")
        return
    rows = [asdict(outcome) for outcome in done.outcomes]
    frame = pd.DataFrame(
        {
            "Edit there": [row["seq"] for row in rows],
            "What": [row["op"].replace("_", " ") for row in rows],
            "Here": [row["status"].replace("_", " ") for row in rows],
            "Because": [row["reason"] for row in rows],
        }
    )
    st.dataframe(frame, hide_index=True, height=min(280, 38 + 35 * len(rows)))
    fitting = sum(row["new_seq"] is not None for row in rows)
    show_impact(
        gate.effect_of(review, review.history.current, done.history.current),
        review.replaces,
        "constitution.replay",
    )
    if st.button(
        f"Make the {fitting} that fit", type="primary", key="constitution.replay.apply", disabled=not fitting
    ):
        try:
            session.require_edit()
            curation.replay_edits(
                reads.store(), folder, (review.run_id, source), review.iteration, session.author()
            )
            tell("done", f"{fitting} edits of iteration {source} repeated here")
        except LpdError as refusal:
            tell("refused", str(refusal))
        st.session_state.pop("constitution.replay", None)
        st.rerun()
