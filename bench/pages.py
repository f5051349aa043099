"""The dashboard under load, in a real headless browser: first paint, an interaction a page, the server's memory, and
what watching browsers cost a running E-step.

Run from the project's folder: python -m bench.pages [--home HOME] [--only PAGE ...] [--growth]
[--e-step [--browsers 10]].
Without `--home` a store of 1,000,000 candidates, 100,000 principles, 500 clusters and 20 runs is made first
(bench.big_store). `cold` opens the page in a new browser profile on a server that was just started; `warm` in a new
profile on the same server. Times are seconds by the clock from the navigation to the page's first own content (a table,
a chart, an entry or its own figures, not its title); an interaction is counted until the page has settled. The browsers
run on the same machine as the server. The first line is a page of one text field, served by the same Streamlit: what no
page can be faster than.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.big_store import build
from tests.e2e.server import CHROMIUM, FLAGS, PROJECT, Server, settle

MAIN = "[data-testid=stMain]"
CONTENT = ", ".join(
    f"{MAIN} {each}:visible"
    for each in (
        "[data-testid=stDataFrame]",
        ".js-plotly-plot .main-svg",
        "[data-testid=stMetric]",
        "[data-testid=stForm]",
        ".lpd-text",
        ".lpd-figures",
        "[data-testid=stTextInput]",
        "[data-testid=stSelectbox]",
    )
)
"""What counts as a page's own content."""
TRAINED = ("playground", "compare")
"""Pages that need a trained model; the others are shown for the newest run, which holds half of all rows."""
REPEATS = 5
GROWTH = (0.01, 0.1, 1.0)
"""Shares of the large store."""
PAINT_BAR, INTERACTION_BAR, MEMORY_BAR = 2.5, 1.0, 1.5
RUNNING = "[data-testid=stApp][data-test-script-state=running]"


@dataclass(frozen=True)
class Figures:
    """What was measured of a page: seconds."""

    cold: float
    warm: float
    interactions: list[float]


def paint(page: Page, url: str) -> float:
    """Seconds from the navigation to the first own content."""
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(CONTENT, timeout=120_000)
    return time.perf_counter() - begun


def interact(page: Page, act: Callable[[Page], None]) -> float:
    """Seconds until the page has settled after an action."""
    begun = time.perf_counter()
    act(page)
    with suppress(Exception):  # a quick script may have ended before the state was seen
        page.wait_for_selector(RUNNING, timeout=300)
    settle(page, 120)
    return time.perf_counter() - begun


def next_iteration(page: Page) -> None:
    """Pick another iteration in the sidebar: every page must follow."""
    box = page.locator("[data-testid=stSidebar] [data-testid=stSelectbox]").nth(1)
    box.locator("input").click()
    options = page.locator("[role=option]")
    options.first.wait_for()
    chosen = [n for n in range(options.count()) if options.nth(n).get_attribute("aria-selected") != "true"]
    options.nth(chosen[-1]).click()


def open_page(browser: Browser) -> Page:
    """A page in a new profile."""
    return browser.new_context(viewport={"width": 1280, "height": 800}).new_page()


def measure(server: Server, browser: Browser, address: str) -> Figures:
    """One page on a server started anew."""
    server.stop()
    server.start()
    first = open_page(browser)
    cold = paint(first, f"{server.url}/{address}")
    settle(first, 120)
    first.context.close()
    page = open_page(browser)
    warm = paint(page, f"{server.url}/{address}")
    settle(page, 120)
    taken = [interact(page, next_iteration) for _ in range(REPEATS)]
    page.context.close()
    return Figures(cold, warm, taken)


