"""In a real browser: the served pages, a session that runs, and a page of somebody else's on this machine."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.report.gather import Pins
from agent_runner.report.serving.server import ReportServer
from tests.agent_runner.report.story import SESSION, begin, ordinary
from tests.browser.chromium import opened, until, violations
from tests.browser.sessions import written

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from playwright.sync_api import Browser

    from agent_runner.report.serving.doorman import Door

pytestmark = pytest.mark.long
EVIL = Path(__file__).with_name("evil.html")


class Beside:
    """An event loop in a thread of its own, as Playwright's calls block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def close(self) -> None:
        """End it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def served(state: Path) -> Iterator[tuple[Beside, Door]]:
    """Serve a state folder."""
    beside = Beside()
    server = ReportServer(state, Pins(), say=print)
    door = beside.run(server.open(0))
    try:
        yield beside, door
    finally:
        beside.run(server.close())
        beside.close()


def test_a_running_session_grows_on_the_page_and_ends_there(browser: Browser, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with served(state_with_running(state)) as (beside, door):
        story = begin(state, "ba9876543210")
        beside.run(story.journal.__aenter__())
        beside.run(story.open("a task that goes on"))
        with opened(browser, door.address) as (page, noted):
            assert "token" not in page.url
            page.get_by_role("link", name="ba9876543210").click()
            until(page, "document.documentElement.dataset.ready === 'yes'")
            assert page.locator("#live-badge").inner_text() == "running"
            number = beside.run(story.intend("run", "echo", "<b>now</b>"))
            page.get_by_text("<b>now</b>").wait_for()
            beside.run(story.finish(number, "what came of it later"))
            page.get_by_text("what came of it later").wait_for()
            beside.run(story.close())
            beside.run(story.journal.__aexit__())
            page.get_by_text("session ended: done").wait_for()
            page.locator("#live-badge").wait_for(state="detached")
            assert noted.dialogs + noted.console + noted.errors == []
            assert violations(page) == []
            assert {url.split("/")[2] for url in noted.requests} == {f"127.0.0.1:{door.port}"}


def state_with_running(state: Path) -> Path:
    """Write an ended session, so that the list has more than one."""
    written(ordinary(state))
    return state


class _Evil(BaseHTTPRequestHandler):
    """A page of somebody else's on another port of this machine: to a browser, the same site."""

    target = ""

    def do_GET(self) -> None:
        """Hand the page out."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        page = EVIL.read_text("utf-8").replace("TARGET", self.target)
        self.wfile.write(page.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def evil(target: str) -> Iterator[str]:
    """Serve the page, and yield its address."""
    handler = type("Handler", (_Evil,), {"target": target})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_another_page_of_this_machine_reads_nothing_even_if_it_knows_the_path(
    browser: Browser, tmp_path: Path
) -> None:
    """The browser holds the cookie and would send it: the doorman refuses by who asks."""
    with served(state_with_running(tmp_path / "state")) as (_, door):
        context = browser.new_context()
        mine = context.new_page()
        mine.goto(door.address)
        assert SESSION in mine.content()
        with evil(f"http://127.0.0.1:{door.port}{door.home}") as address:
            page = context.new_page()
            page.goto(address)
            until(page, "document.documentElement.dataset.ready === 'yes'")

            assert [found for found in page.evaluate("got") if found not in ("refused", "")] == []
            frame = page.frame_locator("#frame").locator("html")
            assert SESSION not in (frame.inner_text() if frame.count() else "")
        mine.reload()
        assert SESSION in mine.content()
        context.close()
