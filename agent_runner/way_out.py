"""Open the egress gate of a session that holds `network`, and write its events into the ledger."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, assert_never

from agent_runner.budget_limits import less_crossed
from agent_runner.egress_approval import EgressApproval
from agent_runner.models import approval_seconds
from audit import event
from audit.fields import Reason
from policies.capability import Capability
from policies.grant import Grant
from sandbox.egress import events
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import RuleSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.approvals import Asker
    from agent_runner.traffic import Traffic
    from audit.journal import Journal
    from policies.policy import Policy
    from sandbox.egress.owner import CredentialSource
    from sandbox.session import Sandbox


@asynccontextmanager
async def way_out(  # noqa: PLR0913 - the rooms that it joins
    policy: Policy,
    journal: Journal,
    session: str,
    sandbox: Sandbox,
    *,
    credentials: CredentialSource,
    asker: Asker,
    traffic: Traffic,
) -> AsyncIterator[EgressGate | None]:
    """Yield the gate, or None in a session without `network`, for which no gate is ever started.

    With `network` and `exec`, programs have a way through it too: the container's loopback proxy.

    Args:
        policy: The policy in force. Its bounds for the session are less what earlier sessions below sent;
            those of its rules are not yet.
        journal: The session's ledger.
        session: Its id.
        sandbox: Where its programs run.
        credentials: Finds a credential that the policy names.
        asker: Who is asked where a rule says so.
        traffic: Where what crosses is counted; what crossed before counts in the budgets.
    """
    if not policy.grant.holds(Capability.NETWORK):
        yield None
        return

    async def write(happened: events.Event) -> None:
        told = written(happened, session)
        traffic.take(told)
        # INVARIANT: taken and told at one moment, so that bounds set between count it once.
        if isinstance(told, event.EgressClosed):
            traffic.pot.tell(session, told)
        await journal.record(told)

    programs = policy.grant is Grant.NETWORK_EXEC
    rules = RuleSet.of(less_crossed(policy, traffic.below()).network)
    approval = EgressApproval(journal, session, asker, wait_seconds=approval_seconds())
    started = EgressGate.start(
        rules,
        journal=write,
        credentials=credentials,
        approval=approval.ask,
        proxy=programs,
        crossed=traffic.under(session),
        numbered=traffic.numbered(session),
    )
    async with started as gate, _shared(gate, session, traffic):
        if programs:
            await sandbox.let_out(gate.relay, authorities=gate.ca_certificate)
        yield gate


@asynccontextmanager
async def _shared(gate: EgressGate, session: str, traffic: Traffic) -> AsyncIterator[None]:
    with traffic.pot.shared(session, gate.count_elsewhere, known=traffic.known):
        yield


def written(
    happened: events.Event, owner: str
) -> event.EgressOpened | event.EgressRequested | event.EgressClosed | event.LimitHit:
    """Return a gate's event in the ledger's form.

    Args:
        happened: What the gate told.
        owner: Whose connection it is: the session, or one of its connectors, as `<session>/slack`.
    """
    match happened:
        case events.Decided(within=within) if within:
            return _requested(happened, owner)
        case events.Decided():
            return _opened(happened, owner)
        case events.Closed():
            return _closed(happened, owner)
        case events.Spent(limit=limit, bound=bound, observed=observed, unit=unit, action=action):
            return event.LimitHit(limit=limit, bound=bound, observed=observed, unit=unit, action=action)
        case _:
            assert_never(happened)


def _reasons(happened: events.Decided) -> tuple[Reason, ...]:
    if happened.verdict == "allowed":
        return ()
    return (Reason(code=happened.code, message=happened.message, hint=happened.hint),)


def _opened(happened: events.Decided, owner: str) -> event.EgressOpened:
    return event.EgressOpened(
        connection=f"{owner}/{happened.connection}",
        host=happened.host,
        port=happened.port,
        scheme=happened.scheme,
        verdict=happened.verdict,
        reasons=_reasons(happened),
        action=happened.action,
        rule=happened.rule,
        method=happened.method,
        path=happened.path,
    )


def _requested(happened: events.Decided, owner: str) -> event.EgressRequested:
    return event.EgressRequested(
        connection=f"{owner}/{happened.within}",
        request=f"{owner}/{happened.connection}",
        method=happened.method,
        path=happened.path,
        verdict=happened.verdict,
        reasons=_reasons(happened),
        host=happened.host,
        port=happened.port,
        rule=happened.rule,
        action=happened.action,
    )


def _closed(happened: events.Closed, owner: str) -> event.EgressClosed:
    return event.EgressClosed(
        connection=f"{owner}/{happened.connection}",
        sent_bytes=happened.sent_bytes,
        received_bytes=happened.received_bytes,
        requests=happened.requests,
        duration_ms=happened.duration_ms,
        why=happened.why,
        host=happened.host,
        port=happened.port,
        address=happened.address,
        status=happened.status,
        rule=happened.rule,
        method=happened.method,
        path=happened.path,
        action=happened.action,
    )
