"""A process in the place of the egress process that asks and asks, and reads no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.egress.confine import confine
from sandbox.egress.locked import run_locked
from sandbox.egress.owner import MOST_OPEN
from sandbox.egress.wire import Ready, SecretWanted, encoded, received

if TYPE_CHECKING:
    import asyncio
    import socket

QUESTIONS = 3 * MOST_OPEN


def main(arguments: list[str]) -> int:
    """Run it, locked down as the egress process is."""
    return run_locked(arguments, _serve, lock=confine, name="flooding")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: socket.socket) -> None:
    await received(reader)
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # it never reads on
    writer.write(encoded(Ready(ca_certificate="")))
    for number in range(QUESTIONS):
        writer.write(encoded(SecretWanted(id=number, name="x" * 1000)))
        await writer.drain()
    await reader.read()
