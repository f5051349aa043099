"""Runs as jobs: create, start detached, watch, stop, resume. The only place that starts processes.

A run is created whole or not at all: its data sets are imported, its prompts assigned to iterations and held-out
sets, its folder and row written; only then is it started.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from lpd_core.config import PROJECT, RunConfig, config_digest, resolve_path
from lpd_core.corpus import content_key, read_corpus
from lpd_core.errors import DataError, UserError
from lpd_core.prompts import template_texts
from lpd_core.seeds import derive_seed
from lpd_core.store import RunFolder, RunState, Store, corpora, mirror
from lpd_core.store import runs as run_table
from lpd_core.store.run_folder import storage
from lpd_core.types import Example

LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "duckdb",
    "sentence-transformers",
    "numpy",
    "scikit-learn",
    "rapidfuzz",
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which prompts a run mines in each iteration and measures on each held-out set."""

    mined: tuple[tuple[Example, ...], ...]
    heldout: Mapping[str, tuple[Example, ...]]


def import_source(store: Store, source: str, split: str = "auto") -> str:
    """The id of a source's data set: an imported one by name or id, else a file, imported now."""
    path = resolve_path(source)
    if not path.is_file():
        try:
            return corpora.find_dataset(store, source)
        except DataError as cause:
            raise DataError(f"{source!r} is neither a file nor an imported data set: {cause}") from cause
    corpus = read_corpus(path, split=split)
    corpora.add_corpus(store, corpus, source=str(path))
    return corpus.dataset_id


def assign_prompts(store: Store, config: RunConfig) -> Assignment:
    """Deal the prompts out: disjoint between iterations, none of them held out (invariant 4), by stable hash.

    Raises `DataError` when there are no prompts to mine or an iteration would get none."""
    held = _heldout(store, config)
    taken = {content_key(e.messages) for examples in held.values() for e in examples}
    pool = [e for e in _rows(store, config.data.train, "train") if content_key(e.messages) not in taken]
    pool = _shuffled(_distinct(pool), config.seed, "train")
    mined, start = [], 0
    for t in range(config.iterations):
        sizes = config.data.prompts_per_iteration
        size = sizes[min(t, len(sizes) - 1)]
        mined.append(tuple(pool[start : start + size]))
        start += size
    if not mined[-1]:
        raise DataError(
            f"{len(pool)} prompts to mine are too few for {config.iterations} iterations of "
            f"{config.data.prompts_per_iteration} prompts: lower data.prompts_per_iteration or iterations, "
            "or name more data in data.train"
        )
    return Assignment(tuple(mined), held)


def _heldout(store: Store, config: RunConfig) -> dict[str, tuple[Example, ...]]:
    sets = {
        "dev": _rows(store, config.data.dev or config.data.train, None if config.data.dev else "dev"),
        "test": _rows(store, config.data.test or config.data.train, None if config.data.test else "test"),
    }
    sets |= {name: _rows(store, [source], None) for name, source in config.data.shifted.items()}
    limit = config.data.heldout_limit
    return {
        name: tuple(_shuffled(_distinct(examples), config.seed, name)[:limit])
        for name, examples in sets.items()
        if examples
    }


def _rows(store: Store, sources: Sequence[str], split: str | None) -> list[Example]:
    return [e for source in sources for e in corpora.prompts_of(store, import_source(store, source), split)]


def _distinct(examples: Iterable[Example]) -> list[Example]:
    return list({content_key(example.messages): example for example in examples}.values())


def _shuffled(examples: Sequence[Example], seed: int, purpose: str) -> list[Example]:
    return sorted(examples, key=lambda e: derive_seed(seed, "assign", purpose, e.prompt_id))


def create_run(store: Store, config: RunConfig) -> RunFolder:
    """Import, assign and write a new run, ready to start. Nothing is left behind when any of it fails."""
    config = _with_absolute_paths(config)
    assignment = assign_prompts(store, config)
    run_id = _new_id(store, config.name)
    draft = RunFolder(store.runs / f".{run_id}.{os.getpid()}")
    try:
        draft.create(config, manifest_of(config))
        draft.keep_prompts(template_texts(config.prompts))
        draft.write_segment(0, "assign", 0, {"assignments": _assignment_rows(run_id, assignment)})
        folder = RunFolder(store.runs / run_id)
        run_table.add_run(store, run_id, config, draft.manifest())
        with storage(f"create the run folder {folder.root}"):
            os.rename(draft.root, folder.root)
    except BaseException:
        shutil.rmtree(draft.root, ignore_errors=True)
        raise
    run_table.ingest(store, folder)
    mirror.keep_run(store, run_id)
    return folder


