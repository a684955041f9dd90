"""Chromium without a screen and without a graphics card: what WebGL there is, it computes itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 300_000  # on a machine that does other things too


@dataclass
class Opened:
    """A page, and what it complained of and asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def ready(self) -> None:
        self.page.locator("#solid[data-ready]").wait_for(state="attached")

    def until(self, expression: str) -> None:
        """Wait until `expression` holds; Playwright's own way is what the page's policy forbids."""
        self.wait_for(lambda: self.page.evaluate(expression))

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds. Fail after `PATIENCE_MS`."""
        give_up = time.monotonic() + PATIENCE_MS / 1000
        while not condition():
            assert time.monotonic() < give_up, "the page never came to that"
            self.page.wait_for_timeout(100)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; there can be one at a time."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path) -> Iterator[Opened]:
    """The page at `path`, 1000 x 900, its surface drawn."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    found = Opened(page)
    page.on("console", lambda message: message.type == "error" and found.errors.append(message.text))
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(path.as_uri())
    found.ready()
    yield found
    page.close()
