"""Fixtures: a server on an empty home, and a browser. Without Chromium these tests skip and say so."""

from __future__ import annotations

import pytest

from e2e.server import CHROMIUM, FLAGS, Server


@pytest.fixture
def server(tmp_path):
    """A running server on an empty home."""
    running = Server(tmp_path / "home")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; its event loop ends with the module, since other tests need one of their own."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install it (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()
