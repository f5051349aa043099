"""Which prompts and golds are there, and may a new file come in?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from lpd_core import housekeeping
from lpd_core.config import PROJECT
from lpd_core.corpus import EVALUATION_FORMATS, SPLITS
from lpd_core.errors import LpdError
from lpd_core.store import corpora
from pages.components import data_import, inquiries, reads, session
from pages.components.cards import show_empty, show_heading
from pages.components.text import clip, plain, show_text

PAGE = 25
ALL = "all"


def show_sets(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The imported data sets; the one that is picked."""
    ids = [row["dataset_id"] for row in rows]
    asked = session.param("dataset")
    table = pd.DataFrame(
        {
            "Name": [row["name"] for row in rows],
            "Rows": [row["n_rows"] for row in rows],
            **{split.capitalize(): [row[split] for row in rows] for split in SPLITS},
            "Format": [row["format"] for row in rows],
            "Licence": [row["license"] or "not told" for row in rows],
            "Imported": [row["created_at"] for row in rows],
            "Id": ids,
            "SHA-256": [row["sha256"][:16] for row in rows],
            "Source": [row["source"].removeprefix(f"{PROJECT}/") for row in rows],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height=data_import.table_height(table),
        column_config={"Imported": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
        alt="The imported data sets",
    )
    names = {row["dataset_id"]: f"{row['name']} ({row['dataset_id']})" for row in rows}
    if asked and asked not in ids:
        st.warning(f"There is no data set {plain(asked, 40)} here.")
    st.session_state["data.picked"] = asked if asked in ids else None
    picked = st.selectbox(
        "Look into",
        ids,
        format_func=lambda each: names[each],
        placeholder="Choose a data set",
        key="data.picked",
        index=None,
        on_change=pick,
    )
    return next((row for row in rows if row["dataset_id"] == picked), None)


def pick() -> None:
    """The picked data set goes into the address."""
    session.set_param("dataset", st.session_state["data.picked"])
    session.set_param("prompt", None)


def show_rows(dataset: dict[str, Any]) -> None:
    """The rows of a data set, a page at a time, and one of them as a chat."""
    name = dataset["dataset_id"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control(
            "Split", [ALL, *SPLITS], default=ALL, required=True, key=f"data.split.{name}"
        )
        words = st.text_input("Holding the words", key=f"data.words.{name}", type="search", max_chars=200)
    where = (name, "" if split == ALL else split, words.strip().replace("\0", ""))
    count = reads.fetch(corpora.count_prompts, *where)
    if not count:
        st.caption("No row of this data set fits.")
        return
    pages = -(-count // PAGE)
    number = st.pagination(pages, key=f"data.page.{name}.{split}.{words}") if pages > 1 else 1
    rows = reads.fetch(corpora.page_of_prompts, *where, PAGE, PAGE * (number - 1))
    table = pd.DataFrame(
        {
            "Id": [row["prompt_id"].partition(":")[2] for row in rows],
            "Split": [row["split"] for row in rows],
            "Turns": [row["turns"] for row in rows],
            "Last turn of the prompt": [row["prompt"] for row in rows],
            "Gold": [row["gold"] for row in rows],
        }
    )
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"data.rows.{name}.{split}.{words}.{number}",
        height=data_import.table_height(table),
    )
    first = PAGE * (number - 1) + 1
    st.caption(f"Rows {first:,} to {first + len(rows) - 1:,} of {count:,}. Choose one to read it whole.")
    picked = chosen["selection"]["rows"]
    if picked:
        session.set_param("prompt", rows[picked[0]]["prompt_id"])
    prompt = session.param("prompt")
    if prompt:
        show_row(name, prompt)


def show_row(dataset_id: str, prompt_id: str) -> None:
    """One prompt as a chat with its gold, as plain text."""
    example = reads.fetch(corpora.prompt, dataset_id, prompt_id)
    if example is None:
        st.caption(f"There is no row {plain(prompt_id, 80)} in this data set.")
        return
    with st.container(border=True):
        st.markdown(f"**{plain(prompt_id, 120)}** ({plain(example.split)})")
        for message in example.messages:
            show_text(message["content"], message["role"], height="18rem")
        show_text(example.gold, "gold", height="18rem")
        if example.meta:
            show_text(
                "\n".join(f"{name}: {value}" for name, value in example.meta.items()),
                "further fields",
                height="10rem",
            )


def show_contamination(dataset: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Which rows repeat a benchmark's prompts."""
    st.markdown("**Contamination against benchmarks**")
    st.caption(
        "IFEval, MT-Bench, AlpacaEval or any prompts that you measure with, compared word for word and by thirteen "
        "words in a row. None is shipped: upload its file or import it as a data set."
    )
    others = [row for row in rows if row["dataset_id"] != dataset["dataset_id"]]
    others.sort(key=lambda row: row["format"] not in EVALUATION_FORMATS)
    names = {row["dataset_id"]: f"{row['name']} ({row['format']})" for row in others}
    left, right = st.columns(2)
    sets = left.multiselect(
        "Data sets",
        list(names),
        format_func=lambda each: names[each],
        key="data.against.sets",
        placeholder="Choose",
    )
    files = right.file_uploader(
        "Files", type=data_import.ENDINGS, accept_multiple_files=True, key="data.against.files"
    )
    against = [*sets, *(str(data_import.stored(file)) for file in files)]
    key = "data.against.asked"
    if st.button("Compare", disabled=not against, key="data.compare"):
        st.session_state[key] = (dataset["dataset_id"], against)
    if st.session_state.get(key) != (dataset["dataset_id"], against) or not against:
        return
    words = [word for source in against for word in ("--against", source)]
    asked = inquiries.ask(
        "data.against", ["data", "check", dataset["dataset_id"], "--exit-zero", *words], **data_import.LIMITS
    )
    answer = asked.poll()
    if answer is None:
        inquiries.show_waiting(asked, "Comparing with the benchmarks")
    elif answer.error:
        st.error(plain(clip(answer.error.replace(f"{Path(against[-1]).parent}/", ""), 600)))
    else:
        show_overlaps(answer.value)


def show_overlaps(found: dict[str, Any]) -> None:
    """The rows that repeat a benchmark's prompt."""
    told = f"{found['rows']:,} rows against {found['prompts']:,} benchmark prompts"
    if not found["overlaps"]:
        st.success(f"No overlap: {told}.")
        return
    st.warning(f"{found['contaminated']:,} rows repeat a benchmark's prompt ({told}).")
    table = pd.DataFrame(
        {
            "Row": [each["prompt_id"].partition(":")[2] for each in found["found"]],
            "Benchmark": [each["benchmark"] for each in found["found"]],
            "Its prompt": [each["key"] for each in found["found"]],
            "How": [each["kind"] for each in found["found"]],
            "Words": [clip(each["text"], 400) for each in found["found"]],
        }
    )
    st.dataframe(table, hide_index=True, height=data_import.table_height(table), lazy=True)


def show_delete(dataset: dict[str, Any]) -> None:
    """Delete a data set that no run uses, after asking."""
    users = reads.fetch(corpora.runs_using, dataset["dataset_id"])
    if users:
        more = f" and {len(users) - 3} more" if len(users) > 3 else ""
        st.caption(f"Used by {plain(', '.join(users[:3]))}{more}, so it cannot be deleted.")
        return
    with st.popover("Delete", key="data.delete"):
        st.markdown(
            f"{dataset['n_rows']:,} rows of **{plain(dataset['name'], 80)}** go for good; no run uses them."
        )
        if st.button("Delete it", type="primary", key="data.delete.sure"):
            session.require_edit()
            try:
                count = housekeeping.delete_dataset(reads.store(), dataset["dataset_id"])
            except LpdError as problem:
                st.error(plain(problem))
                return
            st.session_state["data.done"] = f"Deleted {dataset['name']} with its {count:,} rows."
            session.set_param("dataset", None)
            session.set_param("prompt", None)
            st.rerun()


show_heading("Data", "Which prompts and golds are there, and may a new file come in?")
done = st.session_state.pop("data.done", "")
if done:
    st.success(plain(done))
sets = reads.fetch(corpora.list_datasets) if reads.has_store() else []
if sets:
    dataset = show_sets(sets)
    if dataset is not None:
        show_rows(dataset)
        show_contamination(dataset, sets)
        show_delete(dataset)
else:
    show_empty(
        "Nothing is imported yet.",
        "Bring in your prompts with gold responses below; the demo run imports its own.",
        "pages/home.py",
        "To the demo run",
    )
data_import.show_import()
