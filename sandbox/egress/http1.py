"""Speak one HTTP/1.1 request and its answer over a crossing; h11 does the framing, both ways anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.exchange import HEAD_BYTES, MOST_INTERIM, Answer, Exchange, Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.egress.credentials import Credential
    from sandbox.egress.crossing import Crossing


class Http1Exchange(Exchange):
    """One request and one answer over a connection of their own."""

    def __init__(self, crossing: Crossing, head: Head, credential: Credential | None) -> None:
        super().__init__(crossing, head, credential)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)

    async def send_head(self) -> None:
        """Send the request's head."""
        try:
            request = h11.Request(
                method=self._head.method,
                target=self._head.target.path + self._head.query,
                headers=self._headers(),
            )
        except (h11.LocalProtocolError, UnicodeError):  # the error would quote a credential
            raise EgressDeniedError("protocol", "the request is not well formed") from None
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
        for _ in range(MOST_INTERIM + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                return self._as_answer(event.status_code, bytes(event.reason), event.headers)
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise self._broken("changed the protocol or closed without an answer")
        raise self._broken(f"is preceded by more than {MOST_INTERIM} interim ones")

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
        return [
            ("host", self.authority),
            *self._end_to_end(),
            *self._framing(),
            ("connection", "close"),
        ]

    def _framing(self) -> list[tuple[str, str]]:
        if self._head.length is None:
            return [("transfer-encoding", "chunked")]
        if self._head.length or self._head.method in {"POST", "PUT", "PATCH"}:
            return [("content-length", str(self._head.length))]
        return []

    def _encoded(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._http.send(event) or b""
        except h11.LocalProtocolError:
            raise EgressDeniedError("protocol", "the request is not well formed") from None

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._crossing.read())
        except h11.RemoteProtocolError:  # the error would quote what the server sent, an echo as well
            raise self._broken("is not well formed HTTP/1.1") from None
        return event
