"""Bringing a file in: uploaded or on the server, looked at by a process with limits, mapped, and imported."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from lpd_core.config import resolve_path
from lpd_core.corpus import FIELDS, FORMATS, SHARES, SPLITS
from pages.components import colours, inquiries, session
from pages.components.cards import size
from pages.components.charts import show_chart, styled
from pages.components.text import clip, plain

MEMORY = 4 * 2**30
"""Address space that the process which reads a file may take."""
SECONDS = 180.0
LIMITS = {"seconds": SECONDS, "memory": MEMORY}
ENDINGS = ["jsonl", "json", "ndjson", "csv", "parquet"]
UPLOADS = "lpd-upload-"
UPLOAD_SECONDS = 24 * 3600.0
AS_NAMED = "as named"
REASONS_SHOWN = 400


def show_import() -> None:
    """The whole way of a file into the store."""
    st.subheader("Import a file", anchor=False)
    if not session.may_edit():
        st.caption("Sign in at the foot of the sidebar to import data.")
        return
    way = st.segmented_control(
        "From",
        ["Your computer", "A path on the server"],
        default="Your computer",
        required=True,
        key="data.way",
    )
    path = uploaded() if way == "Your computer" else named()
    if path is None:
        st.caption(
            "JSONL, JSON, CSV or Parquet with a prompt (or chat messages) and a gold response in each row; HH-RLHF, "
            "Dolly, Alpaca, ShareGPT, HotpotQA and preference sets are recognised."
        )
        return
    options = st.session_state.get("data.options", {})
    asked = inquiries.ask("data", arguments(path, options), stamp(path), **LIMITS)
    answer = asked.poll()
    if answer is None:
        inquiries.show_waiting(asked, "Reading the file in a process of its own")
        return
    if answer.error:
        st.error(told(answer.error, path))
        show_mapping(path, (), options)
        return
    found = answer.value
    show_preview(found)
    show_mapping(path, found["columns"], options)
    show_report(found, path)
    show_go(path, found, options)


def uploaded() -> Path | None:
    """The file sent by the browser, kept in a folder that goes with this tab."""
    limit = st.get_option("server.maxUploadSize")
    file = st.file_uploader(
        f"A data file (at most {limit} MiB)", type=ENDINGS, key="data.file", max_upload_size=limit
    )
    return None if file is None else stored(file)


def stored(file: Any) -> Path:
    """Where an uploaded file's bytes are kept for the processes that read them."""
    if "data.folder" not in st.session_state:
        remove_old_uploads(Path(tempfile.gettempdir()))
        st.session_state["data.folder"] = tempfile.TemporaryDirectory(prefix=UPLOADS)
    folder = st.session_state["data.folder"]
    place = Path(folder.name) / re.sub(r"\W", "", file.file_id)[:64]
    path = place / safe_name(file.name)
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)  # of a tab left open for days the folder may be gone
        path.write_bytes(file.getbuffer())
    return path


def remove_old_uploads(folder: Path) -> None:
    """Remove what tabs of a server that was killed had sent; nothing that was written to lately."""
    for place in folder.glob(f"{UPLOADS}*"):
        if place.is_symlink():
            continue
        with suppress(OSError):
            written = max(path.stat().st_mtime for path in (place, *place.rglob("*")))
            if time.time() - written > UPLOAD_SECONDS:
                shutil.rmtree(place, ignore_errors=True)


def safe_name(name: str) -> str:
    """A file's name that is harmless as a path: letters, digits, dots, dashes; the ending stays."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).name).lstrip(".") or "file"
    stem, dot, ending = kept.rpartition(".")
    return f"{stem[:60]}.{ending[:10]}" if dot else kept[:60]


def named() -> Path | None:
    """A file that lies on the server."""
    text = st.text_input(
        "Path of a file on the server", key="data.path", placeholder="/data/mine.jsonl"
    ).strip()
    if not text:
        return None
    session.require_edit()
    return resolve_path(text)


def stamp(path: Path) -> list[Any]:
    """What changes when the file does."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return [str(path)]
    return [str(path), found.st_mtime_ns, found.st_size]


