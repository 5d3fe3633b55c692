"""Run connectors that are programs: each in a container of its own, without the workspace, behind a gate.

What an agent supplies reaches such a program as words and input, so it never runs on the host. Its
container holds `network` and `exec`: the image and the hosts that the operator named, and no more.
Credentials are put in by the gate, on the host.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from audit import event
from policies.leaves import HostField, ImageField, MethodField, NameField, UrlPathField
from policies.source import parse_policy
from sandbox.egress.rules import Rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.container import Placement
    from agent_runner.housing import Order
    from policies.policy import Policy
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox

MOST_HOSTS: Final = 32
_Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")]


class ReachedHost(BaseModel):
    """One host that a connector's program may reach."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: HostField
    ports: Annotated[tuple[int, ...], Field(max_length=8, strict=False)] = (443,)
    methods: Annotated[tuple[MethodField, ...], Field(max_length=16, strict=False)] | None = None
    """GET and HEAD when left out, wherever requests are seen; named, each request is read."""
    paths: Annotated[tuple[UrlPathField, ...], Field(max_length=64, strict=False)] | None = None
    credential: NameField | None = None
    """A name of `credentials`; the gate puts it in, and its value never enters the container."""
    private: bool = False

    def rule(self) -> Rule:
        """Return what the gate is given."""
        return Rule(
            host=self.host,
            ports=self.ports,
            methods=self.methods,
            paths=(self.paths,) if self.paths else (),
            credential=self.credential or "",
            allow_private=self.private,
        )


class ConnectorContainer(BaseModel):
    """The container of a connector that is a program."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: ImageField
    network: Annotated[tuple[ReachedHost, ...], Field(max_length=MOST_HOSTS, strict=False)] = ()
    """The hosts that its programs may reach; empty is none."""
    variables: Annotated[dict[_Variable, str], Field(max_length=32)] = Field(default_factory=dict)
    """What its programs find in their environment; nothing secret."""
    ca_file: str | None = None
    """Further authorities for the servers' certificates, PEM; `~` is the home folder."""

    @property
    def base_url(self) -> str:
        """No URL: its programs know where they go."""
        return ""

    @property
    def account(self) -> str:
        """Nobody's in particular."""
        return ""

    def rules(self, *, reads: bool) -> tuple[Rule, ...]:  # noqa: ARG002 - a program is not taken apart
        """Return what may be asked."""
        return tuple(host.rule() for host in self.network)


@asynccontextmanager
async def contained(
    name: str, container: ConnectorContainer, order: Order, gate: EgressGate
) -> AsyncIterator[Sandbox]:
    """Yield a connector's sandbox, attested like any, and destroy it at the end.

    Args:
        name: The connector's.
        container: What the operator configured.
        order: The session's own, whose runtime and wall clock hold for it as well.
        gate: The connector's way out, started with `proxy`.

    Raises:
        sandbox.errors.SandboxError: When it cannot be made, or is not what was asked for.
        RefusedError: When its image may not be used.
    """
    from agent_runner.container import sandbox_for  # noqa: PLC0415 - few sessions have one

    own = replace(
        order, policy=_policy(name, container, order.policy), workspace=None, resumed=False, part=name
    )

    async def made(placement: Placement, container_id: str) -> None:
        told = (
            f"connector `{name}` runs in container `{container_id}` of image {placement.spec.image}, "
            f"description {placement.spec.digest}, with network and exec, without the workspace"
        )
        await order.journal.record(event.SafetyNoted(code="connector", message=told))

    async with sandbox_for(replace(own, models=False), made=made) as (_, sandbox):
        await sandbox.let_out(gate.relay, authorities=gate.ca_certificate)
        sandbox.way_out = {**sandbox.way_out, **container.variables}
        yield sandbox


def _policy(name: str, container: ConnectorContainer, session: Policy) -> Policy:
    """Return the policy that describes the container: no host by itself, its gate has rules of its own."""
    written = {
        "version": 1,
        "name": f"connector-{name}",
        "grant": ["network", "exec"],
        "exec": {"image": str(container.image), "programs": "any", "contents": "public"},
        "network": {"allow": []},
        "isolation": {"runtime": session.isolation.runtime},
        "budget": {"wall_time": f"{int(float(session.budget.wall_time))}s"},
    }
    return parse_policy(json.dumps(written), origin=f"connector {name}")  # JSON is YAML
