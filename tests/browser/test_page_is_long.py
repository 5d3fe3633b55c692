"""In a real browser: 20,000 entries are opened, searched and scrolled, a few dozen drawn at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import file_address, opened, shown_steps, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.long

EMPTY = "<!doctype html><html data-ready=yes><body id=conversation><div style='height:200000px'></div>"


def test_scrolling_costs_little_more_than_scrolling_an_empty_page(
    browser: Browser, long_page: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The floor is an empty page in the same browser in the same minute: machines and their load differ."""
    empty = tmp_path / "empty.html"
    empty.write_text(EMPTY)
    with opened(browser, file_address(empty)) as (page, _):
        floor = page.evaluate("checks.scrolled(120)")
    with opened(browser, file_address(long_page)) as (page, noted):
        found = page.evaluate("checks.scrolled(120)")

    record_property("floor", floor)
    record_property("found", found)
    assert found["median"] <= 2 * floor["median"] + 2
    assert found["elements"] < 6000
    assert noted.all == []


def test_any_of_twenty_thousand_entries_is_reached_at_once(browser: Browser, long_page: Path) -> None:
    with opened(browser, f"{file_address(long_page)}#e15000") as (page, noted):
        current = page.locator(".current")
        assert current.is_visible()
        assert abs(int((current.get_attribute("id") or "e0")[1:]) - 15000) <= 2
        box = current.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 860
        page.keyboard.press("G")
        page.wait_for_timeout(300)
        assert "session ended" in current.inner_text()
        assert current.is_visible()
        page.keyboard.press("g")
        page.wait_for_timeout(300)
        assert current.get_attribute("id") == "e1"
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