def arguments(path: Path, options: Mapping[str, Any], importing: bool = False) -> list[str]:
    """The command that inspects or imports a file with what was chosen."""
    words = ["data", "import" if importing else "inspect"]
    for name in ("name", "format", "split", "shares"):
        if options.get(name):
            words += [f"--{name}", str(options[name])]
    for target, column in options.get("map", {}).items():
        words += ["--map", f"{target}={column}"]
    if options.get("tokenizer") and not importing:
        words += ["--tokenizer", str(resolve_path(options["tokenizer"]))]
    return [*words, str(path.absolute())]


def told(error: str, path: Path) -> str:
    """An error about the file in one line, without the folder it happens to lie in."""
    return plain(clip(error.replace(f"{path.parent}/", ""), 600))


def show_preview(found: Mapping[str, Any]) -> None:
    """What the file is, and its first rows as text."""
    st.markdown(
        f"**{plain(found['name'], 80)}**: {size(found['bytes'])}, read as {plain(found['kind'])}, rows in the format "
        f"**{plain(found['format'])}**; {found['rows']:,} rows can be used."
    )
    rows = [{key: clip(str(value), 300) for key, value in row.items()} for row in found["preview"]]
    st.dataframe(
        pd.DataFrame(rows).fillna("").astype(str),
        hide_index=True,
        height="content",
        alt="The first rows of the file",
    )


def show_mapping(path: Path, columns: Sequence[str], options: Mapping[str, Any]) -> None:
    """Which field is which, the name, the licence and the split. Applied together, since each reads the file anew."""
    mapped = options.get("map", {})
    names = list(dict.fromkeys([*columns, *mapped.values()]))
    with st.form("data.mapping", border=True):
        first = st.columns(3)
        name = first[0].text_input("Name", options.get("name") or path.stem[:80], max_chars=80)
        license = first[1].text_input("Licence", options.get("license", ""), placeholder="cc-by-4.0")
        formats = ["auto", *FORMATS]
        format = first[2].selectbox(
            "Row format",
            formats,
            index=formats.index(options.get("format", "auto")),
            help="auto: by the first row",
        )
        chosen = {}
        for cell, field in zip(st.columns(len(FIELDS)), FIELDS, strict=True):
            offered = [AS_NAMED, *names]
            at = offered.index(mapped[field]) if mapped.get(field) in offered else 0
            picked = cell.selectbox(
                field.capitalize(), offered, index=at, key=f"data.map.{field}.{path.name}", format_func=str
            )
            if picked != AS_NAMED:
                chosen[field] = picked
        last = st.columns(4)
        splits = ["auto", *SPLITS]
        split = last[0].selectbox(
            "Split",
            splits,
            index=splits.index(options.get("split", "auto")),
            help="auto: the row's own split, else by a stable hash of the prompt with these shares",
        )
        old = [float(part) for part in options["shares"].split(",")] if options.get("shares") else SHARES
        train = last[1].number_input("Train, %", 0, 100, round(100 * old[0]), 5)
        dev = last[2].number_input("Dev, %", 0, 100, round(100 * old[1]), 5)
        tokenizer = last[3].text_input(
            "Count tokens of",
            options.get("tokenizer", ""),
            placeholder="a model's folder",
            help="A folder with a tokenizer.json, for instance data/demo/model; empty counts words.",
        )
        if st.form_submit_button("Apply"):
            shares = f"{train / 100:g},{dev / 100:g},{max(0, 100 - train - dev) / 100:g}"
            st.session_state["data.options"] = {
                "name": name,
                "license": license,
                "format": format,
                "split": split,
                "shares": "" if [float(part) for part in shares.split(",")] == list(SHARES) else shares,
                "map": chosen,
                "tokenizer": tokenizer.strip(),
            }
            st.rerun()


