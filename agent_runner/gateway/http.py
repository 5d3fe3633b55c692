"""Serve HTTP/1.1 on one connection of the container's: bounded requests, answers that may come in pieces."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    Send = Callable[[bytes], Awaitable[None]]

T = TypeVar("T")

MOST_HEAD_BYTES: Final = 64 * 1024
MOST_BODY_BYTES: Final = 8 * 1024 * 1024
AT_ONCE: Final = 4
"""Requests of one session that are read and answered at once; the others wait, and are not kept meanwhile."""
REQUEST_SECONDS: Final = 60.0
"""How long a request's head may take to arrive, once it has begun, and its body after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """One answer; whoever has it closes it, whether it was sent or not."""

    status: int
    content_type: str
    body: bytes | AsyncGenerator[bytes, None]
    headers: tuple[tuple[str, str], ...] = ()
    close: Callable[[], Awaitable[None]] = _nothing
    """Ends what still makes the body: a generator that never began cannot."""


class Answerer(Protocol):
    """Answers requests."""

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer; whatever goes wrong is one, too."""
        ...


class Serving:
    """Serve the connections of a session; `sandbox.connection.Relay`.

    Args:
        answerer: Answers their requests.
    """

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._room = asyncio.Semaphore(AT_ONCE)

    async def __call__(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],  # noqa: ARG002 - whoever serves a connection to its end has it ended
    ) -> None:
        """Serve one to its end."""
        await serve(self._answerer, received, send, self._room)


class _TooLargeError(Exception):
    pass


async def serve(
    answerer: Answerer, received: AsyncIterator[bytes], send: Send, room: asyncio.Semaphore
) -> None:
    """Serve a connection to its end; what is no HTTP is answered with 400 and ends it.

    Args:
        answerer: Answers.
        received: What the client sends.
        send: Sends to it.
        room: Shared by the connections of a session, so that their requests together are bounded.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
    inlet = _Inlet(received)
    arrivals = _Arrivals(connection, inlet, send)
    try:
        while (head := await arrivals.head()) is not None:
            async with room:
                request = await arrivals.whole(head)
                if not await inlet.unless_gone(_asked(answerer, request, connection, send)):
                    return
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
    except (h11.ProtocolError, _TooLargeError, TimeoutError) as error:
        status = 413 if isinstance(error, _TooLargeError) else 400
        if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            said = str(error) or "the request did not arrive in time"
            plain = HttpAnswer(status=status, content_type="text/plain", body=said.encode()[:300])
            await _answered(connection, send, plain, last=True)
    finally:
        await inlet.close()


class _Inlet:
    """Take what comes as it comes, a piece ahead, so that a client that goes away is noticed.

    Args:
        received: The bytes.
    """

    def __init__(self, received: AsyncIterator[bytes]) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        self._gone = asyncio.Event()
        self._pump = asyncio.create_task(self._take(received))

    async def _take(self, received: AsyncIterator[bytes]) -> None:
        try:
            async for piece in received:
                await self._pieces.put(piece)
        finally:
            self._gone.set()
        await self._pieces.put(b"")

    async def piece(self) -> bytes:
        """Return the next bytes; empty when no more come."""
        if self._gone.is_set() and self._pieces.empty():
            return b""
        return await self._pieces.get()

    async def unless_gone(self, work: Coroutine[None, None, T]) -> T | None:
        """Return what the work returns; None, and the work cancelled, when the client has ended its side.

        Clients of these APIs keep theirs open until they have their answer.
        """
        doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            for task in (doing, leaving):
                task.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)

    async def close(self) -> None:
        """Take nothing more."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


class _Arrivals:
    """Read requests.

    Args:
        connection: The rules of HTTP/1.1.
        inlet: The bytes.
        send: For `100 Continue`.
    """

    def __init__(self, connection: h11.Connection, inlet: _Inlet, send: Send) -> None:
        self._connection = connection
        self._inlet = inlet
        self._send = send

    async def head(self) -> h11.Request | None:
        """Return the head of the next request; None when the client has sent its last.

        Raises:
            h11.ProtocolError: When what came is no request.
            TimeoutError: When it has begun, and its head does not arrive to its end.
        """
        if not self._connection.trailing_data[0]:
            self._connection.receive_data(await self._inlet.piece())
        async with asyncio.timeout(REQUEST_SECONDS):
            head = await self._event()
        return head if isinstance(head, h11.Request) else None

    async def whole(self, head: h11.Request) -> HttpRequest:
        """Return a request with its body.

        Raises:
            _TooLargeError: When it is too large, or says that it will be and waits to be told to go on. A
                client that does not wait would be cut off while it sends, and not read why.
            h11.ProtocolError: When what came is no body.
            TimeoutError: When it does not arrive to its end.
        """
        if self._connection.they_are_waiting_for_100_continue:
            _require_small(dict(head.headers).get(b"content-length", b"0"))
        async with asyncio.timeout(REQUEST_SECONDS):
            body = await self._body()
        return HttpRequest(
            method=head.method.decode("ascii", "replace"),
            target=head.target.decode("ascii", "replace"),
            headers=_headers(head),
            body=body,
        )

    async def _body(self) -> bytes:
        if self._connection.they_are_waiting_for_100_continue:
            go_on = self._connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._send(go_on or b"")
        body = bytearray()
        while isinstance(part := await self._event(), h11.Data):
            body += part.data
            _require_small(len(body))
        return bytes(body)

    async def _event(self) -> object:
        while (event := self._connection.next_event()) is h11.NEED_DATA:
            self._connection.receive_data(await self._inlet.piece())
        return event


def _headers(head: h11.Request) -> Mapping[str, str]:
    """Return the headers, those of one name as one: a second that is empty takes the place of none."""
    found: dict[str, list[str]] = {}
    for name, value in head.headers:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: ", ".join(filter(None, values)) for name, values in found.items()}


def _require_small(body_bytes: bytes | int) -> None:
    """Refuse a body of more than `MOST_BODY_BYTES`."""
    if int(body_bytes) > MOST_BODY_BYTES:
        raise _TooLargeError(f"a request may have at most {MOST_BODY_BYTES} bytes")


async def _asked(answerer: Answerer, request: HttpRequest, connection: h11.Connection, send: Send) -> bool:
    """Answer a request; return that the answer was sent to its end.

    INVARIANT: between the answer and its close nothing waits that is not within the `try`.
    """
    answer = await answerer.answer(request)
    try:
        return await _answered(connection, send, answer, bare=request.method == "HEAD")
    finally:
        await answer.close()


async def _answered(
    connection: h11.Connection, send: Send, answer: HttpAnswer, *, last: bool = False, bare: bool = False
) -> bool:
    """Send an answer, `bare` without a body that it has whole; return that it was sent to its end."""
    body = answer.body
    shape = (
        [("content-length", str(len(body)))]
        if isinstance(body, bytes)
        else [("transfer-encoding", "chunked")]
    )
    end = [("connection", "close")] if last else []
    headers = [("content-type", answer.content_type), *shape, *end, *answer.headers]
    await _sent(connection, send, h11.Response(status_code=answer.status, headers=headers))
    if isinstance(body, bytes):
        # An answer to HEAD says how long the body would be, and has none (RFC 9110, clause 9.3.2).
        await _sent(connection, send, h11.Data(data=b"" if bare else body))
    else:
        async with aclosing(body) as pieces:
            async for piece in pieces:
                await _sent(connection, send, h11.Data(data=piece))
    await _sent(connection, send, h11.EndOfMessage())
    return True


async def _sent(connection: h11.Connection, send: Send, event: h11.Event) -> None:
    if data := connection.send(event):
        await send(data)
