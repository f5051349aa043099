"""Running one stage to its committed end: in this process, or as processes of its own.

Stage processes free their memory when they end and may share the chunks of a stage. While they work, the driver
ingests what they have committed, once a second or, where that costs much, for a bounded share of its time. A stage that
has finished is passed over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lpd_core.build import build_parts, stage_environment, stage_launcher, stage_python
from lpd_core.config import PROJECT, RunConfig
from lpd_core.errors import EXIT_INTERRUPTED, Interrupted, LpdError, StageFailed, UserError
from lpd_core.events import StageFinished
from lpd_core.loop import STAGES
from lpd_core.model_card import write_card
from lpd_core.parts import Parts
from lpd_core.prompts import load_templates
from lpd_core.stage import Stage, sampling_totals
from lpd_core.store import RunFolder, Store, mirror
from lpd_core.store import runs as run_table
from lpd_core.store.database import DatabaseBusy

WITH_WEIGHTS = ("e_step", "m_step", "evaluate")
"""Stages that load a model, always."""
INGEST_SECONDS, INGEST_SECONDS_MOST = 1.0, 10.0
INGEST_SHARE = 0.1
LAUNCHER_SECONDS = 10.0


@dataclass
class Execution:
    """Runs the stages of one run. `inline` works in this process; otherwise each stage is a subprocess (or
    several), and `watch` is called about ten times a second with the stage's name and iteration."""

    store: Store
    folder: RunFolder
    config: RunConfig
    parts: Parts
    inline: bool = False
    watch: Callable[[str, int], None] = lambda stage, iteration: None

    def __call__(self, name: str, iteration: int) -> dict[str, Any]:
        """Bring a stage to its end and return its summary; at once if it has one."""
        done = self.folder.stage_result(iteration, name)
        if done is not None:
            run_table.ingest(self.store, self.folder)
            return done
        started = time.monotonic()
        self._open(name, iteration)
        if self.inline:
            STAGES[name].run(self.stage(name, iteration))
        else:
            self._run_processes(name, iteration)
        run_table.ingest(self.store, self.folder)
        stage = self.stage(name, iteration)
        summary = STAGES[name].summarise(stage)
        seconds = time.monotonic() - started
        self._close(stage, summary, seconds)
        self.folder.finish_stage(iteration, name, summary)
        self.folder.emit(StageFinished(iteration, name, seconds, summary))
        return summary

    def stage(self, name: str, iteration: int, shard: tuple[int, int] = (0, 1)) -> Stage:
        """A stage of this run, ready to work."""
        return Stage(
            name=name,
            iteration=iteration,
            store=self.store,
            folder=self.folder,
            config=self.config,
            templates=load_templates(self.folder.prompts(self.config)),
            parts=self.parts,
            emit=self.folder.emit,
            shard=shard,
        )

    def _open(self, name: str, iteration: int) -> None:
        values: dict[str, Any] = {"stage": name, "status": "running"}
        if name in WITH_WEIGHTS:
            model = self.stage(name, iteration).model_in
            digest = self._digest_of(model, iteration if name == "evaluate" else iteration - 1)
            if name == "e_step" or (name == "evaluate" and iteration == 0):
                values |= {"model_in": model, "model_in_digest": digest}
        if (
            self.folder.stage_result(iteration, "evaluate") is None
        ):  # else a repair opened one stage of it again
            run_table.set_iteration(self.store, self.folder.run_id, iteration, values)

    def _digest_of(self, model: str, trained: int) -> str:
        """The digest of the weights a stage is about to use. Raises `UserError` when they are not those that were
        trained, or for the base model not those that the run began with."""
        mend = "`python -m lpd_core repair` sets it aside, and a resume trains it again"
        try:
            digest = self.parts.digest(model)
        except UserError as cause:
            raise UserError(f"{cause}; {mend}" if trained else str(cause)) from cause
        column = "model_out_digest" if trained else "model_in_digest"
        rows = run_table.list_iterations(self.store, self.folder.run_id)
        known = next((row[column] for row in rows if row["iteration"] == trained), None)
        if known and known != digest and not trained:
            raise UserError(
                f"the weights in {model} are not the ones that this run began with; put those back"
            )
        if known and known != digest:
            raise UserError(f"the weights in {model} are damaged: not the ones that were trained; {mend}")
        return digest

    def _close(self, stage: Stage, summary: dict[str, Any], seconds: float) -> None:
        known = {row["iteration"]: row for row in run_table.list_iterations(self.store, stage.run_id)}
        kept = known[stage.iteration]["summary"]
        told = {**summary, "seconds": round(seconds, 3)}
        sampling = sampling_totals(self.folder.events()[0], stage.iteration, stage.name)
        whole = {**kept, stage.name: told}
        if sampling:
            whole["sampling"] = {**kept.get("sampling", {}), stage.name: sampling}
        values: dict[str, Any] = {"summary": json.dumps(whole)}
        if stage.name == "m_step":
            model = str(self.folder.checkpoint(stage.iteration))
            values |= {"model_out": model, "model_out_digest": self.parts.digest(model)}
        if stage.name == "evaluate":
            values |= {"status": "finished", "finished_at": _now()}
        run_table.set_iteration(self.store, stage.run_id, stage.iteration, values)
        if stage.iteration and stage.name in ("m_step", "evaluate"):
            write_card(self.store, self.folder, stage.iteration)
        mirror.keep_run(self.store, stage.run_id, "iterations", "segments")

    def processes_of(self, name: str) -> int:
        """How many processes of this machine share a stage."""
        rerefines = name == "relabel" and self.config.cluster.rerefine
        is_spread = name == "e_step" and self.parts.spread is not None
        shares = STAGES[name].sharded and not rerefines and not is_spread
        return self.config.sampler.workers if shares else 1

    def _run_processes(self, name: str, iteration: int) -> None:
        count = self.processes_of(name)
        logs = [self._log(name, iteration, index) for index in range(count)]
        before = [log.stat().st_size if log.exists() else 0 for log in logs]
        processes = [self._start(name, iteration, index, count) for index in range(count)]
        try:
            self._wait(processes, before, name, iteration)
        finally:
            for process in processes:
                if process.poll() is None and stage_launcher(self.config, name):
                    process.terminate()  # so that it ends what it started elsewhere
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(LAUNCHER_SECONDS)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait()

    def _start(self, name: str, iteration: int, index: int, count: int) -> subprocess.Popen:
        log = open(self._log(name, iteration, index), "ab")
        launcher = stage_launcher(self.config, name)  # elsewhere no process can watch this one
        with log:
            return subprocess.Popen(
                [
                    *launcher, stage_python(self.config, name), "-m", "lpd_core", "stage", self.folder.run_id, name,
                    str(iteration), "--shard", f"{index}/{count}", "--driver", str(0 if launcher else os.getpid()),
                ],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**stage_environment(self.config), "LPD_HOME": str(self.store.home)},
            )  # fmt: skip

    def _wait(self, processes: list[subprocess.Popen], before: list[int], name: str, iteration: int) -> None:
        due = time.monotonic() + INGEST_SECONDS
        while True:
            codes = [process.poll() for process in processes]
            failed = [index for index, code in enumerate(codes) if code not in (None, 0)]
            if failed:
                told = self._told(name, iteration, failed[0], before[failed[0]])
                raise self._failure(name, iteration, failed[0], codes[failed[0]], told)
            if all(code == 0 for code in codes):
                return
            self.watch(name, iteration)
            if time.monotonic() > due:
                began = time.monotonic()
                with suppress(DatabaseBusy):  # segments are safe; the next time tries again
                    run_table.ingest(self.store, self.folder)
                due = time.monotonic() + pause_after(time.monotonic() - began)
            time.sleep(0.05)

    def _told(self, name: str, iteration: int, index: int, since: int) -> list[str]:
        """What a process has written to its log since it was started."""
        data = self._log(name, iteration, index).read_bytes()[since:]
        return data.decode("utf-8", "replace").splitlines()

    def _failure(self, name: str, iteration: int, index: int, code: int | None, lines: list[str]) -> LpdError:
        log = self._log(name, iteration, index)
        told = [line for line in lines if line.startswith("error: ")]
        if code == EXIT_INTERRUPTED and told:
            return Interrupted(told[-1].removeprefix("error: "))
        if code == 2 and told:
            return UserError(told[-1].removeprefix("error: "))
        if code is not None and code < 0:
            ended = signal.Signals(-code).name
            hint = "; the machine may have run out of memory" if ended == "SIGKILL" else ""
            return Interrupted(f"stage {name} of iteration {iteration} was ended by {ended}{hint}; see {log}")
        said = [line for line in lines if line.strip()]
        last = told[-1].removeprefix("error: ") if told else (said[-1] if said else "no output")
        return StageFailed(f"stage {name} of iteration {iteration} failed: {last}; see {log}")

    def _log(self, name: str, iteration: int, index: int):
        suffix = f"-{index}" if index else ""
        return self.folder.logs / f"{iteration:03d}-{name}{suffix}.log"


def pause_after(seconds: float) -> float:
    """Seconds until the next ingestion after one that took so long.

    DuckDB writes the last, unfinished group of a table's rows again with every commit, and the pages of the keys that are
    new: the cost goes up and down, and grows with the rows. So its share of the time is kept, not its period."""
    return min(max(INGEST_SECONDS, seconds / INGEST_SHARE), INGEST_SECONDS_MOST)


def execution_of(store: Store, folder: RunFolder, inline: bool = False, **options: Any) -> Execution:
    """The execution of a run as its folder configures it."""
    config = folder.config()
    return Execution(store, folder, config, build_parts(config, store.cache), inline, **options)


def work_as_stage(
    store: Store, run_id: str, name: str, iteration: int, shard: tuple[int, int], driver: int
) -> None:
    """The body of a stage process: do this shard's work, and end at once when the driver has died."""
    if driver:
        end_with(driver)
    folder = store.run(run_id)
    with folder.staging():
        STAGES[name].run(execution_of(store, folder).stage(name, iteration, shard))


def end_with(parent: int) -> None:
    """End this process at once when the one that started it has died: a dead driver cannot ingest, and a resume must not
    meet its stages; a timing that was given up must not go on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(EXIT_INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC)
