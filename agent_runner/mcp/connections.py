"""Bound the connections to the server over HTTP: they need no token, and must not use up the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

MOST_CONNECTIONS: Final = 128
"""Each client has one for each call that is under way, and one that it listens on."""


class BoundedProtocol(H11Protocol):
    """Serve one connection; where there are too many, the oldest that has asked nothing yet makes room."""

    begun: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its parent
        """Begin, and end another connection, or this one where all others have asked something."""
        super().connection_made(transport)
        self.begun = self.loop.time()
        others = [each for each in self.connections if each is not self and isinstance(each, BoundedProtocol)]
        open_ones = [each for each in others if not each.transport.is_closing()]
        if len(open_ones) >= MOST_CONNECTIONS:
            mute = [each for each in open_ones if each.cycle is None]
            min(mute, key=lambda each: each.begun, default=self).transport.abort()
