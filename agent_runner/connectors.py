"""Open a session's connectors: each an egress gate of its own, to the server that the operator configured.

The gate's process is locked down and is given the one credential at each request; every connection is an
entry of the ledger. What a policy's `network.deny` names stays denied, and its limits bound each connector.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.backends.failure import retry_after
from agent_runner.commands import known_commands
from agent_runner.connectors_container import ConnectorContainer, contained
from agent_runner.errors import RunnerError
from agent_runner.models import configured_connectors
from agent_runner.way_out import written
from cli_tools.connector import LARGEST_ANSWER_BYTES
from cli_tools.errors import ActionError
from cli_tools.offer import offers
from policies.capability import Capability
from sandbox.egress.errors import EgressDeniedError, GateLostError, UpstreamError
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import RuleSet
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from agent_runner.connectors_configured import ConfiguredConnectors
    from agent_runner.housing import Order
    from agent_runner.traffic import Traffic
    from cli_tools.action import Catalogue
    from cli_tools.connector import Connector
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from sandbox.egress import events
    from sandbox.egress.credentials import Headers
    from sandbox.egress.fetch import Response
    from sandbox.egress.owner import CredentialSource
    from sandbox.egress.rules import Rule
    from sandbox.session import Sandbox

    Contain = Callable[["Ordered", ConnectorContainer, EgressGate], AbstractAsyncContextManager[Sandbox]]

LONGEST_WAIT_SECONDS: Final = 60.0
"""For one action, where the server asks to wait (RFC 6585, clause 4; RFC 9110, clause 10.2.3)."""
USUAL_WAIT_SECONDS: Final = 5.0
"""Where it does not say how long."""
SHORTEST_WAIT_SECONDS: Final = 1.0
MOST_TRIES: Final = 6
MOST_STARTS: Final = 16
"""How often one connector is started in one session, failed starts included: an agent that has it fail, or
ends it, gains no more."""
_LONGEST_TOLD_SECONDS: Final = 1e9
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One connector that a session may use, as configured."""

    name: str
    base_url: str
    account: str
    rules: tuple[Rule, ...]
    ca_file: Path | None
    container: ConnectorContainer | None = None
    """What it runs in, where it is a program."""


def orders_of(policy: Policy) -> tuple[Ordered, ...]:
    """Return the connectors whose commands a policy offers and which the operator configured.

    Raises:
        InvalidInputError: When the operator's configuration is not valid.
    """
    return ordered(policy, known_commands(), configured_connectors)


def rules_of(policy: Policy) -> tuple[EgressRule, ...]:
    """Return the rules of a policy's connectors, for whoever fetches their credentials.

    Raises:
        InvalidInputError: When the operator's configuration is not valid.
    """
    return tuple(rule.as_written() for order in orders_of(policy) for rule in order.rules)


def ordered(
    policy: Policy, catalogue: Catalogue, configured: Callable[[], ConfiguredConnectors]
) -> tuple[Ordered, ...]:
    """Return the connectors whose commands a policy offers and which are configured.

    Args:
        policy: The policy in force.
        catalogue: The commands that exist.
        configured: Reads the operator's configuration; asked only when a command needs a connector.
    """
    commands = (offer.command for offer in offers(catalogue, policy))
    names = sorted({command.connector for command in commands if command.runs == "connector"})
    if not names:
        return ()
    reads = policy.grant.holds(Capability.FILES)
    servers = ((name, configured().server(name)) for name in names)
    return tuple(
        Ordered(
            name=name,
            base_url=server.base_url,
            account=server.account,
            rules=server.rules(reads=reads),
            ca_file=Path(server.ca_file).expanduser() if server.ca_file else None,
            container=server if isinstance(server, ConnectorContainer) else None,
        )
        for name, server in servers
        if server is not None
    )


class GatedConnector:
    """Ask one server through a gate of its own.

    Args:
        order: What it is.
        gate: Its gate.
        action: The action that asks; empty where that is not known.
    """

    def __init__(self, order: Ordered, gate: EgressGate, action: str) -> None:
        self._order = order
        self._gate = gate
        self._action = action

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return self._order.base_url

    @property
    def account(self) -> str:
        """Whose things are meant."""
        return self._order.account

    async def request(self, method: str, url: str, *, headers: Headers = (), body: bytes = b"") -> Response:
        """Make one request, again where the server asks to wait, within the bound.

        Raises:
            ActionError: When the rules say no, nobody answers, or the wait would be too long.
        """
        waited = 0.0
        for _ in range(MOST_TRIES):
            response = await self._once(method, url, headers, body)
            pause = _pause(method, response)
            if pause is None:
                return response
            if waited + pause > LONGEST_WAIT_SECONDS:
                raise self._limited(pause)
            await asyncio.sleep(pause)
            waited += pause
        raise self._limited(SHORTEST_WAIT_SECONDS)

    async def _once(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        try:
            response = await self._gate.request(
                method,
                url,
                headers=headers,
                body=body,
                body_bytes=LARGEST_ANSWER_BYTES,
                action=self._action,
            )
        except (EgressDeniedError, UpstreamError) as error:
            raise ActionError(error.code, error.message, hint=error.hint) from error
        except GateLostError as error:
            if error.__cause__ is not None:  # the ledger failed, and with it the session
                raise
            raise ActionError("upstream", f"connector `{self._order.name}`: {error.message}") from error
        if response.truncated:
            raise ActionError(
                "too-large", f"`{self._order.name}` answered with more than {LARGEST_ANSWER_BYTES} bytes"
            )
        return response

    def _limited(self, pause: float) -> ActionError:
        return ActionError(
            "rate-limited",
            f"`{self._order.name}` asks to wait {pause:.0f} s",
            hint="do something else first, or ask for less at once",
        )


def _pause(method: str, response: Response) -> float | None:
    """Return the seconds that the server asks to wait; None when it answered, or it may have been done."""
    if response.status != _TOO_MANY and not (response.status == _UNAVAILABLE and method == "GET"):
        return None
    asked = retry_after({"retry-after": response.header("retry-after").strip()})
    if asked is not None:
        return min(max(asked, SHORTEST_WAIT_SECONDS), _LONGEST_TOLD_SECONDS)
    return USUAL_WAIT_SECONDS if response.status == _TOO_MANY else None


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