def _with_absolute_paths(config: RunConfig) -> RunConfig:
    """The configuration with every local path written out, since the driver works from another folder."""

    def local(text: str) -> str:
        path = resolve_path(text) if text else None
        return str(path.absolute()) if path is not None and path.exists() else text

    data = config.data.model_copy(
        update={
            **{
                name: [local(source) for source in getattr(config.data, name)]
                for name in ("train", "dev", "test")
            },
            "shifted": {name: local(source) for name, source in config.data.shifted.items()},
        }
    )
    return config.model_copy(
        update={
            "data": data,
            "model": config.model.model_copy(
                update={name: local(getattr(config.model, name)) for name in ("path", "chat_template")}
            ),
            "sampler": config.sampler.model_copy(update={"python": local(config.sampler.python)}),
            "prompts": config.prompts.model_copy(update={"folder": local(config.prompts.folder)}),
            "e_step": config.e_step.model_copy(update={"seeds": local(config.e_step.seeds)}),
        }
    )


def _assignment_rows(run_id: str, assignment: Assignment) -> list[dict[str, Any]]:
    return [
        {"run_id": run_id, "iteration": t, "benchmark": name, "prompt_id": e.prompt_id, "position": n}
        for t, name, examples in (
            *((t, "train", examples) for t, examples in enumerate(assignment.mined, start=1)),
            *((0, name, examples) for name, examples in assignment.heldout.items()),
        )
        for n, e in enumerate(examples)
    ]


def _new_id(store: Store, name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
    taken = set(store.run_ids())
    number = 1
    while f"{slug}-{number}" in taken or (store.runs / f"{slug}-{number}").exists():
        number += 1
    return f"{slug}-{number}"


def manifest_of(config: RunConfig) -> dict[str, Any]:
    """Code revision, library versions, machine, seed and configuration digest."""
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "revision": _revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "seed": config.seed,
        "config_digest": config_digest(config),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=PROJECT, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None


def start(store: Store, run_id: str) -> int:
    """Start a run's driver, detached from this process and terminal; returns its PID."""
    folder = store.run(run_id)
    if folder.is_driven():
        raise UserError(f"run {run_id} is running already; see `status {run_id}`")
    log = open(folder.logs / "driver.log", "ab")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lpd_core", "drive", run_id],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "LPD_HOME": str(store.home)},
        )
    folder.write_state(RunState("queued", *_where(folder), pid=process.pid))
    return process.pid


def _where(folder: RunFolder) -> tuple[int, str]:
    state = folder.state()
    return state.iteration, state.stage


def resume(store: Store, run_id: str) -> int:
    """Go on with a run that was stopped, interrupted or failed. Raises `UserError` where there is nothing to do."""
    state = store.run(run_id).state()
    if state.status == "finished":
        raise UserError(f"run {run_id} has finished; start another with `run`")
    if state.status == "awaiting_review":
        raise UserError(
            f"run {run_id} waits for a person at iteration {state.iteration}: look at `constitution show {run_id}`, "
            f"then `approve {run_id}`"
        )
    return start(store, run_id)


def stop(store: Store, run_id: str, seconds: float = 30.0) -> RunState:
    """Ask a run's driver to stop and wait until it has let go of its lock."""
    folder = store.run(run_id)
    state = folder.state()
    if state.status == "queued" and state.pid:
        wait_for_driver(folder, state.pid)
    if not folder.is_driven():
        raise UserError(f"run {run_id} is not running (it is {folder.state().status})")
    driver = folder.driver_pid()
    if driver > 0:
        with suppress(ProcessLookupError):
            os.kill(driver, signal.SIGTERM)
    give_up = time.monotonic() + seconds
    while folder.is_driven():
        if time.monotonic() > give_up:
            raise UserError(f"run {run_id} did not stop within {seconds:.0f} s; its driver has PID {driver}")
        time.sleep(0.05)
    return folder.state()


def wait_for_driver(folder: RunFolder, process_id: int, seconds: float = 20.0) -> None:
    """Wait until a driver just started has taken the lock or come to an end."""
    give_up = time.monotonic() + seconds
    while folder.state().status == "queued" and time.monotonic() < give_up and _lives(process_id):
        time.sleep(0.05)


def _lives(process_id: int) -> bool:
    try:
        return os.waitpid(process_id, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return Path(f"/proc/{process_id}").exists()


def release(store: Store, folder: RunFolder) -> None:
    """Take a run out of its review: it is queued again, for `resume`."""
    iteration, stage = _where(folder)
    folder.write_state(RunState("queued", iteration, stage))
    run_table.set_status(store, folder.run_id, "queued")
