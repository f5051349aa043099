"""Kill -9 of a run's driver, of a stage or of the server at random moments, a disk that is full from a random moment
on, resume, and compare with the uninterrupted run.

The long form on the shipped model: `python -m tests.faults.kills --preset demo --kills 36 --write` (an hour or two),
which puts its figures into docs/reliability.md. The full disk is one in memory, which only root can mount.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

from lpd_core.events import StageFinished
from lpd_core.store import RunFolder
from tests.faults.disks import filled, mounted
from tests.faults.document import rewrite, section

PROJECT = Path(__file__).resolve().parent.parent.parent
TIMES = {"at", "created_at", "started_at", "finished_at", "ingested_at"}
TABLES = (
    "assignments candidates cluster_members clusters constitution_edits constitution_versions datasets drafts "
    "evaluations iterations merges metrics principle_coordinates principles prompts runs segments training_rows"
).split()


def call(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command line in a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lpd_core", *arguments],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(home)},
        capture_output=True,
        text=True,
    )


def snapshot(home: Path) -> dict[str, list[str]]:
    """Every table's rows as sorted JSON, without times, seconds and the home's path."""
    from lpd_core.store import Store

    return {table: _rows(Store(home), home, table) for table in TABLES}


def _rows(store, home: Path, table: str) -> list[str]:
    where = " where name <> 'tokens_per_second'" if table == "metrics" else ""
    rows = store.database.query(f"select * from {table}{where}")
    return sorted(
        json.dumps(
            {k: _timeless(v) for k, v in row.items() if k not in TIMES}, default=str, sort_keys=True
        ).replace(str(home), "HOME")
        for row in rows
    )


def _timeless(value):
    """JSON columns without the seconds and dates in them."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return _strip(json.loads(value))
        except ValueError:
            return value
    return value


def _strip(value):
    if isinstance(value, dict):
        return {
            k: _strip(v) for k, v in value.items() if k not in {*TIMES, "seconds", "sampling", "revision"}
        }
    return [_strip(item) for item in value] if isinstance(value, list) else value


def wait_until_settled(home: Path, folder: RunFolder, patience: float = 300.0) -> str:
    """The run's status once nothing drives it."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        status = folder.state().status
        if not folder.is_driven() and status not in ("queued", "running"):
            return status
        time.sleep(0.05)
    raise TimeoutError(f"the run in {home} did not settle; it says {folder.state()}")


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """When to kill: so many seconds after the run has come to the stage at this place of its order."""

    place: int
    seconds: float


def course(home: Path) -> list[tuple[int, str, float]]:
    """The stages that the only run of a home went through, with how long each took."""
    events, _ = run_folder(home).events()
    return [
        (each.iteration, each.stage, each.seconds) for _, each in events if isinstance(each, StageFinished)
    ]


def moments(stages: list[tuple[int, str, float]], kills: int, seed: int) -> list[Moment]:
    """Random moments of a run: one in every stage as far as the kills go round, the others anywhere."""
    dice = random.Random(seed)
    each = dice.sample(range(len(stages)), min(kills, len(stages)))
    lengths = [seconds for _, _, seconds in stages]
    more = dice.choices(range(len(stages)), lengths, k=kills - len(each))
    return sorted(Moment(place, dice.uniform(0, lengths[place])) for place in (*each, *more))


class Clock:
    """How far a run is: the place of its stage and the seconds since this process saw it there."""

    def __init__(self, folder: RunFolder, stages: list[tuple[int, str, float]]):
        self.folder = folder
        self.places = {(iteration, stage): place for place, (iteration, stage, _) in enumerate(stages)}
        self.place, self.since = -1, time.monotonic()

    def wait_for(self, moment: Moment) -> bool:
        """Wait until the run is as far, or farther; False when it has settled before."""
        while self.folder.state().status in ("queued", "running"):
            state = self.folder.state()
            place = self.places.get((state.iteration, state.stage), -1)
            if place > self.place:
                self.place, self.since = place, time.monotonic()
            if (self.place, time.monotonic() - self.since) >= (moment.place, moment.seconds):
                return True
            time.sleep(0.05)
        return False


def run_folder(home: Path) -> RunFolder:
    """The folder of a home's only run."""
    return RunFolder(next(path for path in (home / "runs").iterdir() if not path.name.startswith(".")))


