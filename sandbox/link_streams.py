"""Keep the operations that run on one link: each on a stream of its own, of which there are only so many."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.errors import OperationFailedError
from sandbox.link_events import BodyReceived, CreditReceived, ErrorsReceived
from sandbox.link_state import MAX_STREAMS
from sandbox.link_stream import Stream, overdue

if TYPE_CHECKING:
    from sandbox.errors import SandboxError
    from sandbox.guest.objects import Object
    from sandbox.link_events import Failed, Finished
    from sandbox.link_stream import Wire


class Streams:
    """The streams that the host has opened and the guest has not closed.

    Args:
        wire: the link.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._clock = asyncio.get_running_loop().time
        self._open: dict[int, Stream] = {}
        self._free = asyncio.Semaphore(MAX_STREAMS)
        self._lost: SandboxError | None = None

    async def opened(
        self, operation: str, arguments: Object, whole_body: bytes | None, *, answer_seconds: float
    ) -> Stream:
        """Wait for a free stream, and start an operation on it.

        Args:
            operation: its name.
            arguments: its arguments.
            whole_body: all that it is fed; None where that comes piece by piece.
            answer_seconds: how long all of it may take, the wait included.

        Raises:
            GuestUnresponsiveError: when no stream was free for that long.
            OperationFailedError: when the arguments cannot be sent.
            SandboxLostError: when the link is lost.
        """
        answer_by = self._clock() + answer_seconds
        await self._acquire(operation, answer_by)
        if self._lost is not None:
            self._free.release()
            raise self._lost
        try:
            number, data = self._wire.state.open(operation, arguments)
        except ValueError as error:
            self._free.release()
            raise OperationFailedError(operation, "arguments", str(error)) from error
        stream = self._open[number] = Stream(self._wire, number, operation)
        stream.answer_by = answer_by
        if whole_body:
            data += self._wire.state.body(number, whole_body)
        if whole_body is not None:
            data += self._wire.state.end(number)
        self._wire.write(data)
        return stream

    async def _acquire(self, operation: str, answer_by: float) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout_at(answer_by):
                await self._free.acquire()
        except TimeoutError:
            raise overdue(operation) from None

    def take(self, event: BodyReceived | ErrorsReceived | CreditReceived | Finished | Failed) -> None:
        """Hand on what the guest sent; with its answer the stream is free again."""
        match event:
            case BodyReceived(number) | ErrorsReceived(number):
                self._open[number].deliver(event)
            case CreditReceived(number):
                self._open[number].credit()
            case _:
                self._open.pop(event.stream).deliver(event)
                self._free.release()

    def require_answers(self) -> None:
        """Give up those whose answer is overdue."""
        now = self._clock()
        for stream in self._open.values():
            stream.require_answer(now)

    def lose(self, error: SandboxError) -> None:
        """End all, and whatever is opened from now on."""
        self._lost = error
        for stream in self._open.values():
            stream.deliver(error)
            self._free.release()
        self._open.clear()
