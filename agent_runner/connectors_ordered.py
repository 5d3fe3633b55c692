"""Say which connectors a session may use: those that its commands need and that the operator configured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.commands import known_commands
from agent_runner.connectors_container import ConnectorContainer
from agent_runner.models import configured_connectors
from cli_tools.offer import offers
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.connectors_configured import ConfiguredConnectors
    from cli_tools.action import Catalogue
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from sandbox.egress.rules import Rule


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
