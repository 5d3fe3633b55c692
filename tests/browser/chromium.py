"""Open pages in the machine's own Chromium, and note everything that a page must not do."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

READY: Final = "document.documentElement.dataset.ready === 'yes'"
WIDE: Final = (1280, 860)
PHONE: Final = (390, 844)
WAIT_SECONDS: Final = 180
CHECKS: Final = Path(__file__).with_name("checks.js")


@dataclass
class Noted:
    """What a page did that it must not do."""

    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """But for the page itself."""

    @property
    def all(self) -> list[str]:
        """Return everything."""
        return [*self.dialogs, *self.console, *self.errors, *self.requests]


def executable() -> str:
    """Return where Chromium is."""
    named = (
        os.environ.get("PAIRLOCK_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    assert named, "no chromium is on the path: apt-get install chromium"
    return named


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; inside CI's container it is root, whom Chromium's own sandbox does not take."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable(), args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, address: str, *, size: tuple[int, int] = WIDE, scheme: str = "light", **more: Any
) -> Iterator[tuple[Page, Noted]]:
    """Yield a page that is ready, and what it did that it must not do.

    Args:
        browser: The browser.
        address: What to open.
        size: Of the window, in CSS pixels.
        scheme: What the person prefers: `light` or `dark`.
        more: Further settings of Playwright's context.
    """
    settings: dict[str, Any] = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": scheme}
    context = browser.new_context(**settings | more)
    context.add_init_script(path=CHECKS)
    page = context.new_page()
    noted = Noted()
    page.on("dialog", lambda dialog: (noted.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: noted.console.append(message.text))
    page.on("pageerror", lambda error: noted.errors.append(str(error)))
    page.on("request", lambda request: noted.requests.append(request.url))
    try:
        page.goto(address)
        until(page, READY)
        noted.requests = [url for url in noted.requests if url != page.url.partition("#")[0]]
        yield page, noted
    finally:
        context.close()


def file_address(path: Path) -> str:
    """Return the address of a file."""
    return path.as_uri()


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way needs `eval`, which the pages refuse."""
    end = time.monotonic() + WAIT_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never came true: {expression}"
        page.wait_for_timeout(50)


def violations(page: Page) -> list[str]:
    """Return what the page's content policy has refused."""
    found: list[str] = page.evaluate("checks.violations")
    return found


def shown_steps(page: Page) -> str:
    """Return what the page says of how many steps are shown."""
    return page.locator("#shown").inner_text()
