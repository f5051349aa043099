"""What several tests need: a home of their own, small data, a scripted run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# The same examples each time, however slow the machine: to look for new ones is `make fuzz`.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared" / "data"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A fresh `$LPD_HOME`."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LPD_HOME", str(folder))
    return folder


@pytest.fixture
def store(home):
    from lpd_core.store import Store

    return Store(home)


def example_rows(count: int, first: int = 0) -> list[dict]:
    """Rows whose golds say more than their prompts, so that the scripted fake can gain."""
    topics = ("river", "garden", "engine", "letter", "market", "window", "doctor", "bridge")
    colours = ("red", "blue", "green", "white")
    rows = []
    for n in range(first, first + count):
        topic, colour = topics[n % len(topics)], colours[n % len(colours)]
        prompt = f"Tell me about the {topic} number {n} please"
        gold = f"Tell me about the {topic} number {n} please with {colour} paint and more care"
        rows.append({"id": f"row{n}", "prompt": prompt, "gold": gold})
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def scripted_settings(tmp_path) -> dict:
    """The configuration, as a tree, of a small run with the scripted fake."""
    return small_settings(tmp_path)


def small_settings(tmp_path: Path) -> dict:
    """The configuration of a small run with the scripted fake, its data written to the folder."""
    train = write_jsonl(tmp_path / "train.jsonl", [{**row, "split": "train"} for row in example_rows(40)])
    dev = write_jsonl(tmp_path / "dev.jsonl", example_rows(8, first=100))
    test = write_jsonl(tmp_path / "test.jsonl", example_rows(8, first=200))
    return {
        "name": "small",
        "iterations": 2,
        "data": {
            "train": [str(train)],
            "dev": [str(dev)],
            "test": [str(test)],
            "prompts_per_iteration": [16],
        },
        "sampler": {"kind": "scripted"},
        "e_step": {"n": 4, "chunk_prompts": 4},
        "cluster": {"embedder": "hash", "layout": "pca"},
        "evaluate": {"resamples": 200},
    }


def run_inline(store, settings: dict):
    """Create a run and drive it to its end (or its review) in this process; its folder."""
    from lpd_core import jobs
    from lpd_core.config import parse_config
    from lpd_core.driver import drive

    folder = jobs.create_run(store, parse_config(settings))
    drive(store, folder.run_id, inline=True)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The store and folder of a small finished run of one iteration, in a home of its own; tests add measurements to it."""
    from lpd_core.store import Store

    folder = tmp_path_factory.mktemp("finished")
    store = Store(folder / "home")
    return store, run_inline(store, {**small_settings(folder), "iterations": 1})


def pytest_collection_modifyitems(items):
    """The longest test first: begun last, it would keep one worker while the others have nothing left."""
    items.sort(key=lambda item: "test_the_main_job" not in item.nodeid)
