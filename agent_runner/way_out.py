"""Open the egress gate of a session that holds `network`, and write its events into the ledger."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, assert_never

from audit import event
from audit.fields import Reason
from policies.capability import Capability
from policies.grant import Grant
from sandbox.egress import events
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import RuleSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from audit.journal import Journal
    from policies.policy import Policy
    from sandbox.egress.gate import CredentialSource
    from sandbox.session import Sandbox


@asynccontextmanager
async def way_out(
    policy: Policy, journal: Journal, session: str, sandbox: Sandbox, *, credentials: CredentialSource
) -> AsyncIterator[EgressGate | None]:
    """Yield the gate, or None in a session without `network`, for which no gate is ever started.

    With `network` and `exec`, programs have a way through it too: the container's loopback proxy.

    Args:
        policy: The policy in force.
        journal: The session's ledger.
        session: Its id.
        sandbox: Where its programs run.
        credentials: Finds a credential that the policy names.
    """
    if not policy.grant.holds(Capability.NETWORK):
        yield None
        return

    async def write(happened: events.Event) -> None:
        await journal.record(written(happened, session))

    programs = policy.grant is Grant.NETWORK_EXEC
    rules = RuleSet.of(policy.network)
    async with EgressGate.start(rules, journal=write, credentials=credentials, proxy=programs) as gate:
        if programs:
            await sandbox.let_out(gate.relay, authorities=gate.ca_certificate)
        yield gate


def written(happened: events.Event, owner: str) -> event.EgressOpened | event.EgressClosed:
    """Return a gate's event in the ledger's form.

    Args:
        happened: What the gate told.
        owner: Whose connection it is: the session, or one of its connectors, as `<session>/slack`.
    """
    match happened:
        case events.Decided():
            denied = happened.verdict == "denied"
            reason = Reason(code=happened.code, message=happened.message, hint=happened.hint)
            return event.EgressOpened(
                connection=f"{owner}/{happened.connection}",
                host=happened.host,
                port=happened.port,
                scheme=happened.scheme,
                verdict=happened.verdict,
                reasons=(reason,) if denied else (),
                action=happened.action,
            )
        case events.Closed():
            return event.EgressClosed(
                connection=f"{owner}/{happened.connection}",
                sent_bytes=happened.sent_bytes,
                received_bytes=happened.received_bytes,
                requests=1,
                duration_ms=happened.duration_ms,
                why=happened.why,
            )
        case _:
            assert_never(happened)
