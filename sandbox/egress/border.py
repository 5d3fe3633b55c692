"""Carry a decision out: journal it, resolve, check, dial, count, journal its end; there is no other way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from sandbox.egress.budget import Budget, Share
from sandbox.egress.ends import GoneError
from sandbox.egress.errors import EgressDeniedError, EgressError, UpstreamError
from sandbox.egress.events import Closed, Decided, Event
from sandbox.egress.resolve import Resolver, pinned
from sandbox.egress.rules import Allowed, Denied, RuleSet, Wanted, decide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox.egress.addresses import HostNetworks
    from sandbox.egress.credentials import Secrets
    from sandbox.egress.dial import Dialler, Opened

CHUNK_BYTES: Final = 64 * 1024
FINISH_SECONDS: Final = 10.0
MOST_REFUSALS: Final = 10_000
"""Refusals of a session that are written down; what is beyond is refused unwritten, to spare the disk."""
IDLE_SECONDS: Final = 120.0
"""Longest wait for the next byte, or for room to send one."""


class Record(Protocol):
    """Write an event down."""

    async def record(self, event: Event) -> None:
        """Return when the event is durable.

        Raises:
            EgressDeniedError: With code `journal`, when it cannot be written; then nothing may leave.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a border needs of the world; each is handed in."""

    resolver: Resolver
    networks: Callable[[], HostNetworks]
    dialler: Dialler
    record: Record
    secrets: Secrets
    monotonic: Callable[[], float] = time.monotonic
    """Seconds."""


class Crossing:
    """One allowed connection: dialled at most once, and counted byte by byte."""

    def __init__(self, *, wanted: Wanted, allowed: Allowed, share: Share, outside: Outside) -> None:
        self.wanted = wanted
        self.rule = allowed.rule
        self.by_request = allowed.by_request
        self.share = share
        self.status = 0
        self._outside = outside
        self._opened: Opened | None = None

    @property
    def address(self) -> str:
        """What was dialled; empty before."""
        return str(self._opened.address) if self._opened else ""

    async def connect(self, *, tls: bool) -> None:
        """Resolve, check and dial.

        Args:
            tls: Whether the gate itself speaks TLS, and verifies the server.

        Raises:
            EgressDeniedError: When an address must not be dialled.
            UpstreamError: When nothing answers.
        """
        name = self.wanted.host
        if self.rule.host.is_wild:  # labels below a wildcard reach whoever answers for the zone
            self.share.send(len(name) - len(self.rule.host.text) + 1)
        addresses = await pinned(
            name,
            allow_private=self.rule.allow_private,
            resolver=self._outside.resolver,
            networks=self._outside.networks,
        )
        self._opened = await self._outside.dialler.open(addresses, port=self.wanted.port, name=name, tls=tls)

    async def write(self, data: bytes) -> None:
        """Send bytes, counted first, and wait for room.

        Raises:
            EgressDeniedError: When the budget of bytes sent is spent; nothing of `data` leaves.
            UpstreamError: When the connection is lost, or takes nothing for too long.
        """
        writer = self._connection.writer
        self.share.send(len(data))
        try:
            writer.write(data)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()
        except TimeoutError:
            raise UpstreamError(
                "timeout", f"`{self.wanted.host}` took nothing for {IDLE_SECONDS:.0f} s"
            ) from None
        except OSError as error:
            raise self._lost() from error

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end.

        Raises:
            EgressDeniedError: When the budget of bytes received is spent.
            UpstreamError: When the connection is lost, or nothing comes for too long.
        """
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                data = await self._connection.reader.read(CHUNK_BYTES)
        except TimeoutError:
            raise UpstreamError(
                "timeout", f"`{self.wanted.host}` sent nothing for {IDLE_SECONDS:.0f} s"
            ) from None
        except OSError as error:
            raise self._lost() from error
        self.share.receive(len(data))
        return data

    def end_sending(self) -> None:
        """Tell the server that nothing more comes, where the transport can say so."""
        writer = self._connection.writer
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def finish(self) -> None:
        """Close once everything that was written has left."""
        writer = self._connection.writer
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await writer.wait_closed()

    def abort(self) -> None:
        """Drop the connection at once; what has not left yet never does."""
        if self._opened is not None:
            self._opened.writer.transport.abort()

    @property
    def _connection(self) -> Opened:
        if self._opened is None:
            raise UpstreamError("connect", f"`{self.wanted.host}` was not dialled")
        return self._opened

    def _lost(self) -> UpstreamError:
        return UpstreamError("upstream", f"the connection to `{self.wanted.host}` was lost")


