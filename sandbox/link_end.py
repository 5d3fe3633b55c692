"""End the host's side of a wire: say why, and close it within a bound, whatever the other side does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sandbox.errors import GuestProtocolError, LinkClosedError, SandboxError
from sandbox.guest.frames import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.engine import ByteReader, ByteWriter

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


async def ending(reader: ByteReader, take: Callable[[bytes], None]) -> SandboxError:
    """Hand what the guest says to `take` until it says no more, and return why that is.

    Args:
        reader: the guest's stdout.
        take: raises ProtocolError where a rule is broken.
    """
    try:
        await reader.pour(take)
    except ProtocolError as error:
        return GuestProtocolError(f"the guest broke the link's rules: {error}")
    except (OSError, asyncio.IncompleteReadError) as error:
        return LinkClosedError(f"the link broke: {error}")
    except Exception as error:  # noqa: BLE001 (a fault of this side: the session ends, and never hangs)
        return LinkClosedError(f"the link failed: {type(error).__name__}: {error}")
    return LinkClosedError("the guest closed the link")
