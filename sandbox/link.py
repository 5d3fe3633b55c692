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
import math
from typing import TYPE_CHECKING, Final, Self, assert_never

from sandbox.connection import Connections
from sandbox.errors import GuestProtocolError, GuestUnresponsiveError, LinkClosedError, SandboxError
from sandbox.guest import frames
from sandbox.link_call import carry_out
from sandbox.link_end import closed, ending
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
from sandbox.link_pulse import Pulse
from sandbox.link_state import LinkState
from sandbox.link_streams import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from sandbox.connection import Relay
    from sandbox.engine import ByteReader, ByteWriter
    from sandbox.guest.objects import Object
    from sandbox.link_call import CallResult, Consumer
    from sandbox.link_stream import Stream

BEAT_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 10.0
LEASE_SECONDS: Final = 10.0
HELLO_SECONDS: Final = 60.0
DEFAULT_LIMIT_BYTES: Final = 16 << 20
MOST_UNSENT_BYTES: Final = 160 << 20
"""More than is lawful: an OPEN and the first credit of each of our streams (128 MiB), and that of each of the
guest's (25 MiB)."""


class Link:
    """The host's end of a sandbox's only wire.

    Args:
        reader: the guest's stdout.
        writer: the guest's stdin.
        beat_seconds: how often to beat.
        silence_seconds: how long the guest may leave beats unanswered.
        unsent_bytes: how much may wait for a guest that goes on asking and takes no answer.

    Attributes:
        state: the rules.
        received_bytes: of the bodies and errors of all operations, also of those that failed or were dropped.
    """

    def __init__(
        self,
        reader: ByteReader,
        writer: ByteWriter,
        *,
        beat_seconds: float = BEAT_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        unsent_bytes: int = MOST_UNSENT_BYTES,
    ) -> None:
        self.state = LinkState()
        self._unsent_bytes = unsent_bytes
        self.received_bytes = 0
        self._reader = reader
        self._writer = writer
        self._pulse = Pulse(
            self._beat, self._lose, beat_seconds=beat_seconds, silence_seconds=silence_seconds
        )
        self._streams = Streams(self)
        self._greeting: asyncio.Future[Greeted] | None = None
        self._lost: SandboxError | None = None
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
        self._greeting = asyncio.get_running_loop().create_future()
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
        self._pulse.answered()
        self._tasks.append(asyncio.create_task(self._pulse.run()))
        return greeted.facts

    @contextlib.asynccontextmanager
    async def open(
        self, operation: str, arguments: Object, *, whole_body: bytes | None = None
    ) -> AsyncIterator[Stream]:
        """Start an operation; leaving the block before it has answered cancels it.

        Args:
            operation: one of those in docs/architecture.md.
            arguments: its arguments.
            whole_body: all that it is fed, where that fits into the first credit: it goes with the opening,
                in one write. None for a body that the stream is given piece by piece.

        Raises:
            SandboxLostError: when the link is lost.
        """
        stream = await self._streams.opened(operation, arguments, whole_body, answer_seconds=math.inf)
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
        answer_seconds: float = math.inf,
    ) -> CallResult:
        """Do one operation.

        Args:
            operation: one of those in docs/architecture.md.
            arguments: its arguments.
            body: what the operation is fed: a file's content, a program's stdin.
            on_body: takes each piece of the answer's body; what it takes is not kept, but counts.
            on_errors: the same for ERRORS.
            limit_bytes: how much BODY and ERRORS together may be.
            answer_seconds: how long all of it may take, with the wait for a free stream; a stream is looked
                at with each beat.

        Raises:
            GuestUnresponsiveError: when it took longer; it is cancelled.
            OperationFailedError: when the guest answered FAIL.
            AnswerTooLargeError: when there was more than `limit_bytes`.
            SandboxLostError: when the link is lost.
        """
        whole = body if isinstance(body, bytes) and len(body) <= frames.INITIAL_CREDIT_BYTES else None
        stream = await self._streams.opened(operation, arguments, whole, answer_seconds=answer_seconds)
        try:
            return await carry_out(
                stream,
                body=body if whole is None else None,
                on_body=on_body,
                on_errors=on_errors,
                limit_bytes=limit_bytes,
            )
        finally:
            stream.abandon()

    def accept(self, relay: Relay, *, operation: str = frames.CONNECT) -> None:
        """Let the guest open connections from now on; until this is called, its OPEN is a protocol error.

        Args:
            relay: serves each of them; one that raises costs its own connection, not the link.
            operation: what for; one that nobody serves stays a protocol error.
        """
        self._connections.accept(relay, operation)
        self.state.accept()

    @property
    def is_lost(self) -> bool:
        """Whether the guest, or the way there, is gone."""
        return self._lost is not None

    async def close(self) -> None:
        """End the link, in seconds also where the guest reads no more; the guest then ends as well."""
        self._lose(LinkClosedError("the link was closed"))
        await self._connections.closed()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        await closed(self._writer)

    # ---- inside

    def write(self, data: bytes) -> None:
        """Send bytes that `state` made."""
        if not data or self._lost is not None:
            return
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > self._unsent_bytes:
            why = GuestUnresponsiveError(
                f"the guest has not taken `{self._unsent_bytes}` bytes that it was sent"
            )
            # Later: who writes may be in the midst of a frame of the guest's.
            asyncio.get_running_loop().call_soon(self._lose, why)

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        if self._lost is None:
            with contextlib.suppress(OSError):  # the reading side tells
                await self._writer.drain()

    async def _read(self) -> None:
        self._lose(await ending(self._reader, self._feed))

    def _feed(self, data: bytes) -> None:
        """Take in bytes of the guest's; credit bounds what is kept of them."""
        if self._lost is None:
            for event in self.state.feed(data):
                self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case BodyReceived() | ErrorsReceived():
                self.received_bytes += len(event.data)
                self._streams.take(event)
            case CreditReceived() | Finished() | Failed():
                self._streams.take(event)
            case Opened() | Ended() | Cancelled() | ConnectionBody() | ConnectionCredit():
                self._connections.take(event)
            case BeatAnswered():
                self._pulse.answered()
            case Greeted():
                if self._greeting is not None and not self._greeting.done():
                    self._greeting.set_result(event)
            case _:
                assert_never(event)

    def _beat(self) -> None:
        if self._lost is not None:
            return
        self.write(self.state.beat())
        self._streams.require_answers()

    def _lose(self, error: SandboxError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._writer.close()
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(error)
        self._streams.lose(error)
        self._connections.cancel()

    def _lost_error(self) -> SandboxError:
        return self._lost or LinkClosedError("the link was closed")
