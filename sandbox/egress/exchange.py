"""Speak one HTTP/1.1 request and its answer over a crossing; h11 does the framing, both ways anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h11

from sandbox.egress.credentials import Headers, Mask
from sandbox.egress.errors import EgressDeniedError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from policies.urls import Target
    from sandbox.egress.border import Border
    from sandbox.egress.credentials import Credential
    from sandbox.egress.crossing import Crossing

HEAD_BYTES: Final = 64 * 1024
MOST_HEADERS: Final = 128
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
_NEVER: Final = frozenset({"CONNECT", "TRACE", "TRACK"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,16384}")
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
"""Headers of one connection, RFC 9110 7.6.1; they are never handed on."""
_OURS: Final = frozenset({"host", "content-length", "expect"})
_BODYLESS_STATUS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body, canonical."""

    method: str
    target: Target
    query: str = ""
    """With its `?`; empty for none."""
    headers: Headers = ()
    """Names in small letters, without those that the gate writes itself."""
    length: int | None = 0
    """Bytes of the body; None when they are not known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of an answer."""

    status: int
    reason: str
    headers: Headers
    """Names in small letters, without those of the connection; echoes of the credential masked."""
    length: int | None
    """Bytes of the body that were announced; None when unknown."""


def checked_method(text: str) -> str:
    """Return a method that may be asked about.

    Raises:
        EgressDeniedError: When it is none, or one that no rule can allow.
    """
    if not _METHOD.fullmatch(text) or text in _NEVER:
        raise EgressDeniedError(
            "method", f"method `{_shown(text)}` is not allowed by any rule", hint="use GET"
        )
    return text


def checked_headers(headers: Headers) -> Headers:
    """Return what is handed on of a request's headers: end to end ones, names in small letters.

    Raises:
        EgressDeniedError: When a name or value is none, or there are too many.
    """
    if len(headers) > MOST_HEADERS:
        raise EgressDeniedError("protocol", f"{len(headers)} headers; at most {MOST_HEADERS} are sent")
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise EgressDeniedError("protocol", f"header `{_shown(name)}` is not well formed")
    small = [(name.lower(), value.strip(" \t")) for name, value in headers]
    return _end_to_end(small, also=_OURS)


def _end_to_end(headers: list[tuple[str, str]], *, also: frozenset[str] = frozenset()) -> Headers:
    listed = (value for name, value in headers if name == "connection")
    named = {word.strip().lower() for value in listed for word in value.split(",")}
    dropped = HOP_BY_HOP | also | named
    return tuple((name, value) for name, value in headers if name not in dropped)


class Exchange:
    """One request and one answer; a redirect is an answer like any other.

    Args:
        crossing: Dialled.
        head: The request.
        credential: What the gate puts in; None for nothing.
    """

    def __init__(self, crossing: Crossing, head: Head, credential: Credential | None) -> None:
        self._crossing = crossing
        self._head = head
        self._credential = credential
        self._mask = Mask(credential.echoes() if credential else frozenset())
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)

    async def send_head(self) -> None:
        """Send the request's head."""
        request = h11.Request(
            method=self._head.method,
            target=self._head.target.path + self._head.query,
            headers=self._headers(),
        )
        await self._crossing.write(self._encoded(request))

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._crossing.write(self._encoded(h11.Data(data=data)))

    async def send_end(self) -> None:
        """Say that the body is whole."""
        if encoded := self._encoded(h11.EndOfMessage()):
            await self._crossing.write(encoded)

    async def answer(self) -> Answer:
        """Return the head of the answer; interim ones are skipped, a change of protocol is refused.

        Raises:
            UpstreamError: When it is not HTTP.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                self._crossing.status = event.status_code
                return self._as_answer(event)
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise self._broken("changed the protocol or closed without an answer")

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the answer, echoes masked.

        Raises:
            UpstreamError: When it ends before it is whole.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                if safe := self._mask.feed(bytes(event.data)):
                    yield safe
            elif isinstance(event, h11.EndOfMessage):
                if rest := self._mask.end():
                    yield rest
                return
            else:
                raise self._broken("closed before its answer was whole")

    def _headers(self) -> list[tuple[str, str]]:
        target = self._head.target
        default = {"http": 80, "https": 443}[target.scheme]
        name = f"[{target.host}]" if ":" in target.host else target.host
        host = name if target.port == default else f"{name}:{target.port}"
        put_in = self._credential.headers() if self._credential else ()
        replaced = {name for name, _ in put_in} | ({"authorization", "accept-encoding"} if put_in else set())
        kept = [(name, value) for name, value in self._head.headers if name not in replaced]
        encoding = (
            [("accept-encoding", "identity")] if put_in else []
        )  # else an echo could hide in a compressed body
        return [("host", host), *kept, *put_in, *encoding, *self._framing(), ("connection", "close")]

    def _framing(self) -> list[tuple[str, str]]:
        if self._head.length is None:
            return [("transfer-encoding", "chunked")]
        if self._head.length or self._head.method in {"POST", "PUT", "PATCH"}:
            return [("content-length", str(self._head.length))]
        return []

    def _encoded(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._http.send(event) or b""
        except h11.LocalProtocolError as error:
            raise EgressDeniedError("protocol", f"the request is not well formed: {error}") from error

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._crossing.read())
        except h11.RemoteProtocolError as error:
            raise self._broken(f"is not HTTP/1.1: {error}") from error
        return event

    def _as_answer(self, event: h11.Response) -> Answer:
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        if self._credential and any(
            name == "content-encoding" and value.strip().lower() != "identity" for name, value in raw
        ):
            raise self._broken("compressed its answer, so that an echoed credential could not be found")
        lengths = {value for name, value in raw if name == "content-length"}
        chunked = any(name == "transfer-encoding" for name, _ in raw)
        masked = [(name, self._mask.whole(value.encode("latin-1")).decode("latin-1")) for name, value in raw]
        return Answer(
            status=event.status_code,
            reason=self._mask.whole(bytes(event.reason)).decode("latin-1"),
            headers=tuple(pair for pair in _end_to_end(masked) if pair[0] != "content-length"),
            length=int(lengths.pop()) if len(lengths) == 1 and not chunked else None,
        )

    def _broken(self, what: str) -> UpstreamError:
        return UpstreamError("upstream", f"the answer of `{self._crossing.wanted.host}` {what}")


async def credential_for(border: Border, crossing: Crossing) -> Credential | None:
    """Return what a crossing's rule puts in; None for nothing."""
    return await border.secrets.secret(crossing.rule.credential) if crossing.rule.credential else None


def _shown(text: str) -> str:
    return text[:40].encode("ascii", "backslashreplace").decode("ascii").replace("`", "'")


def may_have_body(method: str, status: int) -> bool:
    """Tell whether an answer can have a body (RFC 9112, 6.3)."""
    return method != "HEAD" and status not in _BODYLESS_STATUS and status >= 200
