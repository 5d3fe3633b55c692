"""In a real browser: axe-core finds nothing against WCAG 2.2 AA or its own best practice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.gateway.installed_agents import npm_packages
from tests.browser.chromium import PHONE, WIDE, file_address, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long
SOURCES = Path(__file__).parent / "npm"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FOUND = "axe.run(document, {runOnly: %s}).then((told) => told.violations.map((one) => one.id))"


@pytest.fixture(scope="module")
def axe() -> str:
    """Return the program that looks."""
    return (npm_packages(str(SOURCES)) / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """Return the names of the rules that a page breaks."""
    page.evaluate(axe)
    found: list[str] = page.evaluate(FOUND % json.dumps(RULES))
    return found


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light")])
@pytest.mark.parametrize("which", ["ordinary_page", "broken_page"])
def test_axe_finds_nothing_wrong(  # noqa: PLR0913, PLR0917 - fixtures and the cases of a table
    browser: Browser, request: pytest.FixtureRequest, axe: str, which: str, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, file_address(request.getfixturevalue(which)), size=size, scheme=scheme) as (page, _):
        assert violations(page, axe) == []


def test_axe_finds_what_is_wrong(browser: Browser, ordinary_page: Path, axe: str) -> None:
    """The twin: a button without a name and a faint text are named."""
    spoil = """{
        const button = document.createElement("button");
        const faint = document.querySelector("h1");
        faint.style.color = "color-mix(in srgb, currentColor 15%, white)";
        document.querySelector("main").append(button);
    }"""
    with opened(browser, file_address(ordinary_page)) as (page, _):
        page.evaluate(f"() => {spoil}")

        assert {"button-name", "color-contrast"} <= set(violations(page, axe))