def kill_one(folder: RunFolder, target: str, dice: random.Random) -> bool:
    """Kill -9 the driver, or one of its stage processes once there is one; False when the run ended before."""
    try:
        driver = psutil.Process(folder.state().pid)
        while folder.state().status in ("queued", "running"):
            victims = [driver] if target == "driver" else driver.children()
            if victims:
                os.kill(dice.choice(victims).pid, signal.SIGKILL)
                return True
            time.sleep(0.02)
    except (psutil.Error, ProcessLookupError):
        pass
    return False


def run_with_kills(home: Path, start: list[str], target: str, plan: list[Moment], stages: list) -> int:
    """Run, killing the driver or a stage at each moment of the plan and resuming; the number of kills."""
    dice = random.Random(len(plan))

    def kill(folder: RunFolder) -> bool:
        killed = kill_one(folder, target, dice)
        wait_until_settled(home, folder)
        return killed

    return run_with(kill, home, start, plan, stages)


def run_with_full_disks(home: Path, start: list[str], plan: list[Moment], stages: list) -> int:
    """Run in a home on a small disk, filling it at each moment of the plan, making room once the run has ended of it,
    and resuming; how often it was filled while the run went on."""

    def fill(folder: RunFolder) -> bool:
        with filled(home):
            status = wait_until_settled(home, folder)
        assert status in ("interrupted", "finished"), folder.state()
        return status == "interrupted"

    return run_with(fill, home, start, plan, stages)


def run_with(
    harm: Callable[[RunFolder], bool], home: Path, start: list[str], plan: list[Moment], stages: list
) -> int:
    """Run, doing harm that ends the run at each moment of the plan and resuming; how often it was done.

    A moment counts from the harm before it in the same stage: what was committed by then is not done again."""
    assert call(home, "run", *start, "--detach").returncode == 0
    folder, killed, before = run_folder(home), 0, Moment(-1, 0.0)
    for moment in plan:
        beside = moment.seconds - before.seconds if moment.place == before.place else moment.seconds
        if not Clock(folder, stages).wait_for(Moment(moment.place, beside)):
            break
        killed += harm(folder)
        before = moment
        if wait_until_settled(home, folder) == "finished":
            break
        resume(home)
    while wait_until_settled(home, folder, patience=3600) != "finished":
        resume(home)
    return killed


def resume(home: Path) -> None:
    """Go on with the only run of a home."""
    told = call(home, "resume", "last", "--detach")
    assert told.returncode == 0, told.stderr


def run_with_server_kills(home: Path, start: list[str], plan: list[Moment], stages: list) -> int:
    """Run beside a dashboard, its page of the run open in a browser where there is one, that is killed and started
    again at each moment of the plan; the number of kills while the run went on. It must finish without a resume."""
    from tests.e2e.server import Server

    server, killed, browser = Server(home), 0, None
    server.start()
    try:
        assert call(home, "run", *start, "--detach").returncode == 0
        folder = run_folder(home)
        browser = watch(f"{server.url}/runs?run={folder.run_id}", home / "browser")
        clock = Clock(folder, stages)
        for moment in plan:
            if not clock.wait_for(moment):
                break
            server.process.kill()
            killed += folder.state().status == "running"
            server.process.wait()
            server.start()
        assert wait_until_settled(home, folder, patience=3600) == "finished"
    finally:
        server.stop()
        if browser:
            browser.kill()
            browser.wait()
    return killed


