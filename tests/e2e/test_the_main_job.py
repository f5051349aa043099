"""The main job by clicking, in a real browser on the shipped model: from an empty installation to an exported
constitution, with reloads, a restarted server and a second browser on the way.

The run is the demo's with fewer prompts, set on the Launch page: all of its iterations and stages, in half the time."""

from __future__ import annotations

import json
import re
import time

import pytest

from e2e.server import settle

RUN = "demo-1"
SLOW = 900_000
"""Milliseconds that a stage may take on a busy machine."""


class Studio:
    """What a person does with the pages, on one tab."""

    def __init__(self, server, browser):
        self.server = server
        self.tab = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        self.tab.set_default_timeout(120_000)
        self.crashes: list[str] = []
        self.tab.on("pageerror", lambda error: self.crashes.append(str(error)))

    @property
    def main(self):
        """The page's own part of the window."""
        return self.tab.locator("[data-testid=stMain]")

    def go(self, page: str, **query: object) -> None:
        """Open an address and wait until it has settled without an exception."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        self.tab.goto(f"{self.server.url}/{page}?{asked}")
        self.settled()

    def settled(self) -> None:
        """Wait for the script to end; nothing on the page may be an exception."""
        settle(self.tab)
        self.tab.wait_for_timeout(400)
        settle(self.tab)
        assert not self.tab.locator("[data-testid=stException]").count(), self.main.inner_text()

    def click(self, name: str, within=None) -> None:
        """Press the button of that name."""
        (within or self.main).get_by_role("button", name=name).first.click()
        self.settled()

    def expect(self, text: str, milliseconds: float = 60_000) -> None:
        """Wait until the page says something."""
        self.main.get_by_text(text).first.wait_for(timeout=milliseconds)

    def choose(self, name: str) -> None:
        """Take one of the choices that stand side by side."""
        self.main.locator("[data-testid=stButtonGroup]").get_by_text(name, exact=True).first.click()
        self.settled()

    def tick(self, *rows: int) -> None:
        """Tick rows of the page's first table, which is drawn on a canvas: a header of 35 pixels, rows of 35."""
        box = self.main.locator("[data-testid=stDataFrame]").first.bounding_box()
        for row in rows:
            self.tab.mouse.click(box["x"] + 16, box["y"] + 35 + 35 * row + 17)
            self.settled()

    def cells(self) -> list[str]:
        """The texts of the first table's cells, as a screen reader gets them."""
        cell = self.main.locator("[data-testid=stDataFrame]").first.locator("[role=gridcell]")
        cell.first.wait_for(state="attached")
        return cell.all_text_contents()

    def expect_cells(self, *words: str) -> None:
        """Wait until the first table says all of it."""
        give_up = time.monotonic() + 60
        while not all(each in (told := " ".join(self.cells())) for each in words):
            assert time.monotonic() < give_up, told
            self.tab.wait_for_timeout(200)

    def figure(self, name: str) -> str:
        """The value of a figure of the page's head, for instance `15 → 14`."""
        words = self.main.inner_text()
        found = re.search(rf"{re.escape(name)}\s*\n\s*([^\n]+)", words)
        assert found, f"no figure {name!r} in: {words[:1500]}"
        return found[1].strip()

    def expect_figure(self, name: str, value: str) -> None:
        """Wait until a figure of the head has that value."""
        give_up = time.monotonic() + 60
        while self.figure(name) != value:
            assert time.monotonic() < give_up, f"{name} is {self.figure(name)}, not {value}"
            self.tab.wait_for_timeout(200)
        self.settled()


def launch(studio: Studio) -> None:
    """From Home to the form, three settings of the demo changed on it, and start."""
    studio.go("")
    studio.main.get_by_role("link", name="Or set up your own run").click()
    studio.settled()
    studio.main.get_by_text("Stop for my review").click()
    studio.settled()
    fill(studio, "Prompts per iteration", "100, 50")
    studio.main.get_by_text("Data", exact=True).click()
    studio.settled()
    fill(studio, "Heldout limit", "40")
    studio.main.get_by_role("button", name="Start the run").wait_for(timeout=SLOW)
    studio.click("Start the run")
    studio.expect(RUN)


def fill(studio: Studio, label: str, words: str) -> None:
    """Type into a field and leave it."""
    field = studio.main.locator(f"input[aria-label='{label}']")
    field.fill(words)
    field.press("Enter")
    studio.settled()


def wait_for_gate(studio: Studio, iteration: int) -> None:
    """Watch the run on its page until it waits for the review of an iteration."""
    give_up = time.monotonic() + SLOW / 1000
    while time.monotonic() < give_up:
        words = studio.main.inner_text()
        assert "failed" not in words.split("All runs")[0].splitlines()[:12], words
        if "awaiting review" in words and f"iteration {iteration}" in words:
            return
        studio.tab.wait_for_timeout(1000)
    pytest.fail(f"the run did not reach the gate of iteration {iteration}: {studio.main.inner_text()[:800]}")


def approve(studio: Studio, iteration: int, message: str) -> None:
    """Approve what stands on the constitution's page."""
    studio.go("constitution", run=RUN, iteration=iteration)
    studio.click("Approve and go on")
    dialog = studio.tab.get_by_role("dialog")
    dialog.get_by_label("Message, kept with the version").fill(message)
    dialog.get_by_label("Message, kept with the version").press("Enter")
    studio.settled()
    dialog.get_by_role("button", name="Approve and go on").click()
    studio.settled()
    studio.expect("Approved, read-only")


