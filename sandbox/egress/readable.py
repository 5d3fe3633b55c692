"""Turn HTML into plain text in one linear pass; it runs in the egress process.

The standard library's parser takes quadratic time on hostile pages (CVE-2025-6069), so tags are cut by hand:
every step moves on or ends. Nothing of ours is imported, so that the same file can run in the guest.
"""

from __future__ import annotations

import html
import re

LARGEST_INPUT_CHARACTERS = 4 * 1024 * 1024
LONGEST_TAG_CHARACTERS = 8192
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
_TAG = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]{0,15})")
_HREF = re.compile(r"""\shref=(?:"([^"]{0,2048})"|'([^']{0,2048})'|([^\s"'>]{1,2048}))""", re.IGNORECASE)


def readable(page: str) -> str:
    """Return the text of a page, without scripts and styles, links with their targets.

    Args:
        page: A page, however broken; what is beyond 4 Mi characters is left out.
    """
    parts = _Cutter(page[:LARGEST_INPUT_CHARACTERS]).parts()
    lines = [" ".join(line.split()) for line in html.unescape("".join(parts)).split("\n")]
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
        while (opened := self._page.find("<", at)) >= 0:
            found.append(self._page[at:opened])
            text, at = self._tag(opened)
            found.append(text)
        found.append(self._page[at:])
        return found

    def _tag(self, opened: int) -> tuple[str, int]:
        if self._page.startswith("<!--", opened):
            return "", self._after("-->", opened + 4)
        found = _TAG.match(self._page, opened + 1)
        if found is None and self._page[opened + 1 : opened + 2] not in {"!", "?", "/"}:
            return "<", opened + 1
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
