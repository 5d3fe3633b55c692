"""Hold one operation that runs, seen from the host: its bytes both ways within credit, its outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sandbox.errors import OperationFailedError, SandboxError
from sandbox.guest import frames
from sandbox.link_events import BodyReceived, ErrorsReceived, Failed, Finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.guest.objects import Object
    from sandbox.link_state import LinkState

_CREDIT_STEP_BYTES: Final = 64 * 1024


class Wire(Protocol):
    """What a stream, or a connection, needs of the link."""

    state: LinkState

    def write(self, data: bytes) -> None:
        """Send bytes that `state` made."""

    async def drain(self) -> None:
        """Wait until the transport takes more."""


class Stream:
    """One operation that runs. Made by `Link.open`.

    Args:
        link: whose stream it is.
        number: on the wire.
        operation: its name, for messages.
    """

    def __init__(self, link: Wire, number: int, operation: str) -> None:
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

    def send_first(self, data: bytes) -> None:
        """Send a body that fits into the first credit, and its end, at once."""
        if data:
            self._link.write(self._link.state.body(self.number, data))
        self.end()

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