def lasso(studio: Studio) -> None:
    """Draw a loop around the middle of the map."""
    studio.choose("Lasso")
    chart = studio.main.locator(".js-plotly-plot .nsewdrag").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    middle, radius = (
        (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2),
        min(box["width"], box["height"]) * 0.45,
    )
    corners = [(-1, -1), (0, -1.05), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    points = [(middle[0] + dx * radius, middle[1] + dy * radius) for dx, dy in corners]
    studio.tab.mouse.move(*points[0])
    studio.tab.mouse.down()
    for point in points[1:]:
        studio.tab.mouse.move(*point, steps=8)
    studio.tab.mouse.up()
    studio.settled()
    studio.expect("Selected")


def edit(studio: Studio) -> None:
    """Merge two clusters, prune one, rename one; the effect is in sight before and after each."""
    studio.go("constitution", run=RUN, iteration=1)
    before = int(studio.figure("Entries").split(" → ")[0])
    studio.tick(0, 1)
    studio.expect("What this would do")
    studio.click("Merge 2")
    studio.expect_figure("Entries", f"{before} → {before - 1}")
    rows = studio.figure("Training rows")
    studio.go("constitution", run=RUN, iteration=1, entry="1.3", part="marks")
    studio.expect("What this would do")
    studio.main.get_by_label("Why (kept in the history)").fill("says nothing new")
    studio.main.get_by_label("Why (kept in the history)").press("Enter")
    studio.settled()
    studio.click("Prune it")
    studio.expect_figure("Entries", f"{before} → {before - 2}")
    assert studio.figure("Training rows") != rows
    studio.go("constitution", run=RUN, iteration=1, entry="1.4", part="words")
    label = studio.main.get_by_label("Label: a short name for people; nothing is trained on it")
    label.fill("Risks and warnings")
    label.press("Enter")
    studio.settled()
    studio.click("Rename")
    studio.choose("History")
    studio.expect_cells("says nothing new", "merge", "prune", "rename")


def test_from_an_empty_installation_to_an_exported_constitution(server, browser, tmp_path):
    studio = Studio(server, browser)
    launch(studio)
    studio.tab.reload()
    studio.settled()
    wait_for_gate(studio, 1)

    studio.go("principles", run=RUN, iteration=1)
    lasso(studio)
    edit(studio)
    approve(studio, 1, "one merged, one pruned, one renamed")

    studio.go("runs", run=RUN)
    server.stop()
    server.start()
    studio.tab.reload()
    studio.settled()
    for iteration in (2, 3):
        wait_for_gate(studio, iteration)
        approve(studio, iteration, "as found")
        studio.go("runs", run=RUN)
    studio.main.locator("[data-testid=stMarkdownBadge], .stMarkdownBadge").get_by_text(
        "finished"
    ).first.wait_for(timeout=SLOW)

    open_a_trajectory_elsewhere(studio, browser)
    studio.go("compare", run=RUN)
    studio.expect("Measured")
    studio.main.locator(".js-plotly-plot").nth(1).wait_for()
    play(studio)
    export(studio, tmp_path)
    assert studio.crashes == []


def test_one_click_on_home_starts_the_demo_and_another_stops_it(server, browser):
    studio = Studio(server, browser)
    studio.go("")
    studio.click("Start the demo run")
    studio.expect(RUN)
    studio.expect("evaluation")
    studio.click("Stop")
    studio.expect("stopped")
    assert studio.crashes == []


def open_a_trajectory_elsewhere(studio: Studio, browser) -> None:
    """The address of a card opens the same card in another browser."""
    studio.go("trajectories", run=RUN, iteration=1)
    studio.tick(0)
    studio.tab.wait_for_url("**prompt=**")
    address = studio.tab.url
    other = Studio(studio.server, browser)
    other.tab.goto(address)
    other.settled()
    here, there = (each.main.locator(".lpd-text").first for each in (studio, other))
    there.wait_for()
    assert here.inner_text() == there.inner_text()
    other.tab.context.close()


def play(studio: Studio) -> None:
    """A prompt in, a draft, a principle and a refinement out, twice without names; then a vote."""
    studio.go("playground", run=RUN, iteration=3)
    prompt = studio.main.get_by_label("What the model is asked")
    prompt.fill("My name is Mara. How do I repair a radio by Tuesday?")
    prompt.press("Control+Enter")
    studio.settled()
    studio.click("Generate")
    studio.expect("Which refined answer is better?", SLOW)
    assert studio.main.locator(".lpd-text, .lpd-diff").count() >= 4
    studio.settled()  # the button that hears the key
    studio.tab.keyboard.press("1")
    studio.expect("Kept: A is better")


def export(studio: Studio, folder) -> None:
    """The constitution as a file that says what was done."""
    studio.go("constitution", run=RUN, iteration=1, view="files")
    with studio.tab.expect_download() as coming:
        studio.main.get_by_role("button", name="JSON").first.click()
    target = folder / "constitution.json"
    coming.value.save_as(target)
    document = json.loads(target.read_text())
    states = {entry["id"]: entry["status"] for entry in document["entries"]}
    assert states["1.3"] == "pruned"
    assert [entry["label"] for entry in document["entries"] if entry["id"] == "1.4"] == ["Risks and warnings"]
