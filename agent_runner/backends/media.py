"""Hold what is no text and yet goes to a model: pictures whose bytes stand in the request itself.

A URL or a file's id would have the model's server fetch something. So a picture is bytes of a known kind,
which are decoded when they are taken in and encoded anew where they leave: nothing else can be spelled so.
What is in the bytes beyond their first is not looked at, and nothing here decodes a picture.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 5 << 20
"""Of one picture; the least that the known servers take."""
MOST_MEDIA: Final = 100
"""In one request."""
TOKENS: Final = 1_600
"""What a picture is taken to cost where a server counts nothing; Anthropic's models make at most so many."""
_BEGINS: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
_URL: Final = re.compile(r"data:(image/[a-z]+);base64,([A-Za-z0-9+/]*={0,2})")


@dataclass(frozen=True, slots=True)
class Media:
    """A picture."""

    kind: str
    """Its media type: PNG, JPEG, GIF or WebP."""
    raw: bytes

    @property
    def data(self) -> str:
        """Return its bytes as base64."""
        return base64.b64encode(self.raw).decode()

    @property
    def url(self) -> str:
        """Return it as a `data:` URL."""
        return f"data:{self.kind};base64,{self.data}"

    @property
    def told(self) -> str:
        """Return what names it in the ledger, which keeps no picture."""
        return f"[{self.kind}, {len(self.raw)} bytes, sha256 {hashlib.sha256(self.raw).hexdigest()}]"


def media_of_url(url: str) -> Media:
    """Return the picture that a `data:` URL holds, which is written in one way only.

    Raises:
        ValueError: When it holds none; the text says why.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("a picture is `data:image/KIND;base64,…`, with nothing else in it")
    return media_of(found[1], found[2])


def media_of(kind: object, data: object) -> Media:
    """Return a picture from its media type and base64.

    Raises:
        ValueError: When it is none; the text says why.
    """
    begins = _BEGINS.get(kind) if isinstance(kind, str) else None
    if begins is None:
        raise ValueError("a picture is PNG, JPEG, GIF or WebP")
    if not isinstance(data, str) or len(data) > MOST_BYTES * 4 // 3 + 4:
        raise ValueError(f"a picture is base64 of at most {MOST_BYTES} bytes")
    try:
        raw = base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("a picture is not base64") from None
    if len(raw) > MOST_BYTES:
        raise ValueError(f"a picture is base64 of at most {MOST_BYTES} bytes")
    if not begins.match(raw):
        raise ValueError(f"a picture does not begin as `{kind}` does")
    return Media(str(kind), raw)
