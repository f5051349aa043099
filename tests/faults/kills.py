"""Kill -9 of a run's driver, of a stage or of the server at random moments, resume, and compare with the
uninterrupted run.

The long form on the shipped model: `python -m tests.faults.kills --preset demo --kills 34 --write` (an hour or two),
which puts its figures into docs/reliability.md.
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
from pathlib import Path

import psutil

from tests.faults.document import rewrite

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


def wait_until_settled(home: Path, seconds: float = 1800) -> str:
    """The run's status once nothing drives it."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        told = json.loads(call(home, "status", "last", "--json").stdout)
        if not told["driven"] and told["status"] not in ("queued", "running"):
            return told["status"]
        time.sleep(0.2)
    raise TimeoutError(f"the run in {home} did not settle")


def kill_one(home: Path, target: str, dice: random.Random) -> bool:
    """Kill -9 the driver, or one of its stage processes once there is one; False when the run ended before."""
    state = json.loads((next((home / "runs").iterdir()) / "state.json").read_text())
    try:
        driver = psutil.Process(state["pid"])
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            victims = [driver] if target == "driver" else driver.children()
            if victims:
                os.kill(dice.choice(victims).pid, signal.SIGKILL)
                return True
            time.sleep(0.05)
    except (psutil.Error, ProcessLookupError):
        pass
    return False


def run_with_kills(home: Path, start: list[str], target: str, kills: int, span: float, seed: int) -> int:
    """Run, killing `kills` times at random moments within `span` seconds of each (re)start; the number of kills."""
    dice = random.Random(seed)
    assert call(home, "run", *start, "--detach").returncode == 0
    killed = 0
    while True:
        if killed < kills:
            time.sleep(dice.uniform(0, span))
            killed += kill_one(home, target, dice)
        if wait_until_settled(home) == "finished":
            return killed
        told = call(home, "resume", "last", "--detach")
        assert told.returncode == 0, told.stderr


def run_with_server_kills(home: Path, start: list[str], kills: int, span: float, seed: int) -> int:
    """Run beside a dashboard that is killed and started again at random moments; the number of kills. The run must
    finish without a resume."""
    from tests.e2e.server import Server

    dice = random.Random(seed)
    server = Server(home)
    server.start()
    try:
        assert call(home, "run", *start, "--detach").returncode == 0
        for _ in range(kills):
            time.sleep(dice.uniform(0, span))
            server.process.kill()
            server.process.wait()
            server.start()
        assert wait_until_settled(home) == "finished"
    finally:
        server.stop()
    return kills


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


HEAD = "| killed | times | seconds until finished | rows | lost or changed | doubled |\n|---|---|---|---|---|---|"


def killed_row(
    target: str, folder: Path, start: list[str], expected: dict, options: argparse.Namespace
) -> str:
    """One line of the table: a run of which `target` was killed. Ends the program where any row differs."""
    home = folder / target
    kill = (options.kills, options.span, options.seed)
    began = time.monotonic()
    beside = target == "server"
    killed = (
        run_with_server_kills(home, start, *kill) if beside else run_with_kills(home, start, target, *kill)
    )
    seconds = time.monotonic() - began
    found = snapshot(home)
    lost = sum(len(set(expected[table]) ^ set(found[table])) for table in TABLES)
    doubled = sum(len(found[table]) - len(set(found[table])) for table in TABLES)
    rows = sum(map(len, found.values()))
    different = compare(expected, found)
    print(f"{killed} kills of the {target}, seed {options.seed}: {different or 'the same rows'}", flush=True)
    if different:
        sys.exit(1)
    return f"| {target} | {killed} | {seconds:.0f} | {rows} | {lost} | {doubled} |"


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--set", action="append", default=[], help="a setting over the preset")
    parser.add_argument("--kills", type=int, default=34, help="of each: driver, stage, server")
    parser.add_argument("--span", type=float, default=20.0, help="most seconds between a start and a kill")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = ["--preset", options.preset, *(word for each in options.set for word in ("--set", each))]
        whole = Path(folder) / "whole"
        told = call(whole, "run", *start)
        assert told.returncode == 0, told.stderr
        expected = snapshot(whole)
        rows = [
            killed_row(target, Path(folder), start, expected, options)
            for target in ("driver", "stage", "server")
        ]
    words = " ".join(start[1:])
    table = f"`{words}`, seed {options.seed}, {os.cpu_count()} CPUs:\n\n{HEAD}\n" + "\n".join(rows)
    print(table)
    if options.write:
        rewrite("kills", table)


if __name__ == "__main__":
    main()
