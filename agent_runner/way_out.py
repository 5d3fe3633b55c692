"""Open the egress gate of a session that holds `network`, and write its events into the ledger."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, assert_never

from audit import event
from audit.fields import Reason
from policies.capability import Capability
from sandbox.egress import events
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import RuleSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from audit.journal import Journal
    from policies.policy import Policy


@asynccontextmanager
async def way_out(policy: Policy, journal: Journal, session: str) -> AsyncIterator[EgressGate | None]:
    """Yield the gate, or None in a session without `network`, for which no gate is ever started."""
    if not policy.grant.holds(Capability.NETWORK):
        yield None
        return

    async def write(happened: events.Event) -> None:
        await journal.record(_written(happened, session))

    async with EgressGate.start(RuleSet.of(policy.network), journal=write) as gate:
        yield gate


def _written(happened: events.Event, session: str) -> event.EgressOpened | event.EgressClosed:
    match happened:
        case events.Decided():
            denied = happened.verdict == "denied"
            reason = Reason(code=happened.code, message=happened.message, hint=happened.hint)
            return event.EgressOpened(
                connection=f"{session}/{happened.connection}",
                host=happened.host,
                port=happened.port,
                scheme=happened.scheme,
                verdict=happened.verdict,
                reasons=(reason,) if denied else (),
                action=happened.action,
            )
        case events.Closed():
            return event.EgressClosed(
                connection=f"{session}/{happened.connection}",
                sent_bytes=happened.sent_bytes,
                received_bytes=happened.received_bytes,
                requests=1,
                duration_ms=happened.duration_ms,
                why=happened.why,
            )
        case _:
            assert_never(happened)
