"""Runs as jobs: create, start detached, watch, stop, resume.

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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from lpd_core.assignment import Assignment, assign_prompts
from lpd_core.config import PROJECT, RunConfig, config_digest, resolve_path
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.prompts import template_texts
from lpd_core.scoring_config import ScoringConfig
from lpd_core.store import RunFolder, RunState, Store, constitutions, mirror, votes
from lpd_core.store import runs as run_table
from lpd_core.store.locks import acquire
from lpd_core.store.run_folder import storage

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


LEFT = re.compile(r"\.[a-z0-9-]+-\d+\.(\d+|deleted)|\.deleted-.+")
"""A run's folder on its way in or out, or the mirror of a deleted data set."""


def create_run(store: Store, config: RunConfig) -> RunFolder:
    """Import, assign and write a new run, ready to start. When any of it fails there is no run; data sets that were
    imported for it stay."""
    config = with_absolute_paths(config)
    assignment = assign_prompts(store, config)
    with creating(store):
        _require_datasets(store, assignment)
        return _write_run(store, config, assignment)


@contextmanager
def creating(store: Store) -> Iterator[None]:
    """Where runs come into being and data sets go, one at a time: two servers on a home could find the same id free.
    What a kill left of a creation or a deletion is swept."""
    with storage(f"lock {store.home}"):
        lock = open(store.home / "create.lock", "a+", encoding="ascii")
    with lock:
        if not acquire(lock, seconds=60):
            raise Interrupted(f"another process has been creating a run in {store.home} for 60 s; try again")
        for left in (*store.runs.glob(".*"), *store.home.glob(".deleted-*")):
            if LEFT.fullmatch(left.name):  # nothing that a person has hidden there
                shutil.rmtree(left, ignore_errors=True)
        yield


def _require_datasets(store: Store, assignment: Assignment) -> None:
    examples = chain(*assignment.mined, *assignment.heldout.values())
    lost = {example.dataset_id for example in examples} - {
        row["dataset_id"] for row in store.database.query("select dataset_id from datasets")
    }
    if lost:
        raise UserError(
            f"{', '.join(sorted(lost))} was deleted while the run was made; import it again, or leave it out"
        )


def _write_run(store: Store, config: RunConfig, assignment: Assignment) -> RunFolder:
    run_id = _new_id(store, config.name)
    draft, folder = RunFolder(store.runs / f".{run_id}.{os.getpid()}"), RunFolder(store.runs / run_id)
    place = draft.root
    try:
        # Rows of a run whose folder is gone, which somebody removed by hand perhaps, must not become this one's.
        run_table.delete_rows(store, run_id)
        draft.create(config, manifest_of(config) | _prompt_counts(assignment))
        draft.keep_prompts(template_texts(config.prompts))
        draft.write_segment(0, "assign", 0, {"assignments": _assignment_rows(run_id, assignment)})
        run_table.add_run(store, run_id, config, draft.manifest())
        with storage(f"create the run folder {folder.root}"):
            os.rename(draft.root, folder.root)
        place = folder.root
        run_table.ingest(store, folder)
        mirror.keep_run(store, run_id)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(LpdError):  # else the next run of this id does it
            run_table.delete_rows(store, run_id)
        raise
    return folder


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The configuration with every local path written out, since the driver works from another folder."""

    def local(text: str) -> str:
        path = resolve_path(text) if text else None
        return str(path.absolute()) if path is not None and path.exists() else text

    def source(text: str) -> str:  # a data set may have the name of a folder here
        path = resolve_path(text)
        return str(path.absolute()) if path.is_file() else text

    data = config.data.model_copy(
        update={
            **{
                name: [source(each) for each in getattr(config.data, name)]
                for name in ("train", "dev", "test", "exclude")
            },
            "shifted": {name: source(each) for name, each in config.data.shifted.items()},
            "mixture": {source(each): share for each, share in config.data.mixture.items()},
        }
    )
    return config.model_copy(
        update={
            "data": data,
            "model": config.model.model_copy(
                update={name: local(getattr(config.model, name)) for name in ("path", "chat_template")}
            ),
            "sampler": config.sampler.model_copy(update={"python": local(config.sampler.python)}),
            "scoring": _local_scoring(config.scoring, local),
            "prompts": config.prompts.model_copy(update={"folder": local(config.prompts.folder)}),
            "cluster": config.cluster.model_copy(update={"embedder": local(config.cluster.embedder)}),
            "m_step": config.m_step.model_copy(
                update={"accelerate_config": local(config.m_step.accelerate_config)}
            ),
            "e_step": config.e_step.model_copy(update={"seeds": local(config.e_step.seeds)}),
        }
    )


def _local_scoring(scoring: ScoringConfig, local: Callable[[str], str]) -> ScoringConfig:
    judge = scoring.judge
    model = {name: local(getattr(judge.model, name)) for name in ("path", "chat_template")}
    update = {
        "rubric": local(judge.rubric),
        "model": judge.model.model_copy(update=model),
        "sampler": judge.sampler.model_copy(update={"python": local(judge.sampler.python)}),
    }
    return scoring.model_copy(
        update={"embedder": local(scoring.embedder), "judge": judge.model_copy(update=update)}
    )


def _prompt_counts(assignment: Assignment) -> dict[str, Any]:
    """How many prompts each iteration mines of each data set, and how many were left out, for the manifest."""
    mined = [dict(Counter(e.dataset_id for e in examples)) for examples in assignment.mined]
    return {"mined_prompts": mined, "dropped_prompts": dict(assignment.dropped)}


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
    taken = {*store.run_ids(), *votes.systems_elsewhere(store)}
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


def start(store: Store, run_id: str, attached: bool = False) -> int:
    """Start a run's driver, detached from this process and terminal; returns its PID. `attached`, it ends at once when this
    process has died."""
    folder = store.run(run_id)
    if folder.is_driven():
        raise UserError(f"run {run_id} is running already; see `status {run_id}`")
    tied = ["--with", str(os.getpid())] if attached else []
    log = open(folder.logs / "driver.log", "ab")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lpd_core", "drive", run_id, *tied],
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
    folder = store.run(run_id)
    release_approved(store, folder)
    state = folder.state()
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
    told = 0
    give_up = time.monotonic() + seconds
    while folder.is_driven():
        # Looked up again each time: a driver that has just taken the lock has not written its PID yet.
        driver = folder.driver_pid()
        if driver and driver != told:
            with suppress(ProcessLookupError):
                os.kill(driver, signal.SIGTERM)
            told = driver
        if time.monotonic() > give_up:
            where = (
                f"its driver has PID {told}" if told else "its driver is no process of yours on this machine"
            )
            raise UserError(f"run {run_id} did not stop within {seconds:.0f} s; {where}")
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


def release_approved(store: Store, folder: RunFolder) -> None:
    """Release a run whose review is done: whoever approved it was killed, or met an error, before it was let go on."""
    state = folder.state()
    if state.status == "awaiting_review" and constitutions.approved_version(
        store, folder.run_id, state.iteration
    ):
        release(store, folder)


def release(store: Store, folder: RunFolder) -> None:
    """Take a run out of its review: it is queued again, for `resume`. Nothing where somebody did so before."""
    if folder.state().status != "awaiting_review":
        return
    iteration, stage = _where(folder)
    folder.write_state(RunState("queued", iteration, stage))
    run_table.set_status(store, folder.run_id, "queued")
