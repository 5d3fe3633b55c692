"""Carry out one operation from its first byte to its outcome: feed it, take what comes, hold the bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.errors import AnswerTooLargeError, GuestProtocolError
from sandbox.link_events import BodyReceived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sandbox.guest.objects import Object
    from sandbox.link_stream import Stream

    Consumer = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What an operation answered."""

    result: Object
    """The RESULT frame's object."""
    body: bytes
    """All BODY bytes; empty when a consumer took them."""
    errors: bytes
    """All ERRORS bytes, a program's stderr; empty when a consumer took them."""

    def number(self, name: str, *, most: int) -> int:
        """Return a whole number of the RESULT; 0 where it is null or left out.

        Args:
            name: its name.
            most: what it cannot exceed.

        Raises:
            GuestProtocolError: when it is anything else: our own guest answers no such thing.
        """
        told = self.result.get(name)
        if told is None:
            return 0
        if type(told) is not int or not 0 <= told <= most:
            raise GuestProtocolError(
                f"the guest answered `{ascii(told)[:40]}` for `{name}`, expected a number of 0 to {most}"
            )
        return told


async def carry_out(
    stream: Stream,
    *,
    body: bytes | AsyncIterator[bytes] | None,
    on_body: Consumer | None,
    on_errors: Consumer | None,
    limit_bytes: int,
) -> CallResult:
    """Do what `Link.call` says, on a stream that was just opened; with no body where that went along."""
    feeder = None if body is None else _feed(stream, body)
    try:
        kept_body, kept_errors = await _collect(stream, on_body, on_errors, limit_bytes)
        return CallResult(result=await stream.result(), body=kept_body, errors=kept_errors)
    finally:
        if feeder is not None:
            await _stop(feeder)


def _feed(stream: Stream, body: bytes | AsyncIterator[bytes]) -> asyncio.Task[None]:
    """Send the body in a task of its own: it may have to wait for credit."""
    feeder = asyncio.create_task(_send_all(stream, body))
    feeder.add_done_callback(
        lambda done: None if done.cancelled() or not done.exception() else stream.cancel()
    )
    return feeder


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


async def _collect(
    stream: Stream, on_body: Consumer | None, on_errors: Consumer | None, limit_bytes: int
) -> tuple[bytes, bytes]:
    kept_body, kept_errors = bytearray(), bytearray()
    left = limit_bytes
    while (piece := await stream.next()) is not None:
        left -= len(piece.data)
        if left < 0:
            raise AnswerTooLargeError(stream.operation, limit_bytes)
        is_body = isinstance(piece, BodyReceived)
        consumer = on_body if is_body else on_errors
        if consumer is not None:
            await consumer(piece.data)
        elif is_body:
            kept_body += piece.data
        else:
            kept_errors += piece.data
    return bytes(kept_body), bytes(kept_errors)
