"""The engine's framing is undone, however its bytes come; what is poured is poured at once and to its end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.attachment import ERRORS_KEPT_BYTES, StdioReader
from sandbox.inflow import Inflow, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=6)


def framed(stream: int, data: bytes) -> bytes:
    """Return a frame as the engine sends it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4) + data


def poured(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Return stdout and what is kept of stderr."""

    async def pour() -> tuple[bytes, bytes]:
        raw = Inflow()
        reader = StdioReader(raw)
        for piece in pieces[:1]:  # before anybody pours
            raw.feed_data(piece)
        said = bytearray()
        pouring = asyncio.create_task(reader.pour(said.extend))
        await asyncio.sleep(0)
        for piece in pieces[1:]:
            raw.feed_data(piece)
        raw.feed_eof()
        await pouring
        return bytes(said), reader.errors

    return asyncio.run(pour())


@given(sent=FRAMES, size=st.integers(1, 400))
def test_what_the_engine_wraps_comes_out_as_it_was_however_it_is_cut(
    sent: list[tuple[int, bytes]], size: int
) -> None:
    whole = b"".join(framed(*each) for each in sent)

    out, errors = poured([whole[at : at + size] for at in range(0, len(whole), size)])

    assert out == b"".join(data for stream, data in sent if stream == 1)
    assert errors == b"".join(data for stream, data in sent if stream == 2)


def test_of_stderr_only_the_end_is_kept() -> None:
    out, errors = poured([framed(2, b"x" * 10_000), framed(1, b"said"), framed(2, b"end")])

    assert out == b"said"
    assert errors == b"x" * (ERRORS_KEPT_BYTES - 3) + b"end"


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Inflow, socket.socket]]:
    """Yield one end of a connection, and the socket at the other."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    reader, writer = await connected(lambda made: loop.create_connection(made, sock=ours))
    try:
        with theirs:
            yield reader, theirs
    finally:
        writer.close()
        await writer.wait_closed()


async def test_what_was_read_before_is_not_poured_and_what_waited_behind_it_is() -> None:
    """The engine may send the container's first bytes with its answer to the attach request."""
    async with pair() as (reader, theirs):
        theirs.sendall(b"HTTP/1.1 101\r\n\r\nfirst")
        head = await reader.readuntil(b"\r\n\r\n")
        said: list[bytes] = []
        pouring = asyncio.create_task(reader.pour(said.append, read_bytes=len(head)))
        await asyncio.sleep(0)
        assert said == [b"first"]

        theirs.sendall(b"second")
        theirs.shutdown(socket.SHUT_WR)
        await pouring

    assert said == [b"first", b"second"]


async def test_one_that_breaks_a_rule_ends_the_pouring_and_is_handed_nothing_more() -> None:
    """What the guest says behind a broken frame has no meaning."""
    said: list[bytes] = []

    def refuse(data: bytes) -> None:
        said.append(data)
        raise ValueError("no")

    async with pair() as (reader, theirs):
        pouring = asyncio.create_task(reader.pour(refuse))
        await asyncio.sleep(0)
        theirs.sendall(b"one")
        with pytest.raises(ValueError, match="no"):
            await pouring
        theirs.sendall(b"two")
        theirs.shutdown(socket.SHUT_WR)
        assert await reader.read() == b"two"

    assert said == [b"one"]


async def test_a_connection_that_breaks_is_told_to_who_pours() -> None:
    reader = Inflow()
    pouring = asyncio.create_task(reader.pour(lambda _: None))
    await asyncio.sleep(0)

    reader.set_exception(ConnectionResetError("gone"))

    with pytest.raises(ConnectionResetError, match="gone"):
        await pouring
    with pytest.raises(ConnectionResetError, match="gone"):
        await reader.pour(lambda _: None)
