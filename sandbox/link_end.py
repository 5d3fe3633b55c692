"""End the host's side of a wire within a bound, whatever the other side does; no frames here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sandbox.engine import ByteWriter

CLOSE_SECONDS: Final = 5.0


async def closed(writer: ByteWriter, *, within_seconds: float = CLOSE_SECONDS) -> None:
    """Close a writer, and cut it off when it does not come to its end in time.

    A transport that still has bytes to send is closed once the peer has read them: one that reads no more (a
    hostile guest, a stopped engine, an ssh that was cut) would hold back the container's removal for ever.

    Args:
        writer: the writer; it may be closed already, and a broken one is no error.
        within_seconds: how long the peer has to take what was sent.
    """
    writer.close()
    # Waited for and never cancelled: a cancelled `wait_closed` would cancel who waits for the writer next.
    closing = asyncio.ensure_future(writer.wait_closed())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([closing], timeout=within_seconds)
    if not closing.done():
        writer.transport.abort()
        await asyncio.wait([closing], timeout=within_seconds)
