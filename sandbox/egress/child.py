"""Be the egress process: one for each session, locked down, with nothing but its pipe and the network.

`gate` starts it with two descriptors, for messages and for connections; it ends when its parent does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

from sandbox.egress.authority import SessionAuthority
from sandbox.egress.border import Border
from sandbox.egress.confine import confine
from sandbox.egress.dial import Dialler, tls_context
from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.fetch import Fetch, fetch
from sandbox.egress.interfaces import host_networks
from sandbox.egress.locked import run_locked
from sandbox.egress.outside import Outside
from sandbox.egress.parent import Parent
from sandbox.egress.proxy import Proxy
from sandbox.egress.resolve import SystemResolver
from sandbox.egress.streams import Streams
from sandbox.egress.wire import (
    Answered,
    ApprovalGiven,
    Cancelled,
    Elsewhere,
    Failed,
    FetchAsked,
    Noted,
    Ready,
    Refused,
    SecretGiven,
    Start,
    Stop,
    WireError,
    received,
    to_child,
)

if TYPE_CHECKING:
    import socket


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
                case Elsewhere(crossed=crossed):
                    self._border.budget.count_elsewhere(crossed)
                case Stop():
                    self._stopping = asyncio.create_task(self._stop())
                case Start():
                    raise WireError("`start` came twice")
                case Noted() | SecretGiven() | ApprovalGiven() as answer:
                    self._answered(answer)

    def _answered(self, answer: Noted | SecretGiven | ApprovalGiven) -> None:
        """Take what the parent says to a question."""
        match answer:
            case Noted():
                self._parent.noted(answer)
            case SecretGiven():
                self._parent.given(answer)
            case ApprovalGiven():
                self._parent.answered(answer)

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
        except Exception as error:  # noqa: BLE001 - whoever asked is waiting, whatever went wrong
            why = f"the request failed: {type(error).__name__}"
            await self._parent.tell(Failed(id=asked.id, code="upstream", message=why, hint=""))
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


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: socket.socket) -> None:
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
        dialler=Dialler(tls_context(start.authorities)),
        record=parent,
        secrets=parent,
        approver=parent,
    )
    border = Border(start.rules, outside, crossed=start.crossed, numbered=start.numbered)
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
    return run_locked(arguments, _serve, lock=confine, name="egress")
