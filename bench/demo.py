"""The demo run as a whole: wall time, CPU time and peak memory of three iterations; `python -m bench.demo`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time

import psutil


def main() -> dict[str, float]:
    """Run `run --preset demo` in a home of its own, watching the memory of all its processes together."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LPD_HOME": home}
        started = time.monotonic()
        command = [sys.executable, "-m", "lpd_core", "run", "--preset", "demo", "--detach", "--json"]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        import json

        driver = psutil.Process(json.loads(told.stdout)["pid"])
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(driver, peak), daemon=True)
        watcher.start()
        watcher.join()
        wall = time.monotonic() - started
        report = subprocess.run(
            [sys.executable, "-m", "lpd_core", "report", "last"],
            env=environment,
            capture_output=True,
            text=True,
        )
    print(report.stdout)
    print(
        f"demo: {wall:.0f} s wall for three iterations with evaluation on {os.cpu_count()} cores (bar 360), load "
        f"{os.getloadavg()[0]:.1f}; peak memory {peak[0] / 2**30:.2f} GiB over all processes (bar 3)"
    )
    return {"seconds": wall, "peak_gib": peak[0] / 2**30}


def _watch(driver: psutil.Process, peak: list[int]) -> None:
    """Proportional set size, so that pages shared by two workers count once."""
    while True:
        total = 0
        try:
            if driver.status() == psutil.STATUS_ZOMBIE:
                return
            for process in [driver, *driver.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
        except psutil.NoSuchProcess:
            return
        peak[0] = max(peak[0], total)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
