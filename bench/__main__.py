"""All benchmarks one after the other: `make bench`, or `python -m bench NAME ...` for some."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys

from lpd_core.errors import suggest

NAMES = (
    "scoring",
    "sampler",
    "samplers",
    "e_step",
    "fleet",
    "ray",
    "training",
    "clustering",
    "constitution",
    "gate",
    "pages",
    "demo",
)


def main() -> None:
    """Run the named benchmarks, or all, each in a process of its own."""
    wanted = sys.argv[1:] or list(NAMES)
    for name in wanted:
        if name not in NAMES:
            sys.exit(f"error: no benchmark {name!r}; {suggest(name, NAMES)}")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    failed = []
    for name in wanted:
        importlib.import_module(f"bench.{name}")
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"error: benchmarks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
