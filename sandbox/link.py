"""Call the guest: many operations at once over one pair of streams, with beats, credit, cancellation.

    link = Link(reader, writer)
    facts = await link.hello(nonce, wall_seconds=1800)
    answer = await link.call("files.read", {"path": "a.txt"})

The bytes come from a container that may be hostile: the rules are in `link_state`, which raises on anything
odd; this module adds time, waiting and the bounds on what is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sandbox.connection import Connections
from sandbox.errors import SandboxError, SandboxLostError
from sandbox.guest import frames
from sandbox.guest.frames import ProtocolError
from sandbox.link_events import (
    BeatAnswered,
    BodyReceived,
    Cancelled,
    ConnectionBody,
    ConnectionCredit,
    CreditReceived,
    Ended,
    ErrorsReceived,
    Event,
    Failed,
    Finished,
    Greeted,
    Opened,
)
from sandbox.link_state import MAX_STREAMS, LinkState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from sandbox.connection import Relay
    from sandbox.engine import ByteReader, ByteWriter
    from sandbox.guest.objects import Object

    Consumer = Callable[[bytes], Awaitable[None]]

BEAT_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 10.0
LEASE_SECONDS: Final = 10.0
HELLO_SECONDS: Final = 60.0
DEFAULT_LIMIT_BYTES: Final = 16 << 20
_READ_BYTES: Final = 256 * 1024
_CREDIT_STEP_BYTES: Final = 64 * 1024
_OVERSLEPT_SECONDS: Final = 1.0


class OperationFailedError(SandboxError):
    """Raised when the guest answered an operation with FAIL.

    Args:
        operation: its name.
        code: one word, stable: `not-found`, `path`, `timeout`, …; see docs/architecture.md.
        message: the guest's own words: hostile text, to be escaped before it is shown.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {message}")
        self.operation = operation
        self.code = code
        self.reason = message


class AnswerTooLargeError(SandboxError):
    """Raised when an operation's body is longer than its caller allowed; the operation has been cancelled.

    Args:
        operation: its name.
        limit_bytes: what was allowed.
    """

    def __init__(self, operation: str, limit_bytes: int) -> None:
        super().__init__(f"{operation} answered more than `{limit_bytes}` bytes")
        self.operation = operation
        self.limit_bytes = limit_bytes


class GuestUnresponsiveError(SandboxLostError):
    """Raised when the guest has not answered a beat for too long."""


class GuestProtocolError(SandboxLostError):
    """Raised when the guest broke a rule of the link: it is not what was started, or was taken over."""


class LinkClosedError(SandboxLostError):
    """Raised when the link was closed, by the guest's end or by this side, while it was needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What an operation answered."""

    result: Object
    """The RESULT frame's object."""
    body: bytes
    """All BODY bytes; empty when a consumer took them."""
    errors: bytes
    """All ERRORS bytes, a program's stderr; empty when a consumer took them."""


class Stream:
    """One operation that runs. Made by `Link.open`.

    Args:
        link: whose stream it is.
        number: on the wire.
        operation: its name, for messages.
    """

    def __init__(self, link: Link, number: int, operation: str) -> None:
        self._link = link
        self.number = number
        self.operation = operation
        self._received: deque[BodyReceived | ErrorsReceived] = deque()
        self._taken_bytes = 0
        self._outcome: Finished | Failed | SandboxError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._credited = asyncio.Event()
        self._abandoned = False

    # ---- for the caller

    async def send(self, data: bytes) -> None:
        """Send body bytes, waiting for credit; what the operation did not want, having ended, is dropped."""
        view = memoryview(data)
        while view and self._outcome is None:
            count = min(len(view), self._link.state.may_send(self.number), frames.MAX_PAYLOAD_BYTES)
            if count == 0:
                self._credited.clear()
                await self._credited.wait()
                continue
            self._link.write(self._link.state.body(self.number, view[:count]))
            view = view[count:]
            await self._link.drain()

    def end(self) -> None:
        """Say that no more body bytes follow."""
        self._link.write(self._link.state.end(self.number))

    def cancel(self) -> None:
        """Ask the guest to end the operation; it answers FAIL `cancelled`, or the result it already had."""
        self._link.write(self._link.state.cancel(self.number))

    async def chunks(self) -> AsyncIterator[BodyReceived | ErrorsReceived]:
        """Yield what comes, in order, until the operation has answered; taking a chunk gives credit."""
        while True:
            while self._received:
                chunk = self._received.popleft()
                yield chunk
                self._give_credit(len(chunk.data))
            if self._outcome is not None:
                return
            await self._wait()

    async def result(self) -> Object:
        """Return the operation's result; chunks that nobody took are dropped.

        Raises:
            OperationFailedError: when the guest answered FAIL.
            SandboxLostError: when the link is lost.
        """
        async for _ in self.chunks():
            pass
        match self._outcome:
            case Finished(_, result):
                return result
            case Failed(_, code, message):
                raise OperationFailedError(self.operation, code, message)
            case SandboxError() as error:
                raise error
            case None:  # `chunks` only ends with an outcome
                raise AssertionError

    # ---- for the link

    def deliver(self, event: BodyReceived | ErrorsReceived | Finished | Failed | SandboxError) -> None:
        """Take in what the guest sent, or how the link was lost."""
        if isinstance(event, BodyReceived | ErrorsReceived):
            if not self._abandoned:
                self._received.append(event)
        else:
            self._outcome = event
            self._credited.set()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def credit(self) -> None:
        """Wake a sender that waits for credit."""
        self._credited.set()

    def abandon(self) -> None:
        """Cancel what still runs, and let what it still sends fall to the ground."""
        if self._outcome is None and not self._abandoned:
            self._abandoned = True
            self._received.clear()
            self.cancel()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _give_credit(self, count: int) -> None:
        self._taken_bytes += count
        if self._taken_bytes >= _CREDIT_STEP_BYTES and self._outcome is None:
            self._link.write(self._link.state.grant(self.number, self._taken_bytes))
            self._taken_bytes = 0


