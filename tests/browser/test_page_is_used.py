"""In a real browser: search, filters, keys, dark and light, a phone's width, paper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import PHONE, WIDE, file_address, opened, shown_steps, until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long


def names(page: Page) -> list[str]:
    """Return the names of the steps that are drawn."""
    steps = page.locator("#list .step")
    return [label.split("\n")[0] for label in steps.locator(".step-head").all_inner_texts()]


def search(page: Page, words: str) -> None:
    page.locator("#query").fill(words)
    page.wait_for_timeout(300)


def test_a_search_leaves_what_fits_and_marks_it(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, file_address(ordinary_page)) as (page, noted):
        everything = shown_steps(page)
        search(page, "ASSERT None ==")

        assert shown_steps(page) == "1 of 23 steps"
        assert len(names(page)) == 1
        assert page.evaluate("[...CSS.highlights.get('found')].map(String)") == ["assert None =="]

        search(page, "no such words")
        assert page.locator("#list").inner_text() == "No step fits."
        page.keyboard.press("Escape")
        assert shown_steps(page) == everything == "21 steps"
        assert noted.all == []


def test_filters_by_kind_and_verdict_join(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, file_address(ordinary_page)) as (page, _):
        denied = page.get_by_role("button", name="denied")
        denied.click()
        both = len(names(page))
        page.get_by_role("button", name="egress").click()

        assert denied.get_attribute("aria-pressed") == "true"
        assert both == 2
        assert len(names(page)) == 1
        assert "evil.example" in names(page)[0]

        page.get_by_role("button", name="egress").click()
        denied.click()
        page.get_by_role("button", name="ledger").click()
        assert [name.split(" ")[0] for name in names(page)] == ["ledger", "seal"]


def test_every_key_does_what_the_help_says(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, file_address(ordinary_page)) as (page, noted):
        current = "document.querySelector('.current')?.id"
        page.keyboard.press("g")
        assert page.evaluate(current) == "e1"
        assert page.evaluate("document.activeElement.id") == "e1"
        page.keyboard.press("j")
        assert page.evaluate(current) == "e2"
        page.keyboard.press("k")
        page.keyboard.press("k")
        assert page.evaluate(current) == "e1"
        page.keyboard.press("d")
        first = page.evaluate(current)
        assert "failed" in page.locator(f"#{first}").inner_text()
        page.keyboard.press("d")
        assert page.evaluate(current) != first
        page.keyboard.press("D")
        assert page.evaluate(current) == first
        page.keyboard.press("G")
        assert "session ended" in page.locator(".current").inner_text()
        page.keyboard.press("g")
        before = page.locator(".current details[open]").count()
        page.keyboard.press("o")
        assert page.locator(".current details[open]").count() > before
        page.keyboard.press("o")
        assert page.locator(".current details[open]").count() == 0
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "query"
        page.keyboard.type("j?t")
        assert page.locator("#query").input_value() == "j?t"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("j")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        assert noted.all == []


def test_a_step_is_copied_as_markdown_and_as_json(browser: Browser, ordinary_page: Path) -> None:
    more = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, file_address(ordinary_page), **more) as (page, _):
        search(page, "evil.example/?q=1")
        page.keyboard.press("Escape")
        search(page, "no rule of the policy")
        page.locator("#query").blur()
        page.keyboard.press("g")
        page.keyboard.press("c")
        until(page, "document.getElementById('shown').textContent.startsWith('copied')")
        markdown = page.evaluate("navigator.clipboard.readText()")
        page.keyboard.press("C")
        page.wait_for_timeout(300)
        told = json.loads(page.evaluate("navigator.clipboard.readText()"))

    assert "https://evil.example/?q=1" in markdown
    assert "no rule of the policy allows `evil.example`; mend: add a rule" in markdown
    assert told["words"] == ["http", "get", "https://evil.example/?q=1"]


def test_a_click_on_the_timeline_leads_to_that_moment(browser: Browser, ordinary_page: Path) -> None:
    """A person was asked from the 10th to the 17th second of about twenty."""
    with opened(browser, file_address(ordinary_page)) as (page, noted):
        track = page.locator(".lane svg").last
        width = (track.bounding_box() or {})["width"]
        track.click(position={"x": width * 0.7, "y": 5})

        assert "notes with space.txt" in page.locator(".current").inner_text()
        track.click(position={"x": 1, "y": 5})
        assert page.evaluate("document.querySelector('.current').id") in ("e1", "e2", "e3")
        assert noted.all == []


def test_what_stands_out_leads_to_its_entry(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, file_address(ordinary_page)) as (page, _):
        page.locator(".notable a").first.click()
        until(page, "document.querySelector('.current')?.id === 'e15'")

        assert "no rule of the policy allows" in page.locator(".current").inner_text()


def test_a_ledger_that_does_not_verify_is_told_wherever_one_is(browser: Browser, broken_page: Path) -> None:
    with opened(browser, file_address(broken_page)) as (page, noted):
        assert page.title().startswith("DOES NOT VERIFY")
        page.keyboard.press("G")
        broken = page.locator(".current")
        assert "BROKEN ENTRY" in broken.inner_text()
        assert "step-broken" in (broken.get_attribute("class") or "")
        alarm = page.locator(".alarm").bounding_box() or {}
        assert 0 <= alarm["y"] < WIDE[1]
        assert noted.all == []


def test_an_address_with_an_entry_leads_to_it(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, f"{file_address(ordinary_page)}#e15") as (page, _):
        assert page.evaluate("document.querySelector('.current').id") == "e15"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_follow_the_person_and_can_be_switched(
    browser: Browser, ordinary_page: Path, scheme: str
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, file_address(ordinary_page), scheme=scheme) as (page, _):
        preferred = page.evaluate(ground)
        page.locator("#theme").click()
        switched = page.evaluate(ground)
        page.reload()
        kept = page.evaluate(ground)

    assert preferred == ("rgb(18, 20, 24)" if scheme == "dark" else "rgb(246, 246, 243)")
    assert switched != preferred
    assert kept == switched


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_asks_for(
    browser: Browser, ordinary_page: Path, scheme: str
) -> None:
    """At least 4.5 to 1 (WCAG 2.2, success criterion 1.4.3, level AA)."""
    with opened(browser, file_address(ordinary_page), scheme=scheme) as (page, _):
        assert page.evaluate("checks.faintTexts()") == []


def test_the_page_has_landmarks_headings_in_order_and_a_name_for_everything_that_acts(
    browser: Browser, ordinary_page: Path
) -> None:
    with opened(browser, file_address(ordinary_page)) as (page, _):
        for landmark in ("banner", "main", "navigation", "search", "contentinfo", "feed"):
            assert page.get_by_role(landmark).count() >= 1, landmark  # type: ignore[arg-type]  # roles of ARIA
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
        assert page.evaluate("checks.nameless()") == []
        assert page.evaluate("checks.idsTwice()") == []
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("size", [WIDE, PHONE, (320, 640)])
@pytest.mark.parametrize("which", ["ordinary_page", "hostile_page"])
def test_nothing_has_to_be_scrolled_sideways(
    browser: Browser, request: pytest.FixtureRequest, which: str, size: tuple[int, int]
) -> None:
    with opened(browser, file_address(request.getfixturevalue(which)), size=size) as (page, _):
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        page.wait_for_timeout(200)

        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("size", [PHONE, (320, 640)])
def test_no_word_of_the_bar_is_broken_on_a_phone(
    browser: Browser, ordinary_page: Path, size: tuple[int, int]
) -> None:
    with opened(browser, file_address(ordinary_page), size=size) as (page, _):
        heights = page.locator(".bar .brand, .bar button").evaluate_all(
            "nodes => nodes.map(node => [...node.childNodes].reduce((most, each) => {"
            " const range = document.createRange(); range.selectNodeContents(each);"
            " return Math.max(most, new Set([...range.getClientRects()].map(rect => rect.top)).size) }, 0))"
        )

        assert heights == [1] * 3


def test_paper_gets_every_step_and_no_buttons(browser: Browser, ordinary_page: Path) -> None:
    with opened(browser, file_address(ordinary_page), scheme="dark") as (page, _):
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")

        assert page.locator("#list .step").count() == int(shown_steps(page).split(" ")[0])
        assert not page.locator("#tools").is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.pdf()[:5] == b"%PDF-"


def test_without_a_script_the_page_still_says_whether_it_verifies(
    browser: Browser, ordinary_page: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file_address(ordinary_page))

    assert page.locator("#verdict-title").inner_text() == "The ledger agrees with itself"
    assert "drawn by a script" in page.locator("noscript").inner_text()
    context.close()
