"""Speak one request and its answer as HTTP/2 over a crossing: one stream on a connection; h2 frames."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.exchange import HEAD_BYTES, MOST_INTERIM, Answer, Exchange, Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from h2.events import Event

    from sandbox.egress.credentials import Credential
    from sandbox.egress.crossing import Crossing

WINDOW_BYTES: Final = 1024 * 1024
"""How much a server may send before it was taken."""
MOST_WAITING: Final = 10_000
"""Frames that wait to be taken. One read holds fewer: only what comes before a request is sent adds up."""
_STATUS: Final = re.compile(rb"[2-5][0-9]{2}")
_Kept = ResponseReceived | DataReceived | StreamEnded | StreamReset | ConnectionTerminated


class Http2Exchange(Exchange):
    """One request and one answer on the first stream of a connection."""

    def __init__(self, crossing: Crossing, head: Head, credential: Credential | None) -> None:
        super().__init__(crossing, head, credential)
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._stream = 1
        self._ended = False
        self._over = False
        """Whether the server has ended, maybe without waiting for the rest of the request's body."""
        self._events: deque[_Kept] = deque()
        self._interim = 0

    async def send_head(self) -> None:
        """Begin the connection, and send the request's head."""
        http = self._http
        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_BYTES,
        }
        http.local_settings = Settings(client=True, initial_values=settings)
        http.initiate_connection()
        http.increment_flow_control_window(WINDOW_BYTES)
        self._ended = self._head.length == 0
        try:
            http.send_headers(self._stream, self._headers(), end_stream=self._ended)
        except H2Error:  # the error would quote a credential
            raise EgressDeniedError("protocol", "the request is not well formed") from None
        await self._flush()

    async def send(self, data: bytes) -> None:
        """Send a part of the body, as the server has room for it; what it says meanwhile is kept."""
        rest = memoryview(data)
        while rest and not self._over:
            room = min(self._http.local_flow_control_window(self._stream), self._http.max_outbound_frame_size)
            if room <= 0:
                await self._hear()
                continue
            self._http.send_data(self._stream, bytes(rest[:room]))
            rest = rest[room:]
            await self._flush()

    async def send_end(self) -> None:
        """Say that the body is whole."""
        if not self._ended and not self._over:
            self._http.end_stream(self._stream)
            await self._flush()
        self._ended = True

    async def answer(self) -> Answer:
        """Return the head of the answer; interim ones are skipped.

        Raises:
            UpstreamError: When it is not HTTP/2.
        """
        while True:
            event = await self._next()
            if isinstance(event, ResponseReceived):
                headers = [(bytes(name), bytes(value)) for name, value in event.headers]
                status = next((value for name, value in headers if name == b":status"), b"")
                if not _STATUS.fullmatch(status):
                    raise self._broken("has no status from 200 to 599")
                return self._as_answer(int(status), b"", [pair for pair in headers if pair[0][:1] != b":"])
            if isinstance(event, StreamEnded):
                raise self._broken("closed without an answer")

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the answer, echoes masked.

        Raises:
            UpstreamError: When it ends before it is whole.
        """
        while not isinstance(event := await self._next(), StreamEnded):
            if not isinstance(event, DataReceived):
                continue
            if safe := self._mask.feed(bytes(event.data)):
                yield safe
            if event.flow_controlled_length:
                self._http.acknowledge_received_data(event.flow_controlled_length, self._stream)
                await self._flush()
        if rest := self._mask.end():
            yield rest

    def _headers(self) -> list[tuple[str, str]]:
        target = self._head.target
        length = self._head.length
        sized = length or self._head.method in {"POST", "PUT", "PATCH"}
        return [
            (":method", self._head.method),
            (":scheme", target.scheme),
            (":authority", self.authority),
            (":path", target.path + self._head.query),
            *self._end_to_end(),
            *([("content-length", str(length))] if length is not None and sized else []),
        ]

    async def _next(self) -> _Kept:
        while not self._events:
            await self._hear()
        event = self._events.popleft()
        if isinstance(event, StreamReset | ConnectionTerminated):
            raise self._broken(f"was broken off with error {event.error_code}")
        return event

    async def _hear(self) -> None:
        data = await self._crossing.read()
        if not data:
            raise self._broken("closed before its answer was whole")
        try:
            self._keep(self._http.receive_data(data))
        except (H2Error, ValueError):  # the error would quote what the server sent, an echo as well
            raise self._broken("is not well formed HTTP/2") from None
        if len(self._events) > MOST_WAITING:
            raise self._broken("came in too many frames")
        if self._interim > MOST_INTERIM:
            raise self._broken(f"is preceded by more than {MOST_INTERIM} interim ones")
        await self._flush()

    def _keep(self, events: Iterable[Event]) -> None:
        """Queue what an answer is made of; pings, settings and empty frames are not."""
        for event in events:
            if isinstance(event, DataReceived) and not event.flow_controlled_length:
                continue
            if isinstance(event, _Kept):
                self._events.append(event)
            self._interim += isinstance(event, InformationalResponseReceived)
            self._over = self._over or isinstance(event, StreamEnded | StreamReset | ConnectionTerminated)

    async def _flush(self) -> None:
        if data := self._http.data_to_send():
            await self._crossing.write(data)
