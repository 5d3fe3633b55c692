"""In a real browser: 20,000 entries are opened, searched and scrolled, a few dozen drawn at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import file_address, opened, shown_steps, until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, CDPSession

pytestmark = pytest.mark.long


def scrolled(browser: Browser, path: Path) -> tuple[float, dict[str, float]]:
    """Scroll 200 frames; return the processor time of the page's thread for each in ms, and how they went."""
    with opened(browser, file_address(path)) as (page, noted):
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = _busy_seconds(session)
        found: dict[str, float] = page.evaluate("checks.scrolled(120)")
        busy = _busy_seconds(session) - before
        assert noted.all == []
        return busy * 1000 / 200, found


def _busy_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def test_scrolling_costs_far_less_than_in_proportion_to_the_entries(
    browser: Browser, long_page: Path, shorter_page: Path
) -> None:
    """Ten times the entries, at most four times the processor time: only what is near is drawn."""
    floor, _ = scrolled(browser, shorter_page)
    cost, frames = scrolled(browser, long_page)

    assert cost <= 4 * floor, f"{cost:.2f} ms of processor time a frame, {floor:.2f} ms with 2,000 entries"
    assert frames["elements"] < 6000


NEAR_15000 = "Math.abs(parseInt(document.querySelector('.current').id.slice(1)) - 15000) <= 2"
IN_VIEW = (
    "(box => 0 <= box.y && box.y < innerHeight)(document.querySelector('.current').getBoundingClientRect())"
)


def test_any_of_twenty_thousand_entries_is_reached_at_once(browser: Browser, long_page: Path) -> None:
    with opened(browser, f"{file_address(long_page)}#e15000") as (page, noted):
        until(page, f"{NEAR_15000} && {IN_VIEW}")
        page.keyboard.press("G")
        until(page, f"document.querySelector('.current').innerText.includes('session ended') && {IN_VIEW}")
        page.keyboard.press("g")
        until(page, f"document.querySelector('.current').id === 'e1' && {IN_VIEW}")
        assert noted.all == []


def test_a_search_over_twenty_thousand_entries_finds_one(browser: Browser, long_page: Path) -> None:
    with opened(browser, file_address(long_page)) as (page, _):
        page.locator("#query").fill("module_7777.py")
        until(page, "document.getElementById('shown').textContent.startsWith('1 of')")
        page.locator("#query").fill("")
        until(page, "!document.getElementById('shown').textContent.includes(' of ')")
        page.get_by_role("button", name="denied").click()

        assert shown_steps(page).startswith("200 of ")


def test_what_was_opened_is_still_open_when_it_comes_back_into_sight(
    browser: Browser, long_page: Path
) -> None:
    with opened(browser, f"{file_address(long_page)}#e107") as (page, _):
        part = page.locator(".current details").first
        part.evaluate("(part) => { part.open = false; }")
        page.wait_for_timeout(100)
        step = page.evaluate("document.querySelector('.current').id")
        page.keyboard.press("G")
        page.wait_for_timeout(500)
        assert page.locator(f"#{step}").count() == 0
        page.evaluate("location.hash = '#e0'; location.hash = '#e107'")
        page.wait_for_timeout(500)

        assert page.locator(f"#{step} details").first.get_attribute("open") is None
