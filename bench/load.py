"""An E-step of 100,000 prompts with the scripted sampler, as a run does it: a driver and a stage process, committed
segments, the database.

`python -m bench.load [--prompts 100000]`. For each tenth: CPU milliseconds a prompt of the stage (drafting to committing
segments), CPU milliseconds a second of the driver (which takes new segments into the database for a bounded share of its
time), the memory of both, and the database's size. CPU and not wall seconds, since other work on the machine disturbs
them least. Fails where the last tenth costs the stage more than 10 % above the first, the last three the driver more than
the first three (a commit is an event of every few seconds), or the stage's memory grows by more than that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from lpd_core import jobs
from lpd_core.config import load_config
from lpd_core.events import Progress
from lpd_core.store import RunFolder, Store

TENTHS, FEW = 10, 3
BAR = 1.10
TOPICS = "rivers bread engines violins harbours orchards lanterns glaciers letters bridges".split()


@dataclass(frozen=True, slots=True)
class Look:
    """What the processes of a run had used when so many prompts were done: CPU seconds, bytes."""

    done: int
    wall: float
    stage_cpu: float
    driver_cpu: float
    stage_memory: int
    driver_memory: int
    database: int


def write_prompts(path: Path, count: int) -> None:
    """Different prompts of about 40 words with golds of about 30, from a vocabulary of some thousand words."""
    with open(path, "w", encoding="utf-8") as file:
        for n in range(count):
            name = f"{n // 1000} {n % 1000}"
            topic, other = TOPICS[n % 10], TOPICS[n // 10 % 10]
            words = " ".join(f"{other} {(n * 7 + k) % 5000}" for k in range(15))
            row = {
                "prompt": f"Question {name}: what would somebody who keeps {topic} have to know of {words}?",
                "gold": f"Whoever keeps {topic} knows of {words}, of {topic} and of {other} number {name}, and says why.",
                "split": "train" if n < count - 20 else "dev",
            }
            file.write(json.dumps(row) + "\n")


def start(home: Path, prompts: int) -> RunFolder:
    """The run, at work; it evaluates 8 prompts and then mines."""
    data = home / "load.jsonl"
    home.mkdir(parents=True, exist_ok=True)
    write_prompts(data, prompts + 20)
    settings = [
        f"data.train=[{json.dumps(str(data))}]",
        f"data.dev=[{json.dumps(str(data))}]",
        "data.test=[]",
        f"data.prompts_per_iteration=[{prompts}]",
        "data.heldout_limit=8",
        "iterations=1",
        "e_step.chunk_prompts=16",
    ]
    store = Store(home)
    folder = jobs.create_run(store, load_config("smoke", assignments=settings))
    jobs.start(store, folder.run_id)
    return folder


def look(folder: RunFolder, done: int, began: float) -> Look | None:
    """The processes now; None between two stages."""
    try:
        driver = psutil.Process(folder.driver_pid())
        stage = driver.children()[0]
        own, worker = driver.cpu_times(), stage.cpu_times()
        database = folder.root.parent.parent / "lpd.duckdb"
        return Look(
            done,
            time.monotonic() - began,
            worker.user + worker.system,
            own.user + own.system,
            stage.memory_info().rss,
            driver.memory_info().rss,
            database.stat().st_size,
        )
    except (psutil.Error, IndexError, OSError):
        return None


def watch(folder: RunFolder, prompts: int) -> list[Look]:
    """A look when the first chunk is done and at each tenth of the E-step, the last one just before its end."""
    looks: list[Look] = []
    latest: Look | None = None
    offset, done, total, began = 0, 0, prompts, time.monotonic()
    while done < total:
        events, offset = folder.events(offset)
        found = [each for _, each in events if isinstance(each, Progress) and each.stage == "e_step"]
        done, total = (found[-1].done, found[-1].total) if found else (done, total)
        if done and folder.state().stage == "e_step":
            latest = look(folder, done, began) or latest
        if latest and latest.done >= (len(looks) * prompts / TENTHS or 1):
            looks.append(latest)
        if folder.state().status not in ("queued", "running", "finished"):
            sys.exit(f"the run ended: {folder.state()}")
        time.sleep(0.05)
    return looks if len(looks) > TENTHS or latest is None else [*looks, latest]


def show(looks: list[Look]) -> tuple[float, float]:
    """A line a tenth; the stage's cost in the last tenth over the first's, the driver's in the last three over the
    first three's."""
    heads = ("prompts", "stage CPU", "driver CPU", "wall", "stage", "driver", "database")
    units = ("done", "ms a prompt", "ms a second", "ms a prompt", "MiB", "MiB", "MiB")
    for cells in (heads, units):
        print("".join(f"{cell:>12}" for cell in cells))
    stages, drivers = [], []
    for before, after in itertools.pairwise(looks):
        prompts, seconds = (after.done - before.done) / 1000, after.wall - before.wall
        stage = (after.stage_cpu - before.stage_cpu) / prompts
        driver = 1000 * (after.driver_cpu - before.driver_cpu) / seconds
        stages.append(stage)
        drivers.append(driver)
        memory = "".join(
            f"{n / 2**20:>12.0f}" for n in (after.stage_memory, after.driver_memory, after.database)
        )
        print(f"{after.done:>12,}{stage:>12.2f}{driver:>12.0f}{seconds / prompts:>12.2f}{memory}", flush=True)
    return stages[-1] / stages[0], sum(drivers[-FEW:]) / sum(drivers[:FEW])


def main() -> None:
    """Run, look, and compare the last tenth with the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = start(Path(home), options.prompts)
        try:
            looks = watch(folder, options.prompts)
        finally:
            if folder.is_driven():
                jobs.stop(Store(Path(home)), folder.run_id, seconds=120)
    stage, driver = show(looks)
    memory = looks[-1].stage_memory / looks[1].stage_memory
    print(
        f"E-step of {options.prompts:,} prompts, scripted: in the last tenth a prompt costs the stage {stage:.2f} times "
        f"the first tenth's, in the last three tenths committing costs the driver {driver:.2f} times the first three's, "
        f"the stage holds {memory:.2f} times the memory (bars {BAR})"
    )
    if max(stage, driver, memory) > BAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
