"""Open a session's connectors: each an egress gate of its own, to the server that the operator configured.

The gate's process is locked down and is given the one credential at each request; every connection is an
entry of the ledger. What a policy's `network.deny` names stays denied, and its limits bound each connector.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent_runner.connectors_container import ConnectorContainer, contained
from agent_runner.connectors_gated import GatedConnector
from agent_runner.connectors_ordered import Ordered, orders_of
from agent_runner.errors import RunnerError
from agent_runner.way_out import written
from cli_tools.errors import ActionError
from sandbox.egress.errors import GateLostError
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import RuleSet
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from agent_runner.housing import Order
    from agent_runner.traffic import Traffic
    from cli_tools.connector import Connector
    from policies.policy import Policy
    from sandbox.egress import events
    from sandbox.egress.owner import CredentialSource
    from sandbox.session import Sandbox

    Contain = Callable[["Ordered", ConnectorContainer, EgressGate], AbstractAsyncContextManager[Sandbox]]

MOST_STARTS: Final = 16
"""How often one connector is started in one session, failed starts included: an agent that has it fail, or
ends it, gains no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A connector that was started, and what ends it."""

    gate: EgressGate
    sandbox: Sandbox | None
    stack: AsyncExitStack


class SessionConnectors:
    """Start a session's connectors when they are first asked for, and again when they were lost.

    A start is the session's: it goes on when the action that asked is given up, and the next action has it.

    Args:
        orders: Those that it may use.
        stack: Ends what was started, at the session's end; `close` comes before it.
        start: Starts a connector's gate.
        contain: Makes the container of one that is a program, behind its gate; None where none can be made.
    """

    def __init__(
        self,
        orders: Mapping[str, Ordered],
        stack: AsyncExitStack,
        start: Callable[[Ordered], AbstractAsyncContextManager[EgressGate]],
        contain: Contain | None = None,
    ) -> None:
        self._orders = orders
        self._stack = stack
        self._start = start
        self._contain = contain
        self._starting: dict[str, asyncio.Task[_Started]] = {}
        self._starts: Counter[str] = Counter()

    async def open(self, name: str, *, action: str = "") -> Connector:
        """Return a connector.

        Raises:
            ActionError: When the operator configured none of that name, or it cannot be started.
        """
        order = self._orders.get(name)
        if order is None or order.container is not None:
            raise _not_configured(name, f"{name}: {{credential: NAME}}")
        started = await self._started(order)
        return GatedConnector(order, started.gate, action)

    async def contained(self, name: str) -> Sandbox:
        """Return the container of a connector that is a program.

        Raises:
            ActionError: When the operator configured none of that name, or it cannot be made.
        """
        order = self._orders.get(name)
        if order is not None and order.container is not None:
            started = await self._started(order)
            if started.sandbox is not None:
                return started.sandbox
        raise _not_configured(name, f"programs: {{{name}: {{image: NAME, network: […]}}}}")

    async def close(self) -> None:
        """Give up the starts that are under way; what was started ends with the session's stack."""
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)

    async def _started(self, order: Ordered) -> _Started:
        task = self._starting.get(order.name)
        if task is None or (task.done() and _is_over(task)):
            if self._starts[order.name] >= MOST_STARTS:
                raise ActionError("upstream", f"connector `{order.name}` was started {MOST_STARTS} times")
            self._starts[order.name] += 1
            task = self._starting[order.name] = asyncio.create_task(self._attempt(order, task))
            # Whoever waits is told of a failure; nobody may.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _attempt(self, order: Ordered, before: asyncio.Task[_Started] | None) -> _Started:
        if before is not None and not before.cancelled() and before.exception() is None:
            with suppress(SandboxError, GateLostError):  # it was lost: so may its end be
                await before.result().stack.aclose()
        async with AsyncExitStack() as attempt:
            gate, sandbox = await self._entered(order, attempt)
            kept = attempt.pop_all()
        self._stack.push_async_exit(kept)
        return _Started(gate=gate, sandbox=sandbox, stack=kept)

    async def _entered(self, order: Ordered, attempt: AsyncExitStack) -> tuple[EgressGate, Sandbox | None]:
        try:
            gate = await attempt.enter_async_context(self._start(order))
        except (OSError, UnicodeError, GateLostError) as error:
            why = f"connector `{order.name}` cannot be started: {error}"
            raise ActionError("not-configured", why, hint="the operator looks at its `ca_file`") from error
        if order.container is None or self._contain is None:
            return gate, None
        try:
            return gate, await attempt.enter_async_context(self._contain(order, order.container, gate))
        except (SandboxError, RunnerError) as error:
            why = f"connector `{order.name}` cannot be started: {error.message}"
            raise ActionError("not-configured", why, hint=error.hint) from error


def _is_over(task: asyncio.Task[_Started]) -> bool:
    """Say whether a start has failed, or what it started was lost."""
    if task.cancelled() or task.exception() is not None:
        return True
    started = task.result()
    return started.gate.is_lost or (started.sandbox is not None and started.sandbox.link.is_lost)


def _not_configured(name: str, mend: str) -> ActionError:
    return ActionError(
        "not-configured",
        f"connector `{name}` is not configured",
        hint=f"the operator adds `connectors: {{{mend}}}` to config.yaml",
    )


@asynccontextmanager
async def connectors_of(
    policy: Policy, order: Order, *, credentials: CredentialSource, traffic: Traffic
) -> AsyncIterator[SessionConnectors]:
    """Yield a session's connectors, none of which is started yet, and end those that were.

    Args:
        policy: The policy in force: the commands that it offers, its limits, and hosts that it denies.
        order: What the session is ordered with.
        credentials: Finds a credential by name.
        traffic: Where what crosses is counted; what crossed before counts in the budgets.

    Raises:
        InvalidInputError: When the operator's configuration is not valid.
    """
    journal, session = order.journal, order.session
    bounds = RuleSet.of(policy.network)
    async with AsyncExitStack() as stack:

        def start(wanted: Ordered) -> AbstractAsyncContextManager[EgressGate]:
            owner = f"{session}/{wanted.name}"

            async def write(happened: events.Event) -> None:
                told = written(happened, owner)
                traffic.take(told)
                await journal.record(told)

            return EgressGate.start(
                replace(bounds, rules=wanted.rules),
                journal=write,
                credentials=credentials,
                ca_file=wanted.ca_file,
                proxy=wanted.container is not None,
                crossed=traffic.under(owner),
                numbered=traffic.numbered(owner),
            )

        def contain(
            wanted: Ordered, container: ConnectorContainer, gate: EgressGate
        ) -> AbstractAsyncContextManager[Sandbox]:
            return contained(wanted.name, container, order, gate)

        orders = {each.name: each for each in orders_of(policy)}
        connectors = SessionConnectors(orders, stack, start, contain)
        try:
            yield connectors
        finally:
            await connectors.close()
