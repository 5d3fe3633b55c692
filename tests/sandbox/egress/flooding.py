"""A process in the place of the egress process that asks and asks, and reads no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.egress.confine import confine
from sandbox.egress.locked import run_locked
from sandbox.egress.owner import MOST_OPEN
from sandbox.egress.wire import Ready, SecretWanted, ToParent, encoded, received

if TYPE_CHECKING:
    import asyncio
    import socket

QUESTIONS: Final = 3 * MOST_OPEN


def main(arguments: list[str]) -> int:
    """Run it."""
    return asking(arguments, SecretWanted(id=1, name="x" * 100))


def asking(arguments: list[str], question: ToParent) -> int:
    """Ask the same again and again, locked down as the egress process is."""
    raw = encoded(question)

    async def serve(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: socket.socket
    ) -> None:
        await received(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # it never reads on
        writer.write(encoded(Ready(ca_certificate="")))
        for _ in range(QUESTIONS):
            writer.write(raw)
            await writer.drain()
        await reader.read()

    return run_locked(arguments, serve, lock=confine, name="flooding")
