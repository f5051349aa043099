"""All benchmarks one after the other: `make bench`, or `python -m bench NAME ...` for some.

`--write` puts what each prints into docs/performance.md, with the machine, the day and the commit. Without names the
long ones are left out: `--long` takes them too.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lpd_core.config import PROJECT
from lpd_core.errors import suggest
from tests.faults.document import rewrite

DOCUMENT = PROJECT / "docs" / "performance.md"
NAMES = {
    "scoring": "bench.scoring",
    "sampler": "bench.sampler",
    "samplers": "bench.samplers",
    "e_step": "bench.e_step",
    "fleet": "bench.fleet",
    "ingest": "bench.ingest",
    "ray": "bench.ray",
    "training": "bench.training",
    "clustering": "bench.clustering",
    "constitution": "bench.constitution",
    "gate": "bench.gate",
    "load": "bench.load",
    "pages": "bench.pages",
    "growth": "bench.pages --growth",
    "browsers": "bench.pages --e-step --browsers 10",
    "demo": "bench.demo",
}
"""Each benchmark's module, with its options."""
LONG = ("ray", "clustering", "load", "pages", "growth", "browsers", "demo")
"""Minutes each."""


def machine() -> str:
    """The processor, its cores, the memory and the Python, in words."""
    model = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    if told.is_file():
        lines = told.read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def commit() -> str:
    """The commit that is measured."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=PROJECT, capture_output=True, text=True
    )
    return told.stdout.strip() or "unknown"


def run(name: str) -> tuple[int, str]:
    """Run one benchmark in a process of its own, printing what it prints: its exit code and that text."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-u", "-m", *NAMES[name].split()], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    return process.returncode, "\n".join(lines)


def section(name: str, text: str, code: int, seconds: float, load: float) -> str:
    """What stands in the document of one benchmark."""
    ended = "" if not code else f" **It ended with {code}: a bar was missed or it could not run.**"
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {machine()}; load {load:.1f} when it began, "
        f"{seconds:.0f} s.{ended}"
    )
    return f"{head}\n\n```text\n{text}\n```"


def main() -> None:
    """Run the named benchmarks, or all that are not long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--long", action="store_true", help=f"also those that take minutes: {', '.join(LONG)}"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; {suggest(name, NAMES)}")
    print(machine())
    failed = []
    for name in options.names or [name for name in NAMES if options.long or name not in LONG]:
        print(f"\n== {name}", flush=True)
        load, began = os.getloadavg()[0], time.monotonic()
        code, text = run(name)
        if code:
            failed.append(name)
        if options.write:
            rewrite(name, section(name, text, code, time.monotonic() - began, load), DOCUMENT)
    if failed:
        sys.exit(f"error: benchmarks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