def show_report(found: Mapping[str, Any], path: Path) -> None:
    """How many rows can be used, which cannot and why, duplicates, splits, lengths."""
    bad = sum(count for kind, count in found["counts"].items() if kind != "duplicate")
    splits = found["splits"]
    cells = st.columns(6)
    for cell, (label, count) in zip(
        cells,
        {
            "Usable rows": found["rows"],
            "Bad rows": bad,
            "Duplicates": found["counts"].get("duplicate", 0),
            **{split.capitalize(): splits[split] for split in SPLITS},
        }.items(),
        strict=True,
    ):
        cell.metric(label, f"{count:,}")
    for known in found["elsewhere"][:5]:
        st.warning(
            f"{known['prompts']:,} of its prompts stand in the data set {plain(known['name'], 80)} too."
        )
    if found["problems"]:
        total = sum(found["counts"].values())
        st.markdown(f"**Rows left out** ({total:,})")
        table = pd.DataFrame(
            {
                "Line": [row["line"] for row in found["problems"]],
                "Kind": [row["kind"].replace("_", " ") for row in found["problems"]],
                "Reason": [clip(row["reason"], REASONS_SHOWN) for row in found["problems"]],
            }
        )
        st.dataframe(table, hide_index=True, height=table_height(table), lazy=True)
        if total > len(table):
            st.caption(f"The first {len(table):,}; `data inspect` in a terminal lists more.")
    show_lengths(found)


def table_height(table: pd.DataFrame) -> int | str:
    """As high as its rows, up to eight of them."""
    return "content" if len(table) <= 8 else 320


def show_lengths(found: Mapping[str, Any]) -> None:
    """How long prompts and golds are."""
    figure, rows = go.Figure(), []
    order: dict[str, int] = {}
    for number, (name, lengths) in enumerate(found["lengths"].items()):
        label = f"{name} (median {lengths['median']:,}, 95 % up to {lengths['p95']:,}, longest {lengths['longest']:,})"
        bins = lengths["bins"]
        figure.add_bar(
            x=[each[0] for each in bins],
            y=[each[1] for each in bins],
            name=label,
            marker_color=colours.of_series(number),
        )
        order |= {each[0]: int(each[0].partition("–")[0].replace(",", "")) for each in bins}
        rows += [{"text": name, found["unit"]: each[0], "rows": each[1]} for each in bins]
    if not rows:
        return
    n = found["lengths"]["gold"]["n"]
    axis = {
        "title": f"length in {found['unit']}",
        "categoryarray": sorted(order, key=order.get),
        "type": "category",
    }
    styled(figure, 260, xaxis=axis, yaxis={"title": f"rows (n = {n:,})"}, barmode="group")
    show_chart(
        figure, rows, "data.lengths", f"Histogram of prompt and gold lengths in {found['unit']}, n = {n:,}"
    )


def show_go(path: Path, found: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """The import itself; bad rows are left out only when that is said."""
    bad = sum(count for kind, count in found["counts"].items() if kind != "duplicate")
    if found["imported"]:
        st.info("This very file is imported already, read in this way.")
        return
    if not found["rows"]:
        st.error("No row can be used as it is: map the fields above, or mend the file.")
        return
    skip = bad > 0 and st.checkbox(
        f"Leave the {bad:,} bad rows out and import the rest", key=f"data.skip.{found['dataset_id']}"
    )
    label = f"Import {found['rows']:,} rows"
    if st.button(label, type="primary", disabled=bad > 0 and not skip, key="data.import"):
        import_file(path, options, skip)


def import_file(path: Path, options: Mapping[str, Any], skip: bool) -> None:
    """Import in a process with the same limits, and show the data set."""
    session.require_edit()
    words = arguments(path, options, importing=True)
    more = ["--license", options["license"]] if options.get("license") else []
    more += ["--skip-bad"] if skip else []
    if "data.folder" in st.session_state and path.is_relative_to(st.session_state["data.folder"].name):
        more += ["--source", f"upload of {path.name}"]
    with st.spinner("Importing"):
        answer = inquiries.ask("data.import", [*words, *more], stamp(path), **LIMITS).wait()
    inquiries.forget("data.import")
    if answer.error:
        st.error(told(answer.error, path))
        return
    inquiries.forget("data")
    st.session_state.pop("data.options", None)
    session.set_param("dataset", answer.value["dataset_id"])
    st.session_state["data.done"] = f"Imported {answer.value['rows']:,} rows as {answer.value['name']}."
    st.rerun()
