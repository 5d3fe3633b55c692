"""Be the two ends of what `benchmarks.egress` measures: a server in threads, and ways to connect to it."""

import asyncio
import ssl
import threading
from socket import socket

from sandbox.egress.gate import EgressGate

CHUNK = b"x" * (256 * 1024)


class Server:
    """A blocking HTTP server in threads of its own: GET is answered with as many bytes as its path says.

    Args:
        tls: What it presents; None for plain HTTP.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._listening = socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(1024)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                method, path, _ = reader.readline().split()
                length = 0
                while (line := reader.readline()) not in {b"\r\n", b""}:
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                while length:
                    length -= len(reader.read(min(length, len(CHUNK))))
                size = int(path.rpartition(b"/")[2]) if method == b"GET" else 2
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
                while size:
                    connection.sendall(CHUNK[:size])
                    size -= min(size, len(CHUNK))
        except (OSError, ValueError):  # a client that went away before it asked
            return


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def tunnel(gate: EgressGate, port: int) -> Streams:
    """Open a tunnel through the gate."""
    reader, writer = await gate.connection()
    writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def with_tls(streams: Streams, context: ssl.SSLContext) -> Streams:
    """Speak TLS inside."""
    await streams[1].start_tls(context, server_hostname="localhost")
    return streams


def trusted(gate: EgressGate, outside: ssl.SSLContext) -> ssl.SSLContext:
    """Return what a program in the container trusts: the session's authority, where TLS ends at the gate."""
    return ssl.create_default_context(cadata=gate.ca_certificate) if gate.ca_certificate else outside


async def direct(port: int, context: ssl.SSLContext | None = None) -> Streams:
    """Connect without us."""
    name = "localhost" if context else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