def cpu_seconds(server: Server) -> float:
    """The CPU seconds of the server and its children so far."""
    import psutil

    process = psutil.Process(server.process.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def memory(server: Server) -> float:
    """The server's resident memory in GiB."""
    import psutil

    return psutil.Process(server.process.pid).memory_info().rss / 2**30


def measure_floor(browser: Browser) -> str:
    """The line of the smallest page there is."""
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "smallest.py"
        script.write_text("import streamlit as st\nst.title('x')\nst.text_input('x')\n")
        server = Server(Path(scratch), script=str(script))
        server.start()
        taken = []
        for _ in range(2):
            page = open_page(browser)
            taken.append(paint(page, server.url))
            settle(page, 120)
            page.context.close()
        server.stop()
    return f"{'(smallest)':<16}{taken[0]:>6.2f} s{taken[1]:>6.2f} s"


def measure_pages(home: Path, names: list[str]) -> None:
    """A line a page."""
    from lpd_core.store import Store

    runs = Store(home).run_ids()
    server = Server(home)
    print(f"{'page':<16}{'cold':>8}{'warm':>8}{'interaction':>13}{'server':>11}   bars: {PAINT_BAR} s cold, "
          f"{INTERACTION_BAR} s median interaction, {MEMORY_BAR} GiB")  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        print(measure_floor(browser), flush=True)
        for name in names:
            found = measure(server, browser, address_of(name, runs))
            print(
                f"{name:<16}{found.cold:>6.2f} s{found.warm:>6.2f} s{statistics.median(found.interactions):>11.2f} s"
                f"{memory(server):>7.2f} GiB",
                flush=True,
            )
        browser.close()
    server.stop()


def measure_growth(names: list[str]) -> None:
    """A line a page: what a new browser and an interaction wait for, on stores that grow tenfold."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    heads = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for share in GROWTH:
            with tempfile.TemporaryDirectory() as scratch:
                store = build(Path(scratch), share)
                told = store.database.query("select count(*) n from candidates")[0]["n"]
                heads.append(f"{told:,} candidates")
                runs, server = store.run_ids(), Server(Path(scratch))
                for name in names:
                    found[name].append(measure(server, browser, address_of(name, runs)))
                server.stop()
        browser.close()
    print(f"{'seconds: warm, interaction':<28}" + "".join(f"{head:>24}" for head in heads))
    for name, figures in found.items():
        cells = (f"{each.warm:.2f}, {statistics.median(each.interactions):.2f}" for each in figures)
        print(f"{name:<28}" + "".join(f"{cell:>24}" for cell in cells))


def address_of(name: str, runs: list[str]) -> str:
    """The page of the newest run, or of the newest trained one."""
    return f"{'' if name == 'home' else name}?run={runs[-2] if name in TRAINED else runs[-1]}"


def e_step_seconds(home: Path) -> float:
    """The seconds of one iteration's E-step of the shipped model, run by a driver of its own."""
    from lpd_core import jobs
    from lpd_core.config import load_config
    from lpd_core.store import Store

    settings = [
        "iterations=1",
        "data.prompts_per_iteration=[160]",
        "data.heldout_limit=8",
        "sampler.workers=1",
    ]
    store = Store(home)
    folder = jobs.create_run(store, load_config("demo", None, settings))
    jobs.start(store, folder.run_id)
    while folder.stage_result(1, "e_step") is None:
        if folder.state().status in ("failed", "interrupted"):
            sys.exit(f"the E-step ended: {folder.state().error}")
        time.sleep(0.1)
    jobs.stop(store, folder.run_id)
    summary = json.loads((folder.root / "stages" / "001-e_step.json").read_text())
    started = [at for at, event in folder.events()[0] if getattr(event, "stage", "") == "e_step"]
    assert summary["acceptance"]
    return started[-1] - started[0]


def measure_e_step(browsers: int) -> None:
    """The E-step alone, with some browsers watching, and alone again; the browsers at the lowest priority, since
    theirs would be other machines."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        alone = [e_step_seconds(home)]
        server = Server(home)
        server.start()
        watchers = [
            subprocess.Popen(["nice", "-n", "19", sys.executable, "-m", "bench.pages", "--watch", server.url])
            for _ in range(browsers)
        ]
        time.sleep(10)
        serving = cpu_seconds(server)
        watched = e_step_seconds(home)
        serving = cpu_seconds(server) - serving
        for watcher in watchers:
            watcher.terminate()
            watcher.wait()
        server.stop()
        alone.append(e_step_seconds(home))
    base = statistics.mean(alone)
    print(
        f"E-step alone {alone[0]:.1f} s and {alone[1]:.1f} s, with {browsers} browsers watching {watched:.1f} s: "
        f"{100 * (watched / base - 1):+.1f} % (bar 5 % with 5 browsers); meanwhile the server took "
        f"{serving / watched:.1%} of a core, the rest is the browsers, which would be other machines"
    )


def watch(url: str) -> None:
    """A browser that looks at the runs page until it is ended."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = open_page(browser)
        page.goto(f"{url}/runs")
        page.wait_for_timeout(3_600_000)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--growth", action="store_true", help="only how the pages slow down as a store grows")
    parser.add_argument("--e-step", action="store_true", help="only what watching browsers cost an E-step")
    parser.add_argument("--browsers", type=int, default=5, help="with --e-step, how many")
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        return watch(options.watch)
    if options.e_step:
        return measure_e_step(options.browsers)
    names = options.only or sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))
    if options.growth:
        return measure_growth(names)
    if options.home:
        return measure_pages(options.home, names)
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch))
        measure_pages(Path(scratch), names)


if __name__ == "__main__":
    main()
