"""Homes in the states that every page must bear: empty, a finished run, one that waits for a review, a failed one.

The runs are real ones of the shipped model on few prompts, made once a test session and shared by its workers. A test
that changes something takes a copy (`copied`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from conftest import PROJECT
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

SMALL = [
    "iterations=2",
    "data.prompts_per_iteration=[40, 24]",
    "data.heldout_limit=24",
    "sampler.workers=1",
    "m_step.epochs=1",
    "evaluate.resamples=200",
]
HOMES = {
    "finished": [],
    "waiting": ["review=true"],
    "failed": ["e_step.margin=0.99"],  # nothing gains that much, so there is nothing to train on
}


def build(home: Path, settings: list[str]) -> None:
    """One small run of the demo preset, driven to its end in this process."""
    from lpd_core import jobs
    from lpd_core.config import load_config
    from lpd_core.driver import drive
    from lpd_core.errors import LpdError
    from lpd_core.store import Store

    store = Store(home)
    folder = jobs.create_run(store, load_config("demo", None, [*SMALL, *settings]))
    try:
        drive(store, folder.run_id, inline=True)
    except LpdError:
        assert folder.state().status == "failed"


class FramedPages(PagesManager):
    """AppTest asks before each run whether there is a pages/ folder, and with one runs the page without app.py
    around it; what it sets here leaves the answer at no."""


@pytest.fixture(autouse=True)
def framed(monkeypatch):
    """Pages run inside the frame of app.py, as on the server."""
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", FramedPages)


@pytest.fixture(scope="session")
def homes(tmp_path_factory) -> Path:
    """A folder with the built homes; the first worker that asks for one builds it. `LPD_TEST_HOMES` names a folder to
    keep them in from one session to the next."""
    root = tmp_path_factory.getbasetemp()
    shared = (root.parent if root.name.startswith("popen-") else root) / "homes"
    shared = Path(os.environ.get("LPD_TEST_HOMES") or shared)
    shared.mkdir(exist_ok=True)
    return shared


def built(homes: Path, name: str) -> Path:
    """The home of a state, built if nobody has."""
    with open(homes / f"{name}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (homes / name).exists():
            making = homes / f"{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            build(making, HOMES[name])
            making.rename(homes / name)
    return homes / name


@pytest.fixture(params=["empty", *HOMES])
def any_home(request, homes, tmp_path, monkeypatch) -> str:
    """Each of the four states in turn; the name of the state. Only to look at, never to change."""
    place = tmp_path / "home" if request.param == "empty" else built(homes, request.param)
    monkeypatch.setenv("LPD_HOME", str(place))
    return request.param


@pytest.fixture
def copied(homes, tmp_path, monkeypatch):
    """`copied(state)`: a copy of that state's home to change, set as `$LPD_HOME`; its path."""

    def copy(name: str) -> Path:
        place = tmp_path / "home"
        shutil.copytree(built(homes, name), place)
        monkeypatch.setenv("LPD_HOME", str(place))
        return place

    return copy


@pytest.fixture
def looking(homes, monkeypatch):
    """`looking(state)`: the shared home of that state, set as `$LPD_HOME`; only to look at."""

    def look(name: str) -> Path:
        place = built(homes, name)
        monkeypatch.setenv("LPD_HOME", str(place))
        return place

    return look


def open_page(name: str, **query: str) -> AppTest:
    """The app at a page of `pages/`, run once, with the address given."""
    import streamlit as st

    st.cache_data.clear()
    st.cache_resource.clear()
    app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    return app.switch_page(f"pages/{name}.py").run() if name != "home" else app


def words(app: AppTest) -> str:
    """Everything that the page says, as one text, Markdown escapes taken out."""
    parts = []
    for block in app.main:
        for attribute in ("value", "label", "body", "caption"):
            text = getattr(block, attribute, None)
            if isinstance(text, str):
                parts.append(text)
    return " ".join(parts).replace("\\", "")
