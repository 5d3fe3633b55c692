"""Hold the connections that the guest opened: bytes both ways within credit, a task that serves each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from sandbox.guest import frames
from sandbox.guest.frames import ProtocolError
from sandbox.link_events import Cancelled, ConnectionBody, ConnectionCredit, Ended, Opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from sandbox.link_events import ConnectionEvent
    from sandbox.link_stream import Wire

_CREDIT_STEP_BYTES: Final = frames.CONNECTION_CREDIT_BYTES // 4


class Relay(Protocol):
    """Serves one connection of the container's; `EgressGate.relay` is one."""

    def __call__(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
        /,
    ) -> Coroutine[None, None, None]:
        """Serve it to its end.

        Args:
            received: What comes from the container; it ends when the container sends no more.
            send: Sends to the container, and waits for room.
            end: Tells the container that nothing more comes.
        """


async def nobody(
    received: AsyncIterator[bytes],  # noqa: ARG001 - the protocol's parameters
    send: Callable[[bytes], Awaitable[None]],  # noqa: ARG001 - likewise
    end: Callable[[], None],
) -> None:
    """Serve no command: whoever calls one is told so by the end of the connection."""
    end()


class Connection:
    """One connection.

    Args:
        wire: the link.
        number: the stream's.
    """

    def __init__(self, wire: Wire, number: int) -> None:
        self._wire = wire
        self._number = number
        self._received = bytearray()  # one buffer: credit bounds it, however small the pieces are
        self._ended = False
        self._taken_bytes = 0
        self._arrived = asyncio.Event()
        self._credited = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def start(self, relay: Relay, closed: Callable[[int], None]) -> asyncio.Task[None]:
        """Serve the connection in a task of its own, and answer the guest at its end.

        Args:
            relay: serves it.
            closed: is told the stream's number when it is over.
        """
        self._task = asyncio.create_task(relay(self._chunks(), self._send, self._end))
        # Not in the task itself: one that is cancelled before it began never runs.
        self._task.add_done_callback(lambda task: self._answer(task, closed))
        return self._task

    def _answer(self, task: asyncio.Task[None], closed: Callable[[int], None]) -> None:
        state, number = self._wire.state, self._number
        if task.cancelled():
            self._wire.write(state.refuse(number, "cancelled", "the connection was dropped"))
        elif task.exception() is not None:  # one connection's fault; the gate has written down why
            self._wire.write(state.refuse(number, "failed", "the connection could not be served"))
        else:
            self._end()
            self._wire.write(state.answer(number))
        closed(number)

    # ---- for the relay

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield what came, until the container has ended its side; taking gives credit."""
        while True:
            while not self._received:
                if self._ended:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            data = bytes(self._received)
            self._received.clear()
            yield data
            self._give_credit(len(data))

    def _give_credit(self, count: int) -> None:
        self._taken_bytes += count
        if self._taken_bytes >= _CREDIT_STEP_BYTES and not self._ended:
            self._wire.write(self._wire.state.grant(self._number, self._taken_bytes))
            self._taken_bytes = 0

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), self._wire.state.may_send(self._number), frames.MAX_PAYLOAD_BYTES)
            if count == 0:
                self._credited.clear()
                await self._credited.wait()
                continue
            self._wire.write(self._wire.state.body(self._number, view[:count]))
            view = view[count:]
            await self._wire.drain()

    def _end(self) -> None:
        self._wire.write(self._wire.state.end(self._number))

    # ---- for the link

    def deliver(self, data: bytes) -> None:
        """Take in bytes."""
        self._received += data
        self._arrived.set()

    def ended(self) -> None:
        """Take note that no more bytes come."""
        self._ended = True
        self._arrived.set()

    def credit(self) -> None:
        """Wake a sender that waits for credit."""
        self._credited.set()

    def cancel(self) -> None:
        """Stop serving: the container has dropped the connection, or the link is lost."""
        # Once only: a second cancellation would strike the relay while it tidies up after the first.
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()


class Connections:
    """All connections of one link.

    Args:
        wire: the link.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._relays: dict[str, Relay] = {}
        self._open: dict[int, Connection] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, relay: Relay, operation: str) -> None:
        """Serve what the guest opens for this operation from now on."""
        self._relays[operation] = relay

    def take(self, event: ConnectionEvent) -> None:
        """Act on what the guest sent; `link_state` has seen to it that it follows the rules."""
        match event:
            case Opened(number, operation):
                self._serve(number, operation)
            case ConnectionBody(number, data):
                self._open[number].deliver(data)
            case ConnectionCredit(number):
                self._open[number].credit()
            case Ended(number):
                self._open[number].ended()
            case Cancelled(number):
                self._open[number].cancel()
            case _:
                assert_never(event)

    def cancel(self) -> None:
        """Stop serving: the link is lost."""
        for connection in self._open.values():
            connection.cancel()

    async def closed(self) -> None:
        """Wait until none is served any more."""
        if self._serving:
            await asyncio.wait(self._serving)

    def _serve(self, number: int, operation: str) -> None:
        relay = self._relays.get(operation)
        if relay is None:
            raise ProtocolError("an OPEN that nobody serves")
        connection = self._open[number] = Connection(self._wire, number)
        task = connection.start(relay, self._forget)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def _forget(self, number: int) -> None:
        del self._open[number]
