"""Hold the parent's side of the egress gate: start the process, ask it, write its events down, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, assert_never

import sandbox
from sandbox.egress.border import CHUNK_BYTES
from sandbox.egress.errors import EgressDeniedError, GateLostError, UpstreamError
from sandbox.egress.events import Closed, Decided
from sandbox.egress.fetch import DEFAULT_BODY_BYTES, Response
from sandbox.egress.wire import (
    Answered,
    Cancelled,
    Failed,
    FetchAsked,
    Happened,
    Noted,
    Ready,
    Refused,
    SecretGiven,
    SecretWanted,
    Start,
    Stop,
    ToChild,
    WireError,
    encoded,
    received,
    to_parent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from sandbox.egress.credentials import Credential, Headers
    from sandbox.egress.events import Event
    from sandbox.egress.rules import RuleSet

    Journal = Callable[[Event], Awaitable[None]]
    CredentialSource = Callable[[str], Awaitable[Credential | None]]

START_SECONDS: Final = 30.0
ERRORS_BYTES: Final = 4096
STOP_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 10.0
"""How long a container may go on sending after the proxy has closed; nobody reads it."""
PASS_TRIES: Final = 500
PASS_SECONDS: Final = 0.02
_PROGRAM: Final = (
    # Our own folder before other installed ones: the process runs the same code as its parent.
    "import sys; at = next((n for n, p in enumerate(sys.path) if p.endswith('-packages')), len(sys.path)); "
    "sys.path.insert(at, sys.argv[1]); "
    "from sandbox.egress.child import main; sys.exit(main(sys.argv[2:]))"
)


async def no_credentials(name: str) -> Credential | None:  # noqa: ARG001 - it has none of any name
    """Know no credential."""
    return None


class EgressGate:
    """The way out of one session, made by `EgressGate.start`; without `network` there is none.

    Attributes:
        ca_certificate: The session CA, PEM, which a container with `exec` trusts; empty for none.
    """

    def __init__(  # noqa: PLR0913 - what `start` made
        self,
        process: asyncio.subprocess.Process,
        writer: asyncio.StreamWriter,
        streams: socket.socket,
        *,
        journal: Journal,
        credentials: CredentialSource,
        names: frozenset[str],
    ) -> None:
        self.ca_certificate = ""
        self._process = process
        self._writer = writer
        self._streams = streams
        self._streams.setblocking(False)  # noqa: FBT003 - the standard library's own name
        self._journal = journal
        self._credentials = credentials
        self._names = names
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._open: dict[str, Decided] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = ""
        self._failure: BaseException | None = None
        self._ready = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        rules: RuleSet,
        *,
        journal: Journal,
        credentials: CredentialSource = no_credentials,
        ca_file: Path | None = None,
        proxy: bool = False,
    ) -> AsyncIterator[Self]:
        """Start the process, and end it when the block is left.

        Args:
            rules: What the session may reach.
            journal: Writes one event down, and returns when it is durable. When it raises, the gate is dead.
            credentials: Finds a credential by name; asked for each use, and only for names that a rule has.
            ca_file: Further authorities for servers, PEM, of the operator's; None for none.
            proxy: Whether the container has `exec`, and so a loopback proxy; see `relay`.

        Raises:
            GateLostError: When the process does not start.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        streams, far_streams = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs, far_streams:
            process = await _spawn(theirs, far_streams)
        reader, writer = await asyncio.open_connection(sock=ours)
        names = frozenset(rule.credential for rule in rules.rules if rule.credential)
        gate = cls(process, writer, streams, journal=journal, credentials=credentials, names=names)
        listener = asyncio.create_task(gate._listen(reader))
        try:
            await gate._begin(Start(rules=rules, ca_file=str(ca_file) if ca_file else None, proxy=proxy))
            yield gate
        finally:
            await gate._end(listener)

    async def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        body_bytes: int = DEFAULT_BODY_BYTES,
        render: bool = False,
        action: str = "",
    ) -> Response:
        """Make one request; redirects are answers like any other.

        Args:
            method: In capital letters.
            url: Absolute, http or https.
            headers: Names and values; those of the connection and of framing are the gate's own.
            body: What is sent; empty for none.
            body_bytes: How much of the answer's body is kept, at most 32 MiB.
            render: Whether the process makes the body readable text: HTML, JSON, other character sets.
            action: The action that it belongs to, for the ledger.

        Returns:
            The answer, whatever its status.

        Raises:
            EgressDeniedError: When the rules or a budget say no.
            UpstreamError: When the world outside does not answer.
            GateLostError: When the process is gone, or its events could not be written down.
        """
        asked = FetchAsked(
            id=next(self._numbers),
            method=method,
            url=url,
            headers=headers,
            action=action,
            body_bytes=body_bytes,
            render=render,
        )
        self._check_alive()
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[asked.id] = answer
        try:
            await self._tell(asked, body)
            return await answer
        except asyncio.CancelledError:
            self._send(Cancelled(id=asked.id))
            raise
        finally:
            self._waiting.pop(asked.id, None)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the proxy: what the container's loopback proxy accepted is copied into it.

        Returns:
            Its two ends; whoever asked closes the writer.

        Raises:
            GateLostError: When the process is gone, or takes no connection.
        """
        self._check_alive()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                await self._pass(theirs)
            return await asyncio.open_connection(sock=ours, limit=CHUNK_BYTES)
        except BaseException:
            ours.close()
            raise

    async def relay(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Copy one connection of the container's into the proxy and back, until both ways have ended.

        Args:
            received: What comes from the container; it ends when the container sends no more.
            send: Sends to the container, and waits for room.
            end: Tells the container that nothing more comes.

        Raises:
            GateLostError: When the process is gone.
        """
        reader, writer = await self.connection()
        outward = asyncio.create_task(_copy_out(received, writer))
        try:
            while data := await reader.read(CHUNK_BYTES):
                await send(data)
            end()
            await asyncio.wait((outward,), timeout=LINGER_SECONDS)
        except ConnectionError:
            end()
        finally:
            writer.transport.abort()  # before anything is waited for: this may be a cancellation
            outward.cancel()
            await asyncio.gather(outward, return_exceptions=True)

    async def _pass(self, descriptor: socket.socket) -> None:
        for _ in range(PASS_TRIES):
            try:
                socket.send_fds(self._streams, [b"c"], [descriptor.fileno()])
            except BlockingIOError:
                await asyncio.sleep(PASS_SECONDS)
            except OSError as error:
                raise GateLostError("the egress process takes no connections") from error
            else:
                return
        raise GateLostError("the egress process takes no connections")

    async def _begin(self, start: Start) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._tell(start)
                self.ca_certificate = await self._ready
        except TimeoutError:
            raise GateLostError(f"the egress process did not start within {START_SECONDS:.0f} s") from None

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await received(reader)) is not None:
                self._handle(message[0], message[1])
        except WireError as error:
            self._lose(error.message)
        else:
            self._lose(await self._last_words())

    def _handle(self, head: bytes, blob: bytes) -> None:
        match to_parent(head):
            case Ready(ca_certificate=certificate):
                if not self._ready.done():
                    self._ready.set_result(certificate)
            case Happened() as happened:
                self._in_background(self._note(happened))
            case SecretWanted() as wanted:
                self._in_background(self._give(wanted))
            case Answered() as answered:
                self._resolve(answered.id, _response(answered, blob))
            case Refused() as refused:
                denial = EgressDeniedError(
                    refused.code, refused.message, hint=refused.hint, rule=refused.rule
                )
                self._resolve(refused.id, denial)
            case Failed() as failed:
                self._resolve(failed.id, UpstreamError(failed.code, failed.message, hint=failed.hint))
            case other:
                assert_never(other)

    async def _note(self, happened: Happened) -> None:
        """Write an event down, then let the process go on. INVARIANT: a gate whose ledger failed is dead."""
        self._track(happened.event)
        try:
            await self._journal(happened.event)
        except BaseException as error:
            self._failure = error
            self._lose("the ledger cannot be written")
            self._kill()
            if not isinstance(error, Exception):
                raise
            return
        await self._tell(Noted(id=happened.id, durable=True))

    def _track(self, event: Event) -> None:
        if isinstance(event, Decided) and event.verdict == "allowed":
            self._open[event.connection] = event
        elif isinstance(event, Closed):
            self._open.pop(event.connection, None)

    async def _close_what_is_open(self) -> None:
        """Write down that connections ended with the process; what they carried since is not known."""
        for event in self._open.values() if self._failure is None else ():
            await self._journal(
                Closed(
                    connection=event.connection,
                    host=event.host,
                    port=event.port,
                    address="",
                    sent_bytes=0,
                    received_bytes=0,
                    status=0,
                    duration_ms=0,
                    why="lost",
                    action=event.action,
                )
            )

    async def _give(self, wanted: SecretWanted) -> None:
        credential = None
        if wanted.name in self._names:
            with contextlib.suppress(Exception):
                credential = await self._credentials(wanted.name)
        await self._tell(SecretGiven(id=wanted.id, credential=credential))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resolve(self, number: int, outcome: Response | Exception) -> None:
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return
        if isinstance(outcome, Response):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        for answer in (self._ready, *self._waiting.values()):
            if not answer.done():
                answer.set_exception(self._gone())

    def _gone(self) -> GateLostError:
        error = GateLostError(f"the egress process is gone: {self._lost}")
        error.__cause__ = self._failure
        return error

    def _check_alive(self) -> None:
        if self._lost:
            raise self._gone()

    async def _tell(self, message: ToChild, blob: bytes = b"") -> None:
        self._send(message, blob)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def _send(self, message: ToChild, blob: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(encoded(message, blob))

    async def _last_words(self) -> str:
        errors = self._process.stderr
        text = (await errors.read(ERRORS_BYTES)).decode("utf-8", "backslashreplace") if errors else ""
        return " ".join(text.split()[-40:]) or "it ended without a word"

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:  # not send_signal: it would reap what the watcher waits for
                os.kill(self._process.pid, signal.SIGKILL)

    async def _end(self, listener: asyncio.Task[None]) -> None:
        self._send(Stop())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(listener)
                await self._process.wait()
        self._lost = self._lost or "the session is over"
        self._kill()
        await self._process.wait()
        await listener
        await self._close_what_is_open()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._streams.close()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _copy_out(received: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
    async for data in received:
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _spawn(pipe: socket.socket, streams: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-B",
        "-c",
        _PROGRAM,
        str(Path(sandbox.__file__).parent.parent),
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


def _environment() -> dict[str, str]:
    """Return what the process inherits: where the system's trust store is, and nothing else."""
    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **kept}


def _response(answered: Answered, body: bytes) -> Response:
    return Response(
        status=answered.status,
        reason=answered.reason,
        headers=answered.headers,
        body=body,
        truncated=answered.truncated,
        bytes_sent=answered.bytes_sent,
        bytes_received=answered.bytes_received,
        address=answered.address,
        rule=answered.rule,
        url=answered.url,
    )
