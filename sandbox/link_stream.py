"""Hold one operation that runs, seen from the host: its bytes both ways within credit, its outcome."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from sandbox.errors import GuestUnresponsiveError, OperationFailedError, SandboxError
from sandbox.guest import frames
from sandbox.link_events import BodyReceived, ErrorsReceived, Failed, Finished

if TYPE_CHECKING:
    from sandbox.guest.objects import Object
    from sandbox.link_state import LinkState

_CREDIT_STEP_BYTES: Final = 64 * 1024
_MOST_PIECES: Final = 1024


class Wire(Protocol):
    """What a stream, or a connection, needs of the link."""

    state: LinkState

    def write(self, data: bytes) -> None:
        """Send bytes that `state` made."""

    async def drain(self) -> None:
        """Wait until the transport takes more."""


class _Piece:
    """Bytes of one of the two pipes, as they came."""

    __slots__ = ("data", "is_body")

    def __init__(self, is_body: bool, data: bytes) -> None:  # noqa: FBT001 (which of two pipes)
        self.is_body = is_body
        self.data = bytearray(data)


def overdue(operation: str) -> GuestUnresponsiveError:
    """Return the error of an operation that took longer than it may."""
    return GuestUnresponsiveError(f"the guest did not answer `{operation}` in time")


class Stream:
    """One operation that runs. Made by `Link.open`.

    Args:
        link: whose stream it is.
        number: on the wire.
        operation: its name, for messages.

    Attributes:
        answer_by: until when the guest has to answer, in seconds of the loop's clock.
    """

    def __init__(self, link: Wire, number: int, operation: str) -> None:
        self._link = link
        self.number = number
        self.operation = operation
        self.answer_by = math.inf
        self._received: deque[_Piece] = deque()
        self._latest: dict[bool, _Piece] = {}
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

    async def next(self) -> BodyReceived | ErrorsReceived | None:
        """Return what comes next, and give credit for what was returned before; None once all has come."""
        self._give_credit()
        while not self._received:
            if self._outcome is not None:
                return None
            await self._wait()
        piece = self._received.popleft()
        if self._latest.get(piece.is_body) is piece:
            del self._latest[piece.is_body]
        self._taken_bytes += len(piece.data)
        kind = BodyReceived if piece.is_body else ErrorsReceived
        return kind(self.number, bytes(piece.data))

    async def result(self) -> Object:
        """Return the operation's result; what nobody took of its bytes is dropped.

        Raises:
            OperationFailedError: when the guest answered FAIL.
            SandboxLostError: when the link is lost.
        """
        while (outcome := self._outcome) is None:
            self._drop()
            await self._wait()
        match outcome:
            case Finished(_, result):
                return result
            case Failed(_, code, message):
                raise OperationFailedError(self.operation, code, message)
            case SandboxError() as error:
                raise error
            case _:
                assert_never(outcome)

    # ---- for the link

    def deliver(self, event: BodyReceived | ErrorsReceived | Finished | Failed | SandboxError) -> None:
        """Take in what the guest sent, or how the link was lost."""
        if isinstance(event, BodyReceived | ErrorsReceived):
            if not self._abandoned:
                self._keep(isinstance(event, BodyReceived), event.data)
        elif self._outcome is None:  # an answer may come in the turn in which it was given up
            self._outcome = event
            self._credited.set()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _keep(self, is_body: bool, data: bytes) -> None:  # noqa: FBT001 (which of two pipes)
        """Keep bytes in few pieces: credit bounds the bytes, and a hostile guest sends them one by one.

        Beyond `_MOST_PIECES` the order between the two pipes is no longer kept, only that within each.
        """
        latest = self._latest.get(is_body)
        full = len(self._received) >= _MOST_PIECES
        if latest is not None and (full or latest is self._received[-1]):
            latest.data += data
        else:
            self._latest[is_body] = _Piece(is_body, data)
            self._received.append(self._latest[is_body])

    def credit(self) -> None:
        """Wake a sender that waits for credit."""
        self._credited.set()

    def require_answer(self, now: float) -> None:
        """End the waiting for an answer that is overdue, and cancel the operation.

        Args:
            now: the time of the loop's clock.
        """
        if now >= self.answer_by and self._outcome is None:
            self.abandon()
            self.deliver(overdue(self.operation))

    def abandon(self) -> None:
        """Cancel what still runs, and let what it still sends fall to the ground."""
        if self._outcome is None and not self._abandoned:
            self._abandoned = True
            self._received.clear()
            self._latest.clear()
            self.cancel()

    def _drop(self) -> None:
        """Forget what waits, with credit for it: the outcome may stand behind more."""
        self._taken_bytes += sum(len(piece.data) for piece in self._received)
        self._received.clear()
        self._latest.clear()
        self._give_credit()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _give_credit(self) -> None:
        if self._taken_bytes >= _CREDIT_STEP_BYTES and self._outcome is None:
            self._link.write(self._link.state.grant(self.number, self._taken_bytes))
            self._taken_bytes = 0
