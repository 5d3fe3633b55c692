"""Reach an engine: a unix socket, TCP with TLS, or ssh; no HTTP here, and nothing without protection."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, assert_never

from sandbox.inflow import Inflow, connected

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Streams = tuple[Inflow, asyncio.StreamWriter]
CONNECT_SECONDS: Final = 30
_SSH_SAID_BYTES: Final = 4096
_SSH_END_SECONDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixEndpoint:
    """An engine behind a unix socket of this machine."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsEndpoint:
    """An engine behind TCP and TLS; its certificate is verified, its name too."""

    host: str
    port: int
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class SshEndpoint:
    """An engine behind ssh; the ssh program is the user's own, with the user's own configuration."""

    destination: str
    """`host` or `user@host`."""
    port: int | None
    """None for the one that ssh's configuration says."""
    socket: str
    """The engine's socket there; empty for the one that its `docker` program uses."""

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command whose stdin and stdout are the engine's, as Docker's own client has it."""
        port = () if self.port is None else ("-p", str(self.port))
        host = () if not self.socket else ("--host", shlex.quote(f"unix://{self.socket}"))
        options = ("-T", "-o", f"ConnectTimeout={CONNECT_SECONDS}", *port)
        return ("ssh", *options, "--", self.destination, "docker", *host, "system", "dial-stdio")


Endpoint = UnixEndpoint | TlsEndpoint | SshEndpoint


class SshFailedError(OSError):
    """Raised when ssh ended instead of connecting; its text is what ssh said."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connected socket, and the program behind it where there is one."""

    socket: socket.socket
    call: SshCall | None = None


def dial(endpoint: Endpoint, *, seconds: float) -> Dialled:
    """Connect, for the SDK's threads.

    Args:
        endpoint: Where.
        seconds: For the connecting, and later for each read and write.

    Raises:
        OSError: When nothing answers; `ssl.SSLError` when TLS fails.
    """
    match endpoint:
        case UnixEndpoint():
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            unix.settimeout(seconds)
            with _closed_on_error(unix):
                unix.connect(endpoint.path)
            return Dialled(unix)
        case TlsEndpoint():
            plain = socket.create_connection((endpoint.host, endpoint.port), timeout=seconds)
            with _closed_on_error(plain):
                return Dialled(endpoint.tls.wrap_socket(plain, server_hostname=endpoint.host))
        case SshEndpoint():
            call = SshCall.start(endpoint)
            call.socket.settimeout(seconds)
            return Dialled(call.socket, call)
        case _:
            assert_never(endpoint)


async def connect(endpoint: Endpoint) -> tuple[Streams, SshCall | None]:
    """Connect, for asyncio; an ssh call is to be ended after the streams are closed.

    Raises:
        OSError: When nothing answers; `ssl.SSLError` when TLS fails.
    """
    loop = asyncio.get_running_loop()
    match endpoint:
        case UnixEndpoint():
            return await connected(lambda made: loop.create_unix_connection(made, endpoint.path)), None
        case TlsEndpoint(host=host, port=port, tls=tls):
            streams = await connected(
                lambda made: loop.create_connection(made, host, port, ssl=tls, server_hostname=host)
            )
            return streams, None
        case SshEndpoint():
            call = SshCall.start(endpoint)
            call.socket.setblocking(False)  # noqa: FBT003 - the socket's own way to say it
            return await connected(lambda made: loop.create_connection(made, sock=call.socket)), call
        case _:
            assert_never(endpoint)


@dataclass(frozen=True, slots=True)
class SshCall:
    """One run of ssh, its stdin and stdout one socket: pipes would know no time-outs."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    said: IO[bytes]
    """Its stderr."""

    @classmethod
    def start(cls, endpoint: SshEndpoint) -> SshCall:
        """Start it; that it could not connect shows when it closes the socket.

        Raises:
            SshFailedError: When there is no ssh program.
        """
        ours, theirs = socket.socketpair()
        said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the call; `end` closes it
        try:
            with theirs:
                # A session of its own: Ctrl-C at the terminal is the runner's to handle, not ssh's.
                process = subprocess.Popen(
                    endpoint.argv,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            said.close()
            raise SshFailedError(f"no ssh program: {error.strerror}") from error
        return cls(process, ours, said)

    def end(self) -> str:
        """End it, wait until it has, and return the last line that it said; empty when it said nothing."""
        self.process.terminate()
        try:
            self.process.wait(_SSH_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with self.said as said:
            said.seek(0)
            lines = said.read(_SSH_SAID_BYTES).decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def _closed_on_error(opened: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise
