"""Every page, light and dark, as PNG files: `make screenshots`, or `python -m tests.e2e.screenshots --home HOME --out DIR`.

Without `--home` a home is made first: the demo run, finished, and a second run that waits for its review. Needs Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.e2e.server import CHROMIUM, FLAGS, PROJECT, Server, settle

PAGES = sorted(path.stem for path in (PROJECT / "pages").glob("*.py"))


def make_home(home: Path) -> None:
    """The full demo run, and one with a review that has reached its gate."""
    from lpd_core import jobs
    from lpd_core.config import load_config
    from lpd_core.driver import drive
    from lpd_core.store import Store

    store = Store(home)
    for settings in ([], ["review=true", "name=reviewed"]):
        folder = jobs.create_run(store, load_config("demo", None, settings))
        print(f"running {folder.run_id}", file=sys.stderr)
        drive(store, folder.run_id)


def addresses(home: Path) -> dict[str, str]:
    """The path and query of each page's picture: the finished run, at the gate the one that waits."""
    from lpd_core.store import Store

    store = Store(home)
    states = {run: store.run(run).state().status for run in store.run_ids()}
    finished = next((run for run, status in states.items() if status == "finished"), "")
    waiting = next((run for run, status in states.items() if status == "awaiting_review"), finished)
    first = store.database.query(
        "select prompt_id from candidates where run_id = ? and iteration = 1 and selected order by gain desc limit 1",
        [finished],
    )
    queries = {
        "constitution": f"?run={waiting}&iteration=1&entry=1.2",
        "principles": f"?run={finished}&iteration=1",
        "trajectories": f"?run={finished}&iteration=1&prompt={first[0]['prompt_id']}" if first else "",
    }
    return {
        page: f"{'' if page == 'home' else page}{queries.get(page, f'?run={finished}' if finished else '')}"
        for page in PAGES
    }


def generate(page: Page) -> None:
    """A held-out prompt answered by both sides of the playground, with their names."""
    main = page.locator("[data-testid=stMain]")
    main.get_by_text("Held-out prompt", exact=True).click()
    settle(page)
    main.get_by_text("Blind", exact=True).click()
    settle(page)
    main.get_by_role("button", name="Generate").click()
    main.locator(".lpd-diff").nth(1).wait_for(timeout=120_000)
    settle(page)


def await_checks(page: Page) -> None:
    """The end of the checks that Launch makes in the background."""
    page.get_by_text("Checking the data").first.wait_for(state="detached", timeout=180_000)
    settle(page)


PREPARE = {"playground": generate, "launch": await_checks}
"""What is done on a page before its picture is taken."""


def take(page: Page, url: str, name: str, target: Path) -> None:
    """One picture of the whole page once it has settled."""
    page.goto(url)
    settle(page)
    PREPARE.get(name, settle)(page)
    page.wait_for_timeout(1500)  # charts draw after the script has run
    page.locator("[data-testid=stSpinner]").first.wait_for(state="detached", timeout=120_000)
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(max(800, height), 2400)})
    page.wait_for_timeout(700)
    page.screenshot(path=str(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "screenshots")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--only", nargs="*", default=PAGES)
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("no chromium on this machine: install it (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch) / "home"
        if options.home is None:
            make_home(home)
        server = Server(home)
        server.start()
        try:
            shoot(server, addresses(home), options)
        finally:
            server.stop()


def shoot(server: Server, wanted: dict[str, str], options: argparse.Namespace) -> None:
    """All pages in both themes."""
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for theme in ("light", "dark"):
            for name in options.only:
                context = browser.new_context(
                    viewport={"width": options.width, "height": 800}, color_scheme=theme
                )
                target = options.out / f"{name}-{theme}.png"
                take(context.new_page(), f"{server.url}/{wanted[name]}", name, target)
                context.close()
                print(target)
        browser.close()


if __name__ == "__main__":
    main()
