"""Reads of the store, kept until the database changes. Pages never query without passing here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from lpd_core.config import lpd_home
from lpd_core.store import RunFolder, Store, runs

Result = TypeVar("Result")
Stamp = tuple[int, ...]


def store() -> Store:
    """The store under `$LPD_HOME`. It holds no connection: making one costs nothing."""
    return Store(lpd_home())


def fetch(function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(store, *arguments)`, from the cache while the database file is the same; a copy each time.

    `arguments` are plain values or frozen dataclasses."""
    name = f"{function.__module__}.{function.__qualname__}"
    return _fetched(str(lpd_home()), stamp(), name, arguments, function)


def hold(function: Callable[..., Result], *arguments: Any) -> Result:
    """As `fetch`, but the same object for every session: for results that nobody can change."""
    name = f"{function.__module__}.{function.__qualname__}"
    return _held(str(lpd_home()), stamp(), name, arguments, function)


def fetch_once(function: Callable[..., Result], held: Any, *arguments: Any) -> Result:
    """`function(held, *arguments)`, kept for this tab: the last result of each function, while the same object is
    held and the arguments are equal."""
    name = f"reads.once.{function.__module__}.{function.__qualname__}"
    kept = st.session_state.get(name)
    if kept is None or kept[0] is not held or kept[1] != arguments:
        kept = st.session_state[name] = (held, arguments, function(held, *arguments))
    return kept[2]


def stamp() -> Stamp:
    """What changes whenever the database does."""
    database = lpd_home() / "lpd.duckdb"
    return tuple(
        part for name in (database, database.with_name(database.name + ".wal")) for part in _stat(name)
    )


def _stat(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


@st.cache_data(max_entries=256, ttl=3600, show_spinner=False)
def _fetched(home: str, at: Stamp, name: str, arguments: tuple, _function: Callable[..., Any]) -> Any:
    return _function(Store(Path(home)), *arguments)


@st.cache_resource(max_entries=16, ttl=3600, show_spinner=False)
def _held(home: str, at: Stamp, name: str, arguments: tuple, _function: Callable[..., Any]) -> Any:
    return _function(Store(Path(home)), *arguments)


def has_store() -> bool:
    """Whether anything was ever imported or run here; a look must not create a database."""
    return store().database.is_begun()


def run_ids() -> list[str]:
    """The runs, newest first."""
    return store().run_ids()[::-1]


def folder(run_id: str) -> RunFolder:
    """A run's folder."""
    return RunFolder(store().runs / run_id)


def names() -> dict[str, str]:
    """The name that people gave a run, by its id."""
    rows = fetch(runs.list_runs) if has_store() else []
    return {row["run_id"]: row["name"] for row in rows}


def iterations(run_id: str) -> list[dict[str, Any]]:
    """The iterations of a run that have begun, the base model's (0) first."""
    return fetch(runs.list_iterations, run_id) if has_store() else []
