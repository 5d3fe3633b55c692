"""Split content into lines, and bring bytes into a form that JSON can carry."""

from __future__ import annotations

import binascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object


def lines_of(content: bytes) -> list[bytes]:
    """Split after each LF and nowhere else: a CR alone is part of its line."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    last = lines.pop().removesuffix(b"\n")
    return [*lines, last] if last else lines


def text_of(raw: bytes) -> Object:
    """Return bytes as `text`, or as `text_base64` where they are not UTF-8."""
    try:
        return {"text": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text_base64": binascii.b2a_base64(raw, newline=False).decode("ascii")}
