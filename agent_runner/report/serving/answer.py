"""Say what the server answers: a status, a body or a stream of events, and the headers that go with each."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLOSED: Final = "default-src 'none'; frame-ancestors 'none'"
"""The content policy of an answer that is no page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer."""

    status: HTTPStatus = HTTPStatus.OK
    kind: str = "text/plain; charset=utf-8"
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    """What comes piece by piece, in place of a body; None where there is a body."""
    content_policy: str = CLOSED
    more: tuple[tuple[str, str], ...] = ()
    """Further headers."""

    def headers(self) -> list[tuple[str, str]]:
        """Return every header: nothing is kept, framed, sniffed, or handed to another origin."""
        length = [] if self.stream else [("Content-Length", str(len(self.body)))]
        return [
            ("Content-Type", self.kind),
            *length,
            ("Content-Security-Policy", self.content_policy),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
            *self.more,
        ]


def text(status: HTTPStatus, words: str) -> Answer:
    """Return an answer of one line."""
    return Answer(status=status, body=f"{words}\n".encode())


def page(content: str, content_policy: str) -> Answer:
    """Return a page of HTML."""
    return Answer(
        kind="text/html; charset=utf-8",
        body=content.encode(),
        content_policy=f"{content_policy}; frame-ancestors 'none'",
    )
