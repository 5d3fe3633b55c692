"""Render an answer's body as text: HTML readable, JSON indented, other text as UTF-8, the rest as it is."""

from __future__ import annotations

import codecs
from typing import Final

from sandbox.egress.indented import indented
from sandbox.egress.readable import readable

_CHARSETS: Final = frozenset(
    {"utf-8", "ascii", "iso8859-1", "cp1252", "iso8859-15", "utf-16", "shift_jis", "gb18030"}
)


def rendered(body: bytes, content_type: str) -> bytes:
    """Return a body as UTF-8 text.

    Args:
        body: As it came, perhaps cut off.
        content_type: The header's value; empty when there was none.

    Returns:
        Text; the body itself when it is not text.
    """
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if not _is_text(kind, body):
        return body
    text = body.decode(_charset(parameters), "replace")
    if kind in {"text/html", "application/xhtml+xml"}:
        return readable(text).encode("utf-8", "replace")
    if kind == "application/json" or kind.endswith("+json"):
        text = indented(text)
    return text.encode("utf-8", "replace")


def _is_text(kind: str, body: bytes) -> bool:
    if kind.startswith("text/") or kind.endswith(
        ("+json", "+xml", "/json", "/xml", "/javascript", "+yaml", "/yaml")
    ):
        return True
    return (
        kind in {"", "application/x-www-form-urlencoded", "application/x-ndjson"} and b"\0" not in body[:4096]
    )


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset":
            return _known(value.strip("\"' "))
    return "utf-8"


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return "utf-8"
    return found if found in _CHARSETS else "utf-8"
