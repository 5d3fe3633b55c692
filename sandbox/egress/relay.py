"""Copy one connection of the container's into the proxy and back, each way only as room allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sandbox.egress.crossing import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

LINGER_SECONDS: Final = 10.0
"""How long a container may go on sending after the proxy has closed; nobody reads it."""


async def relay(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    received: AsyncIterator[bytes],
    send: Callable[[bytes], Awaitable[None]],
    end: Callable[[], None],
) -> None:
    """Copy until both ways have ended, and close the connection.

    Args:
        connection: To the proxy.
        received: What comes from the container; it ends when the container sends no more.
        send: Sends to the container, and waits for room.
        end: Tells the container that nothing more comes.
    """
    reader, writer = connection
    outward = asyncio.create_task(_copy_out(received, writer))
    try:
        while data := await reader.read(CHUNK_BYTES):
            await send(data)
        end()
        await asyncio.wait((outward,), timeout=LINGER_SECONDS)
    except ConnectionError:
        end()
    finally:
        writer.transport.abort()  # before anything is waited for: this may be a cancellation
        outward.cancel()
        await asyncio.gather(outward, return_exceptions=True)


async def _copy_out(received: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
    async for data in received:
        writer.write(data)
        await writer.drain()
    writer.write_eof()
