"""Pages that are served for tests, and a real Chromium to look at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from headless_chromium import chromium

from rotationbench.serving import Server, listening, url_of

PATIENCE = 120_000
"""Milliseconds."""


@contextmanager
def browsing() -> Iterator[Any]:
    """A headless Chromium driven by Playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    driver.expect.set_options(timeout=PATIENCE)
    with driver.sync_playwright() as playwright:
        # The sandbox needs rights that containers do not give.
        yield playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address, without a slash at its end, of an application that is served from a thread."""
    with listening("127.0.0.1", 0, "test") as bound:
        server = Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            end = time.monotonic() + 60
            while not server.started and time.monotonic() < end:
                time.sleep(0.02)
            assert server.started
            yield url_of(bound).rstrip("/")
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
