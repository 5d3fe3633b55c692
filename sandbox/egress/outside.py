"""Say what the gate needs of the world: each part is handed in, so that a test can hand in its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.egress.addresses import HostNetworks
    from sandbox.egress.credentials import Secrets
    from sandbox.egress.dial import Dialler
    from sandbox.egress.events import Decided, Event
    from sandbox.egress.resolve import Resolver


class Record(Protocol):
    """Write an event down."""

    async def record(self, event: Event) -> None:
        """Return when the event is durable.

        Raises:
            EgressDeniedError: With code `journal`, when it cannot be written; then nothing may leave.
        """
        ...


class Approver(Protocol):
    """Ask a person."""

    async def approve(self, event: Decided, query: str) -> None:
        """Return when a person has approved it.

        Raises:
            EgressDeniedError: With code `approval`, when a person said no, or nobody answered in time.
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
    approver: Approver
    monotonic: Callable[[], float] = time.monotonic
    """Seconds."""
