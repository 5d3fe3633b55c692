"""In a real browser: hostile content causes no dialog, error, request or violation; it is read as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import PHONE, WIDE, file_address, opened, shown_steps, until, violations
from tests.browser.sessions import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.long
TRUST = "() => { try { document.body.innerHTML = 'x'; return 'taken'; } catch (e) { return e.name; } }"
WORDS = ("alert('script')", r"\u202egnp.exe", r"\ud800 lone \udfff", r"\x1b[2j", r"\x01forged\x02")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_hostile_content_is_read_and_does_nothing(
    browser: Browser, hostile_page: Path, size: tuple[int, int]
) -> None:
    with opened(browser, file_address(hostile_page), size=size) as (page, noted):
        page.evaluate("checks.openEverything()")
        page.wait_for_timeout(500)

        assert noted.all == []
        assert violations(page) == []
        assert page.title() == "pairlock session 0123456789ab"
        assert page.locator("body").is_visible()
        assert page.evaluate("checks.strangeElements()") == []
        assert page.evaluate("checks.handlers()") == []
        assert page.evaluate("document.scripts.length") == 2
        targets = page.evaluate("[...document.links].map((a) => a.getAttribute('href'))")
        assert [target for target in targets if not target.startswith("#")] == []


def test_what_is_hostile_can_be_read_and_found(browser: Browser, hostile_page: Path) -> None:
    with opened(browser, file_address(hostile_page)) as (page, noted):
        for word in WORDS:
            page.locator("#query").fill(word)
            until(page, "document.getElementById('shown').textContent.includes(' of ')")
            page.wait_for_timeout(200)
            assert not shown_steps(page).startswith("0 of"), word
        assert noted.all == []


def test_no_character_that_hides_or_acts_is_in_the_document(browser: Browser, hostile_page: Path) -> None:
    with opened(browser, file_address(hostile_page)) as (page, _):
        page.evaluate("checks.openEverything()")
        found = page.evaluate("checks.hiddenCharacters()")

    assert found == []


def test_the_checks_see_a_script_that_runs_and_a_request_that_leaves(
    browser: Browser, tmp_path: Path
) -> None:
    """The same hostile words, on a page that does not escape them, are seen by each of the checks."""
    open_page = tmp_path / "open.html"
    ready = "<html><body><script>document.documentElement.dataset.ready = 'yes'</script>"
    open_page.write_text(f"{ready}{''.join(HOSTILE[4:6])}<img src='http://127.0.0.1:9/x'>")
    shut = tmp_path / "shut.html"
    policy = (
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; script-src 'unsafe-inline'\">"
    )
    shut.write_text(f"<html><head>{policy}</head><body>{ready}<img src='http://127.0.0.1:9/x'>")

    with opened(browser, file_address(open_page)) as (page, noted):
        page.wait_for_timeout(300)
        assert "img" in noted.dialogs
        assert "http://127.0.0.1:9/x" in noted.requests
    with opened(browser, file_address(shut)) as (page, noted):
        page.wait_for_timeout(300)
        assert violations(page) == ["img-src http://127.0.0.1:9/x"]
        assert noted.console


def test_the_content_policy_holds_even_if_escaping_were_forgotten(
    browser: Browser, ordinary_page: Path, tmp_path: Path
) -> None:
    """The second wall: markup put into the finished page by force runs nothing and reaches nothing."""
    forced = tmp_path / "forced.html"
    broken = (
        "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>"
        "<style>h1{display:none}</style>"
    )
    forced.write_text(ordinary_page.read_text("utf-8").replace("<h1>", f"{broken}<h1>", 1), "utf-8")

    with opened(browser, file_address(forced)) as (page, noted):
        page.wait_for_timeout(300)
        assert noted.dialogs == []
        assert sorted({found.partition(" ")[0] for found in violations(page)}) == [
            "img-src",
            "script-src-attr",
            "script-src-elem",
            "style-src-elem",
        ]
        assert page.locator("h1").is_visible()
        assert page.evaluate(TRUST) == "TypeError"
