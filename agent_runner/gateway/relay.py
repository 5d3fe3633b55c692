"""Tell apart what comes over the container's loopback: a request for a model, or one for the way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sandbox.connection import Relay

# A client of a proxy names a whole URL, `CONNECT host:port`, or begins with SOCKS's version; a client of a
# server names a path (RFC 9112, clause 3.2).
_ORIGIN_FORM: Final = re.compile(rb"[A-Z]{1,16} /")
_LONGEST: Final = 18


class ModelRelay:
    """Serve one connection; `sandbox.connection.Relay`.

    Args:
        models: Serves requests for a model.
        way_out: Serves everything else; None in a session without `network`, which has no way out.
    """

    def __init__(self, models: Relay, way_out: Relay | None) -> None:
        self._models = models
        self._way_out = way_out

    async def __call__(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Serve it to its end."""
        first = b""
        while self._way_out is not None and len(first) < _LONGEST:
            piece = await anext(received, b"")
            first += piece
            if not piece or first.partition(b" ")[2] or not first[:1].isalpha():
                break
        whole = _after(first, received)
        if self._way_out is not None and not _ORIGIN_FORM.match(first):
            await self._way_out(whole, send, end)
        else:
            await self._models(whole, send, end)


async def _after(first: bytes, received: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in received:
        yield piece