class Link:
    """The host's end of a sandbox's only wire.

    Args:
        reader: the guest's stdout.
        writer: the guest's stdin.
        beat_seconds: how often to beat.
        silence_seconds: how long the guest may leave beats unanswered.
    """

    def __init__(
        self,
        reader: ByteReader,
        writer: ByteWriter,
        *,
        beat_seconds: float = BEAT_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.state = LinkState()
        self._reader = reader
        self._writer = writer
        self._beat_seconds = beat_seconds
        self._silence_seconds = silence_seconds
        self._streams: dict[int, Stream] = {}
        self._free = asyncio.Semaphore(MAX_STREAMS)
        self._greeting: asyncio.Future[Greeted] | None = None
        self._lost: SandboxError | None = None
        self._last_answer = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._connections = Connections(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def hello(
        self,
        nonce: str,
        *,
        wall_seconds: float,
        lease_seconds: float = LEASE_SECONDS,
        within_seconds: float = HELLO_SECONDS,
    ) -> Object:
        """Greet the guest, start beating, and return the facts that it tells of itself.

        Args:
            nonce: fresh; the guest sends it back, which shows that this is not a recording.
            wall_seconds: after which the guest ends by itself.
            lease_seconds: how long the guest lives without a beat.
            within_seconds: how long the guest may take to start.

        Raises:
            GuestProtocolError: when it answers something else, or another nonce.
            GuestUnresponsiveError: when it does not answer in time.
            LinkClosedError: when it ends first.
        """
        loop = asyncio.get_running_loop()
        self._greeting = loop.create_future()
        self.write(self.state.hello(nonce=nonce, lease_seconds=lease_seconds, wall_seconds=wall_seconds))
        self._tasks.append(asyncio.create_task(self._read()))
        try:
            async with asyncio.timeout(within_seconds):
                greeted = await self._greeting
        except TimeoutError:
            self._lose(GuestUnresponsiveError(f"the guest did not answer within `{within_seconds}` seconds"))
            raise self._lost_error() from None
        if greeted.nonce != nonce:
            self._lose(GuestProtocolError("the guest answered another nonce than it was sent"))
            raise self._lost_error()
        self._last_answer = loop.time()
        self._tasks.append(asyncio.create_task(self._beat()))
        return greeted.facts

    @contextlib.asynccontextmanager
    async def open(self, operation: str, arguments: Object) -> AsyncIterator[Stream]:
        """Start an operation; leaving the block before it has answered cancels it.

        Args:
            operation: one of those in docs/architecture.md.
            arguments: its arguments.

        Raises:
            SandboxLostError: when the link is lost.
        """
        await self._free.acquire()
        if self._lost is not None:
            self._free.release()
            raise self._lost_error()
        try:
            number, data = self.state.open(operation, arguments)
        except ValueError as error:
            self._free.release()
            raise OperationFailedError(operation, "arguments", str(error)) from error
        stream = Stream(self, number, operation)
        self._streams[number] = stream
        self.write(data)
        try:
            yield stream
        finally:
            stream.abandon()

    async def call(  # noqa: PLR0913 (a call is described by what goes in, what comes out and its bound)
        self,
        operation: str,
        arguments: Object,
        *,
        body: bytes | AsyncIterator[bytes] = b"",
        on_body: Consumer | None = None,
        on_errors: Consumer | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> CallResult:
        """Do one operation.

        Args:
            operation: one of those in docs/architecture.md.
            arguments: its arguments.
            body: what the operation is fed: a file's content, a program's stdin.
            on_body: takes each piece of the answer's body; what it takes is not kept, but counts.
            on_errors: the same for ERRORS.
            limit_bytes: how much BODY and ERRORS together may be.

        Raises:
            OperationFailedError: when the guest answered FAIL.
            AnswerTooLargeError: when there was more than `limit_bytes`.
            SandboxLostError: when the link is lost.
        """
        async with self.open(operation, arguments) as stream:
            feeder = self._feed(stream, body)
            try:
                kept = await self._collect(stream, on_body, on_errors, limit_bytes)
                return CallResult(result=await stream.result(), body=kept[0], errors=kept[1])
            finally:
                if feeder is not None:
                    await _stop(feeder)

    def accept(self, relay: Relay) -> None:
        """Let the guest open connections from now on; until this is called, its OPEN is a protocol error.

        Args:
            relay: serves each of them; one that raises costs its own connection, not the link.
        """
        self._connections.accept(relay)
        self.state.accept()

    async def close(self) -> None:
        """End the link; the guest then ends as well."""
        self._lose(LinkClosedError("the link was closed"))
        await self._connections.closed()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    # ---- inside

    def write(self, data: bytes) -> None:
        """Send bytes that `state` made."""
        if data and self._lost is None:
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        if self._lost is None:
            with contextlib.suppress(OSError):  # the reading side tells
                await self._writer.drain()

    def _feed(self, stream: Stream, body: bytes | AsyncIterator[bytes]) -> asyncio.Task[None] | None:
        """Send the body; in a task of its own when it does not fit into the first credit."""
        if isinstance(body, bytes) and len(body) <= frames.INITIAL_CREDIT_BYTES:
            if body:
                self.write(self.state.body(stream.number, body))
            stream.end()
            return None
        feeder = asyncio.create_task(_send_all(stream, body))
        feeder.add_done_callback(
            lambda done: None if done.cancelled() or not done.exception() else stream.cancel()
        )
        return feeder

    async def _collect(
        self, stream: Stream, on_body: Consumer | None, on_errors: Consumer | None, limit_bytes: int
    ) -> tuple[bytes, bytes]:
        kept: dict[bool, list[bytes]] = {True: [], False: []}
        left = limit_bytes
        async for chunk in stream.chunks():
            left -= len(chunk.data)
            if left < 0:
                raise AnswerTooLargeError(stream.operation, limit_bytes)
            is_body = isinstance(chunk, BodyReceived)
            consumer = on_body if is_body else on_errors
            if consumer is None:
                kept[is_body].append(chunk.data)
            else:
                await consumer(chunk.data)
        return b"".join(kept[True]), b"".join(kept[False])

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(_READ_BYTES):
                for event in self.state.feed(data):
                    self._take(event)
            self._lose(LinkClosedError("the guest closed the link"))
        except ProtocolError as error:
            self._lose(GuestProtocolError(f"the guest broke the link's rules: {error}"))
        except (OSError, asyncio.IncompleteReadError) as error:
            self._lose(LinkClosedError(f"the link broke: {error}"))

    def _take(self, event: Event) -> None:
        match event:
            case Opened() | Ended() | Cancelled() | ConnectionBody() | ConnectionCredit():
                self._connections.take(event)
            case BodyReceived(number, _) | ErrorsReceived(number, _):
                self._streams[number].deliver(event)
            case CreditReceived(number):
                self._streams[number].credit()
            case Finished(number, _) | Failed(number, _, _):
                self._streams.pop(number).deliver(event)
                self._free.release()
            case BeatAnswered():
                self._last_answer = asyncio.get_running_loop().time()
            case Greeted():
                if self._greeting is not None and not self._greeting.done():
                    self._greeting.set_result(event)

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._lost is None:
            self.write(self.state.beat())
            before = clock()
            await asyncio.sleep(self._beat_seconds)
            overslept = clock() - before - self._beat_seconds
            if overslept > _OVERSLEPT_SECONDS:  # this process was stopped: the guest is not to blame
                self._last_answer += overslept
            silent = clock() - self._last_answer
            if silent > self._silence_seconds:
                self._lose(GuestUnresponsiveError(f"the guest has not answered for `{silent:.1f}` seconds"))

    def _lose(self, error: SandboxError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._writer.close()
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(error)
        for stream in self._streams.values():
            stream.deliver(error)
            self._free.release()
        self._streams.clear()
        self._connections.cancel()

    def _lost_error(self) -> SandboxError:
        return self._lost or LinkClosedError("the link was closed")


async def _send_all(stream: Stream, body: bytes | AsyncIterator[bytes]) -> None:
    if isinstance(body, bytes):
        await stream.send(body)
    else:
        async for piece in body:
            await stream.send(piece)
    stream.end()


async def _stop(feeder: asyncio.Task[None]) -> None:
    """End a feeder; what its source raised is raised here, for it is why the operation was cancelled."""
    feeder.cancel()
    await asyncio.wait([feeder])
    if not feeder.cancelled():
        feeder.result()
