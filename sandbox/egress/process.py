"""Hold the egress process from outside: start it, tell it things, hand it connections, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import sandbox
from sandbox.egress.crossing import CHUNK_BYTES
from sandbox.egress.errors import GateLostError
from sandbox.egress.last_words import LastWords
from sandbox.egress.wire import LONGEST_ACTION, Stop, encoded, received

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pydantic import BaseModel

STOP_SECONDS: Final = 5.0
PASS_TRIES: Final = 500
PASS_SECONDS: Final = 0.02
_PROGRAM: Final = (
    # Before anything slow: die with the parent, who may be gone already (1 is PR_SET_PDEATHSIG: prctl(2)).
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); "
    "os.getppid() == int(sys.argv[2]) or os._exit(3); "
    # Our own folder before other installed ones: the process runs the same code as its parent.
    "at = next((n for n, p in enumerate(sys.path) if p.endswith('-packages')), len(sys.path)); "
    "sys.path.insert(at, sys.argv[1]); "
    "from importlib import import_module; sys.exit(import_module(sys.argv[3]).main(sys.argv[4:]))"
)


class EgressProcess:
    """One egress process, made by `EgressProcess.start`.

    Args:
        process: It.
        reader: From its pipe.
        writer: To its pipe.
        streams: Where it takes connections.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        streams: socket.socket,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._streams = streams
        self._words = LastWords(process.stderr) if process.stderr else None
        self._streams.setblocking(False)  # noqa: FBT003 - the standard library's own name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    async def start(cls, *, module: str = "sandbox.egress.child") -> Self:
        """Start one, with nothing of this process but two sockets.

        Args:
            module: Whose `main` it runs.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        streams, far_streams = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process: asyncio.subprocess.Process | None = None
        try:
            with theirs, far_streams:
                process = await _spawn(module, theirs, far_streams)
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:  # whoever wanted it may go meanwhile
            ours.close()
            streams.close()
            if process is not None:
                await _ended(process)
            raise
        return cls(process, reader, writer, streams)

    async def heard(self) -> tuple[bytes, bytes] | None:
        """Return head and blob of its next message; None when it has closed its pipe.

        Raises:
            WireError: When it does not speak as it should.
        """
        return await received(self._reader)

    async def tell(self, message: BaseModel, blob: bytes = b"") -> None:
        """Send a message and wait for room; one that is gone hears nothing."""
        self.send(message, blob)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def send(self, message: BaseModel, blob: bytes = b"") -> None:
        """Send a message without waiting."""
        if not self._writer.is_closing():
            self._writer.write(encoded(message, blob))

    async def connection(self, action: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to its proxy.

        Args:
            action: The action during which it was opened; empty where that is not known.

        Raises:
            GateLostError: When it takes none.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                await self._pass(theirs, action.encode()[:LONGEST_ACTION] or b"-")
            return await asyncio.open_connection(sock=ours, limit=CHUNK_BYTES)
        except BaseException:
            ours.close()
            raise

    async def _pass(self, descriptor: socket.socket, action: bytes) -> None:
        for _ in range(PASS_TRIES):
            try:
                socket.send_fds(self._streams, [action], [descriptor.fileno()])
            except BlockingIOError:
                await asyncio.sleep(PASS_SECONDS)
            except OSError as error:
                raise GateLostError("the egress process takes no connections") from error
            else:
                return
        raise GateLostError("the egress process takes no connections")

    async def last_words(self) -> str:
        """Return what it said of its end."""
        return (await self._words.said() if self._words else "") or "it ended without a word"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:  # not send_signal: it would reap what the watcher waits for
                os.kill(self._process.pid, signal.SIGKILL)

    async def stop(self, silent: Awaitable[None]) -> None:
        """Let it end what runs, then end it.

        Args:
            silent: Done when everything that it said was heard.
        """
        try:
            self.send(Stop())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await asyncio.shield(silent)
                    await self._process.wait()
        finally:
            self.kill()
            await self._process.wait()

    async def close(self) -> None:
        """Close both sockets, and hear no more."""
        self._streams.close()
        self._writer.close()
        if self._words:
            await self._words.stop()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _spawn(module: str, pipe: socket.socket, streams: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-B",
        "-c",
        _PROGRAM,
        str(Path(sandbox.__file__).parent.parent),
        str(os.getpid()),
        module,
        str(pipe.fileno()),
        str(streams.fileno()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd="/",
        pass_fds=(pipe.fileno(), streams.fileno()),
        start_new_session=True,
    )


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a process that nobody has taken over."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


def _environment() -> dict[str, str]:
    """Return what the process inherits: where the system's trust store is, and nothing else.

    INVARIANT: `LOCALDOMAIN` is empty, so that the resolver has no search list (resolv.conf(5)): an allowed
    name is asked for as itself only. A trailing dot would do the same, but hide the names of /etc/hosts.
    """
    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "LOCALDOMAIN": "", **kept}
