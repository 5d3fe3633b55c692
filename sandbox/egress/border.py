"""Carry a decision out: count, ask, write down, yield a crossing, write down its end. No other way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final, assert_never

from sandbox.egress.budget import Budget, BudgetSpentError
from sandbox.egress.crossing import Crossing
from sandbox.egress.ends import GoneError
from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.events import Decided
from sandbox.egress.rules import Allowed, Crossed, Denied, RuleSet, Wanted, decide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.egress.outside import Outside

MOST_REFUSALS: Final = 10_000
"""Refusals of a session that are written down; what is beyond is refused unwritten, to spare the disk."""


class Border:
    """Let connections of one session out, each only as its rules say.

    Args:
        rules: What the session may reach; never changed.
        outside: The world.
        crossed: What counts in its budgets already.
        numbered: The last number that a connection has already.
    """

    def __init__(
        self, rules: RuleSet, outside: Outside, *, crossed: tuple[Crossed, ...] = (), numbered: int = 0
    ) -> None:
        self.rules = rules
        self.secrets = outside.secrets
        self.budget = Budget(rules.limits, crossed, rules=rules.rules)
        self._outside = outside
        self._numbers = count(numbered + 1)
        self._refusals = 0
        self._tunnels: dict[str, Crossing] = {}
        """Those whose TLS ends here, by their connection."""

    @asynccontextmanager
    async def crossing(
        self, wanted: Wanted, *, query: str = "", approved: bool = False
    ) -> AsyncIterator[Crossing]:
        """Admit one connection or request, and close it.

        INVARIANT: an allowed crossing is yielded, and its name resolved, only after its event is durable.

        Args:
            wanted: What is asked for, canonical.
            query: Shown to a person who has to approve it, and nowhere written down.
            approved: Whether a person has approved this very request already, as an action.

        Raises:
            EgressDeniedError: When it may not leave, before or after it was admitted.
            UpstreamError: When nothing came of it.
        """
        event = self._event(wanted)
        crossing = await self._admit(wanted, event, None if approved else query)
        started = self._outside.monotonic()
        why = "error"
        try:
            async with _bounded(crossing.share.connection_seconds):
                yield crossing
            why = "done"
        except EgressDeniedError as denial:
            why = denial.code
            await self._spent(denial, event)
            await self._outside.record.record(denied(event, denial))
            raise
        except UpstreamError as failure:
            why = failure.code
            if isinstance(failure, _TimeOverError):
                await self._spent(crossing.share.out_of_time(self._outside.monotonic() - started), event)
            raise
        except GoneError:
            why = "gone"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            why = "cancelled"
            raise
        finally:
            self._closed(crossing)
            duration = self._outside.monotonic() - started
            await self._outside.record.record(crossing.closed(why=why, seconds=duration))

    async def _spent(self, denial: EgressDeniedError, event: Decided) -> None:
        """Write down that a bound was reached, once for each bound."""
        if isinstance(denial, BudgetSpentError) and (news := denial.news(action=event.action)):
            await self._outside.record.record(news)

    def _closed(self, crossing: Crossing) -> None:
        crossing.abort()
        if self._tunnels.pop(crossing.event.connection, None) and not crossing.requests:
            crossing.share.idle()
        crossing.share.close()

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

    async def _admit(self, wanted: Wanted, event: Decided, query: str | None) -> Crossing:
        decision = decide(self.rules, wanted)
        match decision:
            case Denied():
                denial = EgressDeniedError(
                    decision.code, decision.message, hint=decision.hint, rule=decision.rule
                )
                await self._record_refusal(denied(event, denial))
                raise denial
            case Allowed():
                if not decision.ask:
                    query = None
                return await self._open(wanted, replace(event, rule=decision.rule.place), decision, query)
            case _:
                assert_never(decision)

    async def _open(self, wanted: Wanted, event: Decided, allowed: Allowed, query: str | None) -> Crossing:
        """Take what it needs of the budgets, ask a person unless `query` is None, and write it down."""
        share = self.budget.share(None if allowed.by_request else allowed.rule)
        try:
            share.open(
                0 if allowed.by_request else 1, unseen=wanted.scheme == "tunnel" and not allowed.by_request
            )
        except EgressDeniedError as denial:
            await self._spent(denial, event)
            await self._record_refusal(denied(event, denial))
            raise
        try:
            if query is not None:
                await self._approved(event, query)
            await self._outside.record.record(event)
        except BaseException:
            share.close()
            raise
        if tunnel := self._tunnels.get(wanted.within):
            tunnel.requests += 1
        made = Crossing(event=event, wanted=wanted, allowed=allowed, share=share, outside=self._outside)
        if allowed.by_request:
            self._tunnels[event.connection] = made
        return made

    async def _approved(self, event: Decided, query: str) -> None:
        try:
            await self._outside.approver.approve(event, query)
        except EgressDeniedError as denial:
            await self._record_refusal(denied(event, denial))
            raise

    def _event(self, wanted: Wanted) -> Decided:
        return Decided(
            connection=self._next(),
            scheme=wanted.scheme,
            host=wanted.host,
            port=wanted.port,
            method=wanted.method,
            path=wanted.path,
            verdict="allowed",
            action=wanted.action,
            within=wanted.within,
        )

    def _next(self) -> str:
        return f"c{next(self._numbers)}"


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _TimeOverError("timeout", f"the connection's {seconds:.0f} s are over") from None


class _TimeOverError(UpstreamError):
    """Raised when a connection lasted as long as its budget lets it."""


def denied(event: Decided, denial: EgressDeniedError) -> Decided:
    """Return the event that says that a request was denied."""
    return replace(
        event,
        verdict="denied",
        code=denial.code,
        message=denial.message,
        hint=denial.hint,
        rule=denial.rule or event.rule,
    )
