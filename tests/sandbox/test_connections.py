"""Connections that a guest opens over the link, seen from the host; the guest is scripted in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import GuestProtocolError, OperationFailedError
from sandbox.guest import frames
from sandbox.guest.objects import decode_object, encode_object
from tests.sandbox.test_link import Fake, linked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Send = Callable[[bytes], Awaitable[None]]
    End = Callable[[], None]

CONNECT = encode_object({"op": "egress.connect"})


async def echo(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Send everything back."""
    async for data in received:
        await send(data)
    end()


async def never(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


async def test_a_connection_is_served_and_answered() -> None:
    heard: list[frames.Frame] = []

    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.send(frames.OPEN, 2, CONNECT)
        fake.send(frames.BODY, 2, b"ping")
        fake.send(frames.END, 2)
        while not heard or heard[-1].kind != frames.RESULT:
            heard.append(await fake.next(frames.BODY, frames.END, frames.RESULT, frames.FAIL))
        fake.send(frames.RESULT, 1, b"{}")
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        link.accept(echo)
        async with link.open("files.stat", {"path": "a"}) as stream:
            await stream.result()

    on_two = [(frame.kind, frame.payload) for frame in heard if frame.stream == 2]
    assert on_two == [(frames.BODY, b"ping"), (frames.END, b""), (frames.RESULT, b"{}")]


async def test_a_guest_that_opens_a_connection_unasked_loses_the_link() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.send(frames.OPEN, 2, CONNECT)
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(GuestProtocolError, match="may open no streams"):
            await link.call("files.stat", {"path": "a"})


async def answer_to(*sent: tuple[int, bytes], relay: Callable[..., Awaitable[None]]) -> frames.Frame:
    """Return the frame that closes stream 2 after these frames."""
    closing: list[frames.Frame] = []

    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.raw(b"".join(frames.encode(kind, 2, payload) for kind, payload in sent))
        closing.append(await fake.next(frames.RESULT, frames.FAIL))
        fake.send(frames.FAIL, 1, b'{"code":"done","message":"x"}')
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        link.accept(relay)  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            with pytest.raises(OperationFailedError, match="x"):
                await link.call("files.stat", {"path": "a"})
    return closing[0]


async def test_a_connection_that_is_cancelled_before_it_began_is_answered_all_the_same() -> None:
    closing = await answer_to((frames.OPEN, CONNECT), (frames.CANCEL, b""), relay=never)

    assert (closing.kind, decode_object(closing.payload)["code"]) == (frames.FAIL, "cancelled")


async def test_a_relay_that_fails_costs_its_connection_and_not_the_link() -> None:
    async def broken(received: AsyncIterator[bytes], send: Send, end: End) -> None:
        raise OSError("the secret address of something")

    closing = await answer_to((frames.OPEN, CONNECT), relay=broken)

    assert closing.kind == frames.FAIL
    assert decode_object(closing.payload) == {
        "code": "failed",
        "message": "the connection could not be served",
    }


async def test_a_connection_that_nobody_reads_keeps_no_more_than_its_credit() -> None:
    pieces = [(frames.BODY, b"x")] * 20_000
    kept: list[int] = []

    async def late(received: AsyncIterator[bytes], send: Send, end: End) -> None:
        await asyncio.sleep(0.5)
        kept.append(len(await anext(received)))

    await answer_to((frames.OPEN, CONNECT), *pieces, (frames.END, b""), relay=late)

    assert kept == [20_000]  # one piece: small ones are joined, so that their number costs nothing


async def test_a_guest_that_gives_no_credit_is_sent_no_more_than_the_first() -> None:
    got = 0

    async def flood(received: AsyncIterator[bytes], send: Send, end: End) -> None:
        await send(bytes(1 << 20))

    async def script(fake: Fake) -> None:
        nonlocal got
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.send(frames.OPEN, 2, CONNECT)
        while got < frames.CONNECTION_CREDIT_BYTES:
            got += len((await fake.next(frames.BODY)).payload)
        fake.send(frames.RESULT, 1, b"{}")
        got += len((await fake.next(frames.BODY, frames.END, frames.FAIL)).payload)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        link.accept(flood)
        await link.call("files.stat", {"path": "a"})
        await asyncio.sleep(0.2)

    assert got == frames.CONNECTION_CREDIT_BYTES


async def test_connections_end_with_the_link() -> None:
    ended = asyncio.Event()

    async def held(received: AsyncIterator[bytes], send: Send, end: End) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.send(frames.OPEN, 2, CONNECT)
        fake.send(frames.RESULT, 1, b"{}")
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        link.accept(held)
        await link.call("files.stat", {"path": "a"})
        await asyncio.sleep(0)
        assert not ended.is_set()

    assert ended.is_set()
