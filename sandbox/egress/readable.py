"""Turn HTML into plain text in one linear pass; it runs in the egress process.

The standard library's parser takes quadratic time on hostile pages (CVE-2025-6069), so tags are cut by hand:
every step moves on or ends. Nothing of ours is imported, so that the same file can run in the guest.
"""

from __future__ import annotations

import html
import re

LARGEST_INPUT_CHARACTERS = 4 * 1024 * 1024
LONGEST_TAG_CHARACTERS = 8192
MOST_TAGS = 100_000
"""A page of more is left out from there, and says so: each costs about 5 µs."""
_SILENT = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "textarea")
)
_BLOCKS = frozenset(
    """
    address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 head
    header hr li main nav ol p pre section summary table td th title tr ul
    """.split()  # noqa: SIM905 - forty names read better as words
)
_MARKS = {"h1": "# ", "h2": "## ", "h3": "### ", "li": "- "}
_OPENED = re.compile(r"<(?=[a-zA-Z!?/])")
_HUGE_NUMBER = re.compile(r"&#[0-9]{8,};?")
"""A character's number that is none, and that Python may refuse to read (more than 4,300 digits)."""
_TAG = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]{0,15})")
_HREF = re.compile(r"""\shref=(?:"([^"]{0,2048})"|'([^']{0,2048})'|([^\s"'>]{1,2048}))""", re.IGNORECASE)


def readable(page: str) -> str:
    """Return the text of a page, without scripts and styles, links with their targets.

    Args:
        page: A page, however broken; what is beyond 4 Mi characters, or 100,000 tags, is left out.
    """
    parts = _Cutter(page[:LARGEST_INPUT_CHARACTERS]).parts()
    text = html.unescape(_HUGE_NUMBER.sub("\ufffd", "".join(parts)))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip() + "\n"


class _Cutter:
    """Cut a page at its tags. INVARIANT: every search starts where the last one ended."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._small = page.lower() if len(page.lower()) == len(page) else page
        self._link = ""

    def parts(self) -> list[str]:
        found: list[str] = []
        at = 0
        for _ in range(MOST_TAGS):
            opened = _OPENED.search(self._page, at)
            if opened is None:
                return [*found, self._page[at:]]
            found.append(self._page[at : opened.start()])
            text, at = self._tag(opened.start())
            found.append(text)
        return [*found, f"\n[{len(self._page) - at} characters left out: the page has too many tags]"]

    def _tag(self, opened: int) -> tuple[str, int]:
        if self._page.startswith("<!--", opened):
            return "", self._after("-->", opened + 4)
        found = _TAG.match(self._page, opened + 1)
        closed = self._page.find(">", opened, opened + LONGEST_TAG_CHARACTERS)
        if closed < 0:
            return "", min(opened + LONGEST_TAG_CHARACTERS, len(self._page))
        if found is None:
            return "", closed + 1
        return self._named(found[1].lower(), self._page[opened + 1 : closed], closed + 1)

    def _named(self, name: str, inside: str, after: int) -> tuple[str, int]:
        if name in _SILENT and not inside.startswith("/"):
            ended = self._after(f"</{name}", after)
            return "", self._after(">", ended)
        if name == "a":
            return self._anchor(inside), after
        if name not in _BLOCKS:
            return "", after
        return "\n" + ("" if inside.startswith("/") else _MARKS.get(name, "")), after

    def _anchor(self, inside: str) -> str:
        told, self._link = self._link, ""
        if not inside.startswith("/") and (found := _HREF.search(inside)):
            self._link = found[1] or found[2] or found[3] or ""
        return f" <{told}>" if told.startswith(("http://", "https://", "/")) else ""

    def _after(self, ending: str, at: int) -> int:
        found = self._small.find(ending, at)
        return len(self._page) if found < 0 else found + len(ending)