def watch(address: str, profile: Path) -> subprocess.Popen | None:
    """A browser without a window on a page, which connects again when the server is back; None without chromium."""
    from tests.e2e.server import CHROMIUM, FLAGS

    if CHROMIUM is None:
        return None
    headless = ("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}")
    return subprocess.Popen(
        [CHROMIUM, *FLAGS, *headless, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def compare(whole: dict[str, list[str]], resumed: dict[str, list[str]]) -> list[str]:
    """The tables that differ, with how."""
    found = []
    for table in TABLES:
        missing = set(whole[table]) - set(resumed[table])
        more = set(resumed[table]) - set(whole[table])
        doubled = len(resumed[table]) - len(set(resumed[table]))
        if missing or more or doubled or len(whole[table]) != len(resumed[table]):
            found.append(f"{table}: {len(missing)} missing, {len(more)} other, {doubled} doubled")
    return found


DISK = "1g"
TARGETS = {
    "driver": "the driver killed",
    "stage": "a stage process killed",
    "server": "the server killed",
    "disk": "the disk filled to the last byte",
}
HEAD = (
    "| what was done | times | in so many stages | rows | lost or changed | doubled "
    "| seconds until finished | undisturbed | seed |"
)
RULE = "|---" * 9 + "|"


@dataclass(frozen=True, slots=True)
class Form:
    """What the long form does: how a run is started, what an undisturbed one came to and took, how often to kill."""

    start: list[str]
    seconds: float
    stages: list[tuple[int, str, float]]
    expected: dict[str, list[str]]
    kills: int
    seed: int


def harmed_row(target: str, home: Path, form: Form) -> str:
    """A run of which `target` was killed, or whose disk was filled, as a line of the table. Ends the program where a
    row differs."""
    plan = moments(form.stages, form.kills, form.seed)
    began = time.monotonic()
    with mounted(home, f"size={DISK}") if target == "disk" else nullcontext():
        if target == "disk":
            killed = run_with_full_disks(home, form.start, plan, form.stages)
        elif target == "server":
            killed = run_with_server_kills(home, form.start, plan, form.stages)
        else:
            killed = run_with_kills(home, form.start, target, plan, form.stages)
        seconds = time.monotonic() - began
        found = snapshot(home)
    lost = sum(len(set(form.expected[table]) ^ set(found[table])) for table in TABLES)
    doubled = sum(len(found[table]) - len(set(found[table])) for table in TABLES)
    different = compare(form.expected, found)
    print(f"{target}, {killed} times in {seconds:.0f} s: {different or 'the same rows'}", flush=True)
    if different:
        sys.exit(1)
    places = len({moment.place for moment in plan[:killed]})
    rows = sum(map(len, found.values()))
    return (
        f"| {TARGETS[target]} | {killed} | {places} | {rows} | {lost} | {doubled} "
        f"| {seconds:.0f} | {form.seconds:.0f} | {form.seed} |"
    )


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--set", action="append", default=[], help="a setting over the preset")
    parser.add_argument("--kills", type=int, default=36, help="of each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; may be repeated")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = ["--preset", options.preset, *(word for each in options.set for word in ("--set", each))]
        whole = Path(folder) / "whole"
        began = time.monotonic()
        told = call(whole, "run", *start)
        assert told.returncode == 0, told.stderr
        seconds = time.monotonic() - began
        print(f"undisturbed in {seconds:.0f} s", flush=True)
        form = Form(start, seconds, course(whole), snapshot(whole), options.kills, options.seed)
        rows: dict[str, str] = {}
        for target in options.target or TARGETS:
            rows[target] = harmed_row(target, Path(folder) / target, form)
            if options.write:  # at once: the next hour may be cut short
                rewrite("kills", table_of(form, {**earlier_rows(form, section("kills")), **rows}))
    print(table_of(form, rows))


def head_of(form: Form) -> str:
    """What was run."""
    return f"`run {' '.join(form.start)}`, {len(form.stages)} stages, {os.cpu_count()} CPUs:"


def table_of(form: Form, rows: dict[str, str]) -> str:
    """What was run, and the table."""
    in_order = (rows[target] for target in TARGETS if target in rows)
    return "\n".join((head_of(form), "", HEAD, RULE, *in_order))


def earlier_rows(form: Form, told: str) -> dict[str, str]:
    """The lines of a table, by target; none where something else was run."""
    if not told.startswith(head_of(form)):
        return {}
    lines = {line.split("|")[1].strip(): line for line in told.splitlines() if line.startswith("| ")}
    return {target: lines[words] for target, words in TARGETS.items() if words in lines}


if __name__ == "__main__":
    main()
