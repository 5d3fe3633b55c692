"""Read pages of the report back, as a browser would take them apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from agent_runner.report.gather import Pins, Report, gather_report
from agent_runner.report.page import render
from agent_runner.report.visible import plain
from tests.agent_runner.report.story import SESSION

if TYPE_CHECKING:
    from pathlib import Path


class Page(HTMLParser):
    """A page, taken apart.

    Attributes:
        elements: Each element's name and attributes.
        scripts: What stands in script elements, by their type.
        styles: What stands in style elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.styles: list[str] = []
        self._in = ""
        self._words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        self.elements.append((tag, dict(attrs)))
        self._in = f"script:{dict(attrs).get('type')}" if tag == "script" else tag

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        if tag in ("script", "style"):
            self._in = ""

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._in.startswith("script:"):
            self.scripts[self._in.removeprefix("script:")] = data
        elif self._in == "style":
            self.styles.append(data)
        else:
            self._words.append(data)

    @property
    def text(self) -> str:
        """Return what a person reads without the script, its spaces made one."""
        return " ".join("".join(self._words).split())

    @property
    def data(self) -> dict[str, Any]:
        """Return what the script reads."""
        told: dict[str, Any] = json.loads(self.scripts["application/json"])
        return told

    @property
    def policy(self) -> list[str]:
        """Return the directives of the content policy."""
        found = [a["content"] for _, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        return (found[0] or "").split("; ")


def report_of(state: Path, session: str = SESSION, **pins: str) -> Report:
    """Return a session's report."""
    return gather_report(state, session, Pins(**pins))


def page_of(state: Path, session: str = SESSION, **pins: str) -> Page:
    """Return a session's page, taken apart."""
    return Page(render(report_of(state, session, **pins)))


def told(step: dict[str, Any]) -> str:
    """Return everything that a step tells, as a person reads it."""
    return plain(json.dumps(step, ensure_ascii=False))
