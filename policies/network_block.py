"""The block `network`: the rules for hosts, what a rule allows and fixes, how much may cross."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from policies.block import Block
from policies.leaves import (
    CountField,
    DurationField,
    HostField,
    MethodField,
    NameField,
    SizeField,
    UrlPathField,
    choice,
)
from policies.units import Bytes, Count, Seconds
from policies.urls import READING

if TYPE_CHECKING:
    from policies.errors import RuleAt
    from policies.urls import UrlPath


class RuleLimits(Block):
    """How much may cross under one rule; what is left out has the session's bound, which always holds."""

    sent_bytes: SizeField | None = Field(default=None, description="bytes sent")
    received_bytes: SizeField | None = Field(default=None, description="bytes received")
    requests: CountField | None = Field(default=None, description="requests, or connections not read")
    connections: CountField | None = Field(default=None, description="connections at once")
    connection_time: DurationField | None = Field(default=None, description="the life of one connection")

    def meet(self, other: RuleLimits) -> RuleLimits:
        """Take the smaller of each number.

        Args:
            other: The other limits.

        Returns:
            Limits within both.
        """
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in type(self).model_fields)
        least = {name: [value for value in both if value is not None] for name, *both in pairs}
        return RuleLimits(**{name: min(values) for name, values in least.items() if values})


class EgressRule(Block):
    """One host that a session may reach, and what it may ask there."""

    host: HostField = Field(description="a host, or `*.example.com` for every name below it")
    ports: tuple[int, ...] = Field(default=(443,), description="ports, 443 when absent")
    methods: tuple[MethodField, ...] | None = Field(
        default=None, description="GET and HEAD when absent; written, every request is read"
    )
    paths: tuple[UrlPathField, ...] | None = Field(
        default=None, description="every path when absent; written, every request is read"
    )
    also: tuple[tuple[UrlPathField, ...], ...] = Field(
        default=(), description="further lists of which each must match too; written by joining policies"
    )
    credential: NameField | None = Field(
        default=None,
        description="a name from the operator's configuration; its value never enters the container",
    )
    data: Annotated[Literal["public"], *choice("what the credential reads", "public")] | None = Field(
        default=None, description="`public`: what the credential reads is not private"
    )
    private: bool = Field(default=False, description="whether private and loopback addresses may be reached")
    sink_pattern: bool = Field(
        default=False, description="whether a wildcard of this rule may choose where data goes"
    )
    protocol: Annotated[Literal["web", "tcp"], *choice("what may be spoken", "web", "tcp")] = Field(
        default="web",
        description="`web`: HTTP, and TLS to the host's own name; `tcp`: any bytes, which nobody reads",
    )
    ask: bool = Field(
        default=False, description="whether a person approves each request, or connection not read"
    )
    limits: RuleLimits = Field(default=RuleLimits(), description="how much may cross under this rule")
    unfixed: Annotated[Literal["writes", "all"], *choice("what it does not fix", "writes", "all")] | None = (
        Field(
            default=None,
            description="requests whose destination it allows and does not fix; written by joining policies",
        )
    )

    @property
    def at(self) -> RuleAt | None:
        """Where the rule was written."""
        return self.host.at

    @property
    def by_request(self) -> bool:
        """Whether each request has to be read, so that TLS ends at the gate."""
        return self.methods is not None or self.paths is not None or bool(self.credential)

    @property
    def effective_methods(self) -> frozenset[str]:
        """The methods that may be used."""
        return READING if self.methods is None else frozenset(self.methods)

    @property
    def path_groups(self) -> tuple[tuple[UrlPath, ...], ...]:
        """The lists of paths, of each of which one has to match."""
        return self.also if self.paths is None else (self.paths, *self.also)

    def allows_path(self, path: str) -> bool:
        """Tell whether a path may be asked for.

        Args:
            path: A canonical path of a URL.

        Returns:
            True when each list of paths has a pattern that matches whole.
        """
        return all(any(pattern.matches(path) for pattern in group) for group in self.path_groups)

    def fixes(self, method: str, path: str) -> bool:
        """Tell whether this rule fixes where a request that it allows goes, so that nobody else has to.

        Args:
            method: The request's method.
            path: Its canonical path.

        Returns:
            True when the host has no wildcard and, but for GET and HEAD, the path stands here without one.
        """
        if self.sink_pattern:
            return True
        if self.host.is_wild or self.unfixed == "all":
            return False
        if method in READING:
            return True
        exact = (
            any(not path_.is_wild and path_.matches(path) for path_ in group) for group in self.path_groups
        )
        return self.unfixed is None and bool(self.path_groups) and all(exact)


class NetworkLimits(Block):
    """How much may cross the egress gate."""

    sent_bytes: SizeField = Field(default=Bytes(2**20), description="bytes sent in all, queries included")
    received_bytes: SizeField = Field(default=Bytes(200 * 2**20), description="bytes received in all")
    requests: CountField = Field(default=Count(500), description="requests or connections in all")
    connections: CountField = Field(default=Count(256), description="connections at once")
    connection_time: DurationField = Field(default=Seconds(600), description="the life of one connection")


class NetworkBlock(Block):
    """The hosts behind the egress gate."""

    allow: tuple[EgressRule, ...] = Field(default=(), description="the hosts; an empty list is no host")
    deny: tuple[HostField, ...] = Field(default=(), description="never these, whatever `allow` says")
    limits: NetworkLimits = Field(default=NetworkLimits(), description="how much may cross")