class Border:
    """Let connections of one session out, each only as its rules say.

    Args:
        rules: What the session may reach; never changed.
        outside: The world.
    """

    def __init__(self, rules: RuleSet, outside: Outside) -> None:
        self.rules = rules
        self.secrets = outside.secrets
        self.budget = Budget(rules.limits)
        self._outside = outside
        self._numbers = count(1)
        self._refusals = 0

    @asynccontextmanager
    async def crossing(self, wanted: Wanted, *, action: str = "") -> AsyncIterator[Crossing]:
        """Admit one connection or request, and close it.

        INVARIANT: an allowed crossing is yielded, and its name resolved, only after its event is durable.

        Args:
            wanted: What is asked for, canonical.
            action: The action that it belongs to; empty where that is not known.

        Raises:
            EgressDeniedError: When it may not leave, before or after it was admitted.
            UpstreamError: When nothing came of it.
        """
        event = self._event(wanted, action)
        crossing = await self._admit(wanted, event)
        started = self._outside.monotonic()
        why = "error"
        try:
            async with _bounded(crossing.share.connection_seconds):
                yield crossing
            why = "done"
        except EgressDeniedError as denial:
            why = denial.code
            await self._outside.record.record(denied(event, denial))
            raise
        except UpstreamError as failure:
            why = failure.code
            raise
        except GoneError:
            why = "gone"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            why = "cancelled"
            raise
        finally:
            crossing.abort()
            crossing.share.close()
            duration = self._outside.monotonic() - started
            await self._outside.record.record(_closed(event, crossing, why=why, seconds=duration))

    async def refuse(self, denial: EgressDeniedError, *, scheme: str, action: str = "") -> None:
        """Write down that something was refused before it named a host that can be compared."""
        nothing = Decided(
            connection=self._next(),
            scheme=scheme,
            host="",
            port=0,
            method="",
            path="",
            verdict="denied",
            action=action,
        )
        await self._record_refusal(denied(nothing, denial))

    async def _record_refusal(self, event: Decided) -> None:
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            await self._outside.record.record(event)

    async def _admit(self, wanted: Wanted, event: Decided) -> Crossing:
        decision = decide(self.rules, wanted)
        match decision:
            case Denied():
                denial = EgressDeniedError(
                    decision.code, decision.message, hint=decision.hint, rule=decision.rule
                )
                await self._record_refusal(denied(event, denial))
                raise denial
            case Allowed():
                return await self._open(wanted, event, decision)
            case _:
                assert_never(decision)

    async def _open(self, wanted: Wanted, event: Decided, allowed: Allowed) -> Crossing:
        share = self.budget.share(allowed.rule)
        try:
            share.open()
        except EgressDeniedError as denial:
            await self._record_refusal(denied(event, denial))
            raise
        try:
            await self._outside.record.record(replace(event, rule=allowed.rule.name))
        except BaseException:
            share.close()
            raise
        return Crossing(wanted=wanted, allowed=allowed, share=share, outside=self._outside)

    def _event(self, wanted: Wanted, action: str) -> Decided:
        return Decided(
            connection=self._next(),
            scheme=wanted.scheme,
            host=wanted.host,
            port=wanted.port,
            method=wanted.method,
            path=wanted.path,
            verdict="allowed",
            action=action,
        )

    def _next(self) -> str:
        return f"c{next(self._numbers)}"


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise UpstreamError("timeout", f"the connection's {seconds:.0f} s are over") from None


def denied(event: Decided, denial: EgressDeniedError) -> Decided:
    """Return the event that says that a request was denied."""
    return replace(
        event,
        verdict="denied",
        code=denial.code,
        message=denial.message,
        hint=denial.hint,
        rule=denial.rule,
    )


def _closed(event: Decided, crossing: Crossing, *, why: str, seconds: float) -> Closed:
    return Closed(
        connection=event.connection,
        host=event.host,
        port=event.port,
        address=crossing.address,
        sent_bytes=crossing.share.sent_bytes,
        received_bytes=crossing.share.received_bytes,
        status=crossing.status,
        duration_ms=int(seconds * 1000),
        why=why,
        action=event.action,
    )


__all__ = ["CHUNK_BYTES", "Border", "Crossing", "EgressError", "Outside", "Record"]
