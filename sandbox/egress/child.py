"""Be the egress process: one for each session, locked down, with nothing but its pipe and the network.

`gate` starts it with two descriptors, for messages and for connections; it ends when its parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.egress.authority import SessionAuthority
from sandbox.egress.border import CHUNK_BYTES, Border, Outside
from sandbox.egress.confine import LockdownError, confine
from sandbox.egress.dial import Dialler, tls_context
from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.fetch import Fetch, fetch
from sandbox.egress.interfaces import host_networks
from sandbox.egress.proxy import Proxy
from sandbox.egress.resolve import SystemResolver
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
    ToParent,
    WireError,
    encoded,
    received,
    to_child,
)

if TYPE_CHECKING:
    from sandbox.egress.credentials import Credential
    from sandbox.egress.events import Event

LOST: Final = 3
MOST_STREAMS: Final = 512
"""Connections from the container at once, undecided ones included."""


class Parent:
    """The other end of the pipe: it writes events down and hands out credentials.

    Args:
        writer: Towards it.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = count(1)
        self._notes: dict[int, asyncio.Future[bool]] = {}
        self._secrets: dict[int, asyncio.Future[Credential | None]] = {}

    async def record(self, event: Event) -> None:
        """Return when the event is durable.

        Raises:
            EgressDeniedError: When it could not be written down.
        """
        number = next(self._numbers)
        answer = self._notes[number] = asyncio.get_running_loop().create_future()
        await self.tell(Happened(id=number, event=event))
        if not await answer:
            raise EgressDeniedError("journal", "the ledger cannot be written, so nothing leaves")

    async def secret(self, name: str) -> Credential:
        """Return one credential.

        Raises:
            EgressDeniedError: When there is none of that name.
        """
        number = next(self._numbers)
        answer = self._secrets[number] = asyncio.get_running_loop().create_future()
        await self.tell(SecretWanted(id=number, name=name))
        credential: Credential | None = await answer
        if credential is None:
            raise EgressDeniedError(
                "credential",
                f"there is no credential `{name}`",
                hint="the operator configures it; the policy only names it",
            )
        return credential

    async def tell(self, message: ToParent, blob: bytes = b"") -> None:
        """Send a message and wait for room."""
        self._writer.write(encoded(message, blob))
        await self._writer.drain()

    def noted(self, message: Noted) -> None:
        """Take in what became of an event."""
        if (waiting := self._notes.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.durable)

    def given(self, message: SecretGiven) -> None:
        """Take in a credential."""
        if (waiting := self._secrets.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.credential)


class Streams:
    """Take connections from the container, which come as descriptors.

    Args:
        source: Where they come from, one message for each.
        proxy: Who serves them.
    """

    def __init__(self, source: socket.socket, proxy: Proxy) -> None:
        self._source = source
        self._proxy = proxy
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
            data, descriptors, _, _ = socket.recv_fds(self._source, 1, 4)
            if not data:
                asyncio.get_running_loop().remove_reader(self._source)
            for descriptor in descriptors:
                self._begin(socket.socket(fileno=descriptor))

    def _begin(self, connection: socket.socket) -> None:
        if len(self._serving) >= MOST_STREAMS:
            connection.close()
            return
        task = asyncio.create_task(self._serve(connection))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK_BYTES)
        await self._proxy.serve(reader, writer)


class Service:
    """What the process does with messages.

    Args:
        border: What requests pass.
        parent: Who asks.
        streams: The container's connections; None where it has none.
    """

    def __init__(self, border: Border, parent: Parent, streams: Streams | None) -> None:
        self._border = border
        self._parent = parent
        self._streams = streams
        self._stopping: asyncio.Task[None] | None = None
        self._fetches: dict[int, asyncio.Task[None]] = {}
        self.stopped = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer messages until the parent closes the pipe."""
        while (message := await received(reader)) is not None:
            head, blob = message
            match to_child(head):
                case FetchAsked() as asked:
                    self._fetches[asked.id] = asyncio.create_task(self._fetch(asked, blob))
                case Cancelled(id=number):
                    if task := self._fetches.get(number):
                        task.cancel()
                case Noted() as noted:
                    self._parent.noted(noted)
                case SecretGiven() as given:
                    self._parent.given(given)
                case Stop():
                    self._stopping = asyncio.create_task(self._stop())
                case Start():
                    raise WireError("`start` came twice")

    async def _stop(self) -> None:
        """End what runs; the events of its end are still answered, for messages go on being read."""
        serving = self._streams.stop() if self._streams else ()
        tasks = (*self._fetches.values(), *serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.stopped.set()

    async def _fetch(self, asked: FetchAsked, body: bytes) -> None:
        try:
            await self._answer(asked, body)
        except EgressDeniedError as denial:
            refused = Refused(
                id=asked.id, code=denial.code, message=denial.message, hint=denial.hint, rule=denial.rule
            )
            await self._parent.tell(refused)
        except UpstreamError as failure:
            await self._parent.tell(
                Failed(id=asked.id, code=failure.code, message=failure.message, hint=failure.hint)
            )
        finally:
            self._fetches.pop(asked.id, None)

    async def _answer(self, asked: FetchAsked, body: bytes) -> None:
        wanted = Fetch(
            method=asked.method,
            url=asked.url,
            headers=asked.headers,
            body=body,
            action=asked.action,
            body_bytes=asked.body_bytes,
            render=asked.render,
        )
        response = await fetch(self._border, wanted)
        answered = Answered(
            id=asked.id,
            status=response.status,
            reason=response.reason,
            headers=response.headers,
            truncated=response.truncated,
            bytes_sent=response.bytes_sent,
            bytes_received=response.bytes_received,
            address=response.address,
            rule=response.rule,
            url=response.url,
        )
        await self._parent.tell(answered, response.body)


async def _run(pipe: socket.socket, streams: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=pipe)
    first = await received(reader)
    if first is None:
        return
    start = to_child(first[0])
    if not isinstance(start, Start):
        raise WireError("the first message is not `start`")
    parent = Parent(writer)
    outside = Outside(
        resolver=SystemResolver(),
        networks=host_networks,
        dialler=Dialler(tls_context(Path(start.ca_file) if start.ca_file else None)),
        record=parent,
        secrets=parent,
    )
    border = Border(start.rules, outside)
    authority = _authority(start) if start.proxy else None
    taken = Streams(streams, Proxy(border, authority)) if start.proxy else None
    if taken:
        taken.listen()
    await parent.tell(Ready(ca_certificate=authority.pem if authority else ""))
    service = Service(border, parent, taken)
    serving = asyncio.create_task(service.serve(reader))
    stopped = asyncio.create_task(service.stopped.wait())
    done, _ = await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    if serving in done:
        serving.result()


def _authority(start: Start) -> SessionAuthority | None:
    """Make the session's authority, if any rule reads requests."""
    hosts = [rule.host for rule in start.rules.rules if rule.as_written().by_request]
    return SessionAuthority(hosts, now=dt.datetime.now(dt.UTC)) if hosts else None


def main(arguments: list[str]) -> int:
    """Run the process; return its exit code."""
    pipe, streams = (socket.socket(fileno=int(number)) for number in arguments)
    try:
        confine()
    except (OSError, LockdownError) as error:
        print(f"egress: cannot lock itself down: {error}", file=sys.stderr)  # noqa: T201 - its only way to say so
        return 4
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(pipe, streams))
    except (WireError, OSError) as error:
        print(f"egress: {error}", file=sys.stderr)  # noqa: T201 - its only way to say so
        return LOST
    return 0
