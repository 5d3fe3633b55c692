"""Stand in for the world beyond a border: a resolver that changes its mind, a dialler that dials nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from sandbox.egress.addresses import HostNetworks
from sandbox.egress.border import Border
from sandbox.egress.dial import Opened
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.outside import Outside
from sandbox.egress.rules import Wanted

if TYPE_CHECKING:
    from sandbox.egress.addresses import Address
    from sandbox.egress.credentials import Credential
    from sandbox.egress.events import Decided, Event
    from sandbox.egress.rules import RuleSet


class Rebinding:
    """A resolver whose answer is public once and private afterwards, and which counts."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the next answer; the last one stays."""
        self.asked.append(name)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0],)


class Recorder:
    """A dialler and a journal that keep what they are given; nothing is dialled."""

    def __init__(self) -> None:
        self.dialled: list[tuple[Address, ...]] = []
        self.events: list[Event] = []

    async def open(self, addresses: tuple[Address, ...], **how: object) -> Opened:
        """Keep the addresses."""
        assert how.keys() == {"port", "name", "tls"}
        self.dialled.append(addresses)
        reader, writer = await asyncio.open_connection(sock=_pair())
        return Opened(reader=reader, writer=writer, address=addresses[0])

    async def record(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)

    async def secret(self, name: str) -> Credential:
        """Have none."""
        raise EgressDeniedError("credential", name)

    async def approve(self, event: Decided, query: str) -> None:
        """Approve nothing."""
        raise EgressDeniedError("approval", f"{event.host}{query}")


def _pair() -> socket.socket:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours


def border_with(allowed: RuleSet, resolver: Rebinding) -> tuple[Border, Recorder]:
    recorder = Recorder()
    outside = Outside(
        resolver=resolver,
        networks=HostNetworks,
        dialler=recorder,  # type: ignore[arg-type]
        record=recorder,
        secrets=recorder,
        approver=recorder,
    )
    return Border(allowed, outside), recorder


async def decision(allowed: RuleSet, host: str) -> str:
    """Return `allowed`, or the code with which a tunnel to a host is denied."""
    resolver = Rebinding("1.1.1.1")
    border, _ = border_with(allowed, resolver)
    try:
        async with border.crossing(Wanted(scheme="tunnel", host=host, port=443)):
            return "allowed"
    except EgressDeniedError as denied:
        assert resolver.asked == []
        return denied.code
