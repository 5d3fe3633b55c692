"""Copy bytes both ways between the container and a server, counted and only as room allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.egress.crossing import Crossing
    from sandbox.egress.ends import Inlet


async def splice(inlet: Inlet, crossing: Crossing) -> None:
    """Copy until both sides have said that nothing more comes, or one of them is lost.

    Args:
        inlet: The container's end.
        crossing: The server's, dialled.

    Raises:
        EgressDeniedError: When a budget is spent.
        UpstreamError: When the server's end is lost or idle for too long.
        GoneError: When the container's is.
    """
    outward = asyncio.create_task(_outward(inlet, crossing))
    inward = asyncio.create_task(_inward(inlet, crossing))
    try:
        done, _ = await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        await crossing.finish()
    finally:
        outward.cancel()
        inward.cancel()
        await asyncio.gather(outward, inward, return_exceptions=True)


async def _outward(inlet: Inlet, crossing: Crossing) -> None:
    while data := await inlet.read():
        await crossing.write(data)
    crossing.end_sending()


async def _inward(inlet: Inlet, crossing: Crossing) -> None:
    while data := await crossing.read():
        await inlet.write(data)
    inlet.end.end()
