"""Take connections from the container, which reach the egress process as descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final, Protocol

from sandbox.egress.crossing import CHUNK_BYTES
from sandbox.egress.wire import LONGEST_ACTION

MOST_STREAMS: Final = 512
"""Connections from the container at once, undecided ones included."""


class Server(Protocol):
    """Serves a connection; `proxy.Proxy` is one."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, action: str) -> None:
        """Serve it to its end, and close it."""
        ...


class Streams:
    """Take connections from the container, which come as descriptors.

    Args:
        source: Where they come from, one message for each.
        server: Who serves them.
    """

    def __init__(self, source: socket.socket, server: Server) -> None:
        self._source = source
        self._server = server
        self._serving: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Take connections from now on."""
        self._source.setblocking(False)  # noqa: FBT003 - the standard library's own name
        asyncio.get_running_loop().add_reader(self._source, self._take)

    def stop(self) -> tuple[asyncio.Task[None], ...]:
        """Take no more connections, and return those that run."""
        asyncio.get_running_loop().remove_reader(self._source)
        return tuple(self._serving)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data, descriptors, _, _ = socket.recv_fds(self._source, LONGEST_ACTION, 4)
            if not data:
                asyncio.get_running_loop().remove_reader(self._source)
            action = "" if data == b"-" else data.decode("utf-8", "replace")
            for descriptor in descriptors:
                self._begin(socket.socket(fileno=descriptor), action)

    def _begin(self, connection: socket.socket, action: str) -> None:
        if len(self._serving) >= MOST_STREAMS:
            connection.close()
            return
        task = asyncio.create_task(self._serve(connection, action))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket, action: str) -> None:
        with contextlib.suppress(Exception):  # it has ended that connection; the others go on
            reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK_BYTES)
            await self._server.serve(reader, writer, action=action)
