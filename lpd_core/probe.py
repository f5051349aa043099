"""How fast and how large a run will be, measured: its first prompts go through one iteration in a home of its own.

Everything is as in the run itself (sampler, interpreter, processes, data types), only the prompts are few, so a
sampler that batches may be faster in the run than its probe tells.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpd_core import jobs, machine
from lpd_core.config import RunConfig, parse_config
from lpd_core.costs import generations_of_prompt
from lpd_core.errors import UserError
from lpd_core.store import RunFolder, Store
from lpd_core.types import Example

PROMPTS = 8
LOOK_SECONDS = 0.5
SAMPLES_OF_HELD = 3  # y1, z, y2
PREFIX = "probe-"
STALE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What the probe measured. Rates are of the work alone; `starting` are the seconds of an iteration in which
    stages load their libraries and the model. Peaks are bytes, of all processes of the run and of all GPUs."""

    prompts: int
    generations: int
    tokens_of_generation: float
    seconds_of_generation: float
    tokens_per_second: float
    trained_rows: int
    seconds_of_row: float
    starting: float
    peak_memory: int
    peak_gpu_memory: int

    def facts(self, config: RunConfig, mined: int, held: int) -> dict[str, Any]:
        """The run's time in seconds by stage, its sampled tokens and peak memory, were all prompts as the probe's."""
        sampled = mined * generations_of_prompt(config)
        measured = SAMPLES_OF_HELD * held * (config.iterations + 1)
        rows = mined * self.trained_rows / self.prompts
        stages = {
            "e_step": sampled * self.seconds_of_generation,
            "m_step": rows * config.m_step.epochs * self.seconds_of_row,
            "evaluate": measured * self.seconds_of_generation,
            "starting": self.starting * config.iterations,
        }
        return {
            "seconds": round(sum(stages.values()), 1),
            "stages": {name: round(value, 1) for name, value in stages.items()},
            "tokens": round((sampled + measured) * self.tokens_of_generation),
            "prompts": self.prompts,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "peak_memory_bytes": self.peak_memory,
            "peak_gpu_memory_bytes": self.peak_gpu_memory,
        }


def run_probe(config: RunConfig, examples: Sequence[Example], home: Path, prompts: int = PROMPTS) -> Probe:
    """Run one iteration on the first of the examples; nothing of it stays. Raises `UserError` where it fails, with the
    reason, or where no prompt gains, so that there is nothing to train on."""
    few = examples[:prompts]
    place = machine.existing(home)
    _sweep(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as scratch:
        store = Store(Path(scratch))
        folder = jobs.create_run(store, _small(config, few, Path(scratch) / "probe.jsonl"))
        jobs.start(store, folder.run_id, attached=True)
        peak, peak_gpu = _watch(folder)
        state = folder.state()
        if state.status != "finished":
            raise UserError(f"the probe {state.status}: {state.error or 'it left no reason'}")
        return _measured(store, config, len(few), peak, peak_gpu)


def _sweep(place: Path) -> None:
    """Remove what timings left that were killed long ago."""
    for left in place.glob(f"{PREFIX}*"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS and not any(
            RunFolder(run).is_driven() for run in left.glob("runs/*")
        ):
            shutil.rmtree(left, ignore_errors=True)


def _small(config: RunConfig, few: Sequence[Example], file: Path) -> RunConfig:
    """The configuration of the probe, whose data is in files; what it measures on one question is thrown away."""
    file.write_text(
        "".join(json.dumps({"messages": list(e.messages), "gold": e.gold}) + "\n" for e in few),
        encoding="utf-8",
    )
    held = file.with_name("held.jsonl")
    held.write_text(
        json.dumps({"messages": [{"role": "user", "content": "How do you do?"}], "gold": "Fine."}) + "\n",
        encoding="utf-8",
    )
    tree = config.model_dump(mode="json")
    tree |= {"iterations": 1, "review": False, "name": "probe"}
    tree["data"] = {
        "train": [str(file)], "dev": [str(held)], "test": [], "prompts_per_iteration": [len(few)], "heldout_limit": 1,
    }  # fmt: skip
    tree["m_step"]["report_to"] = "none"
    return parse_config(tree)


def _watch(folder: RunFolder) -> tuple[int, int]:
    """Wait for the run's end; the most memory in bytes that its processes held together, and more than before on GPUs."""
    peak, peak_gpu = 0, 0
    before = _gpu_memory()
    try:
        while folder.is_driven() or folder.state().status in ("queued", "running"):
            peak = max(peak, _memory(folder.state().pid))
            peak_gpu = max(peak_gpu, _gpu_memory() - before)
            time.sleep(LOOK_SECONDS)
    except BaseException:
        jobs.stop(Store(folder.root.parent.parent), folder.run_id)
        raise
    return peak, peak_gpu


def _memory(pid: int | None) -> int:
    import psutil

    total = 0
    try:
        driver = psutil.Process(pid)
        for process in (driver, *driver.children(recursive=True)):
            total += process.memory_info().rss
    except (psutil.Error, ValueError, TypeError):
        return total  # a process ended while it was looked at
    return total


def _gpu_memory() -> int:
    return sum(gpu.memory_used for gpu in machine.find_gpus())


def _measured(store: Store, config: RunConfig, prompts: int, peak: int, peak_gpu: int) -> Probe:
    row = store.database.query("select summary from iterations where iteration = 1")[0]
    summary = json.loads(row["summary"])
    sampling = summary["sampling"].get("e_step", {})
    rows = summary["relabel"]["training_rows"]
    if not rows or not sampling.get("tokens"):
        raise UserError("no prompt of the probe gained, so there is nothing to train on; probe more prompts")
    generations = prompts * generations_of_prompt(config)
    # The processes of a stage sample side by side, and each tells the seconds of its own work.
    seconds = sampling["sampling"] / min(config.sampler.workers, prompts)
    trained = _training_seconds(store)
    stages = sum(summary[name]["seconds"] for name in ("e_step", "cluster", "relabel", "m_step", "evaluate"))
    return Probe(
        prompts=prompts,
        generations=generations,
        tokens_of_generation=sampling["tokens"] / generations,
        seconds_of_generation=seconds / generations,
        tokens_per_second=sampling["tokens"] / seconds,
        trained_rows=rows,
        seconds_of_row=trained / (rows * config.m_step.epochs),
        starting=max(0.0, stages - seconds - trained),
        peak_memory=peak,
        peak_gpu_memory=peak_gpu,
    )


def _training_seconds(store: Store) -> float:
    """The seconds of the optimiser's steps, from each step's tokens and rate."""
    rows = store.database.query(
        """with steps as (
               select step, max(value) filter (where name = 'tokens') tokens,
                      max(value) filter (where name = 'tokens_per_second') rate
               from metrics where iteration = 1 and stage = 'm_step' group by step)
           select coalesce(sum((tokens - before) / rate), 0) as seconds
           from (select *, lag(tokens, 1, 0) over (order by step) before from steps) where rate > 0"""
    )
    return float(rows[0]["seconds"])
