"""Decide whether a request may leave, from its rules alone: no socket, clock or name resolution.

Hosts, methods and paths are decided by `policies.egress`, as for an action's own decision; what is
added here is what only the gate can see: tunnels, and credentials over plain http.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Literal, Self, assert_never

from policies.egress import decide_http, egress_rules, preferred
from policies.hosts import HostPattern
from policies.network_block import EgressRule, NetworkBlock, RuleLimits
from policies.policy import Policy
from policies.request import Reason
from policies.units import Bytes, Count, Seconds
from policies.urls import Target, UrlPath
from sandbox.egress.errors import DenialCode
from sandbox.limits import MIB

Protocol = Literal["web", "tcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bound what may cross; zero means none at all."""

    sent_bytes: int = 1 * MIB
    """Bytes that leave, queries, headers and wildcard labels included."""
    received_bytes: int = 200 * MIB
    """Bytes that come in."""
    requests: int = 500
    """Requests, or connections whose requests are not seen."""
    connections: int = 256
    """Connections open at once."""
    connection_seconds: float = 600.0
    """Longest life of one connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """What has crossed under one rule before a gate was started, in a session that goes on."""

    rule: str = ""
    """The rule's name."""
    sent_bytes: int = 0
    received_bytes: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One host that may be reached, and what may be asked there: a policy's rule, as it crosses the pipe."""

    host: HostPattern
    ports: tuple[int, ...] = (443,)
    """Ports, whole; empty is none."""
    methods: tuple[str, ...] | None = None
    """None is GET and HEAD, wherever requests are seen; named methods make them seen."""
    paths: tuple[tuple[UrlPath, ...], ...] = ()
    """Groups: a path needs a match in each; no group is every path. A group makes requests seen."""
    credential: str = ""
    """Name of the credential that the gate puts in; empty for none. It makes requests seen."""
    protocol: Protocol = "web"
    """`tcp` lets any bytes through a tunnel; `web` wants TLS to the name that was asked for, or HTTP."""
    allow_private: bool = False
    """Whether private, loopback and the host's own addresses may be dialled."""
    ask: bool = False
    """Whether a person approves each request, or connection whose requests are not seen."""
    limits: Limits | None = None
    """Bounds of this rule alone; None leaves the session's, which hold in any case."""

    @property
    def place(self) -> str:
        """Where the rule was written, or else the host that it names."""
        return str(self.host.at) if self.host.at else self.host.text

    @property
    def name(self) -> str:
        """What is counted under it: its host, and a digest of what it allows.

        It is the same in every file that the rule is written in, and whatever its limits are. Rules that
        allow the same have one name, so what crosses under one counts for each.
        """
        return _name(self)

    @classmethod
    def of(cls, written: EgressRule, session: Limits) -> Self:
        """Take a rule from a policy whose session has these bounds."""
        return cls(
            host=written.host,
            ports=written.ports,
            methods=written.methods,
            paths=written.also if written.paths is None else (written.paths, *written.also),
            credential=written.credential or "",
            protocol=written.protocol,
            allow_private=written.private,
            ask=written.ask,
            limits=_own_limits(written.limits, session),
        )

    def as_written(self) -> EgressRule:
        """Return the policy's rule that this one is."""
        return EgressRule.model_construct(
            host=self.host,
            ports=self.ports,
            methods=self.methods,
            paths=self.paths[0] if self.paths else None,
            also=self.paths[1:],
            credential=self.credential or None,
            private=self.allow_private,
            ask=self.ask,
            limits=_written_limits(self.limits),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Everything that one session may reach; empty is no host."""

    rules: tuple[Rule, ...] = ()
    deny: tuple[HostPattern, ...] = ()
    """Never these, whatever the rules say."""
    limits: Limits = Limits()
    """Bounds of the whole session."""

    @classmethod
    def of(cls, block: NetworkBlock | None) -> Self:
        """Take the rules of a policy; no block is no host."""
        if block is None:
            return cls()
        limits = Limits(
            sent_bytes=block.limits.sent_bytes,
            received_bytes=block.limits.received_bytes,
            requests=block.limits.requests,
            connections=block.limits.connections,
            connection_seconds=float(block.limits.connection_time),
        )
        rules = tuple(Rule.of(rule, limits) for rule in block.allow)
        return cls(rules=rules, deny=block.deny, limits=limits)


@lru_cache(maxsize=1024)
def _name(rule: Rule) -> str:
    allows = (
        sorted(rule.ports),
        None if rule.methods is None else sorted(rule.methods),
        sorted({tuple(sorted({path.text for path in group})) for group in rule.paths}),
        rule.credential,
        rule.protocol,
        rule.allow_private,
        rule.ask,
    )
    return f"{rule.host.text}#{sha256(json.dumps(allows).encode()).hexdigest()[:16]}"


def _own_limits(written: RuleLimits, session: Limits) -> Limits | None:
    named = {name: value for name, value in dict(written).items() if value is not None}
    if not named:
        return None
    if "connection_time" in named:
        named["connection_seconds"] = float(named.pop("connection_time"))
    return replace(session, **named)


def _written_limits(own: Limits | None) -> RuleLimits:
    if own is None:
        return RuleLimits()
    return RuleLimits.model_construct(
        sent_bytes=Bytes(own.sent_bytes),
        received_bytes=Bytes(own.received_bytes),
        requests=Count(own.requests),
        connections=Count(own.connections),
        connection_time=Seconds(int(own.connection_seconds)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for, every part in its canonical form."""

    scheme: Literal["http", "https", "tunnel"]
    """`tunnel` is a connection whose requests are not seen yet."""
    host: str
    port: int
    method: str = ""
    """Empty for a tunnel."""
    path: str = ""
    """Without query; empty for a tunnel."""
    action: str = ""
    """The action that it belongs to; empty where that is not known. It decides nothing."""
    within: str = ""
    """The tunnel that it came through; empty for none. It decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request may leave, under this rule."""

    rule: Rule
    by_request: bool = False
    """Whether a tunnel's TLS has to end at the gate, because some rule for it reads requests."""
    ask: bool = False
    """Whether a person has to approve it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The request may not leave."""

    code: DenialCode
    message: str
    hint: str = ""
    rule: str = ""
    """The rule that came nearest; empty for none."""


def decide(rules: RuleSet, wanted: Wanted) -> Allowed | Denied:
    """Decide one request or tunnel.

    Args:
        rules: What the session may reach.
        wanted: What is asked for.

    Returns:
        The rule that allows it, or why none does.
    """
    match wanted.scheme:
        case "tunnel":
            return _tunnel(rules, wanted)
        case "http" | "https":
            return _request(rules, wanted)
        case _:
            assert_never(wanted.scheme)


def _tunnel(rules: RuleSet, wanted: Wanted) -> Allowed | Denied:
    policy, own = _policy(rules)
    found = egress_rules(policy, wanted.host, wanted.port)
    if not found:
        reason = decide_http(policy, "GET", Target("https", wanted.host, wanted.port))
        return _denied(reason) if isinstance(reason, Reason) else _no_rule(wanted)
    by_request = any(rule.by_request for rule in found)  # then any bytes would pass the reading by
    raw = [] if by_request else [rule for rule in found if own[id(rule)].protocol == "tcp"]
    ask = not by_request and any(rule.ask for rule in found)
    return Allowed(rule=own[id(preferred(raw or found))], by_request=by_request, ask=ask)


def _request(rules: RuleSet, wanted: Wanted) -> Allowed | Denied:
    policy, own = _policy(rules)
    found = decide_http(policy, wanted.method, Target(wanted.scheme, wanted.host, wanted.port, wanted.path))
    if isinstance(found, Reason):
        return _denied(found)
    rule = own[id(found)]
    if rule.credential and wanted.scheme != "https":
        return Denied(
            code="credential",
            message=f"credential `{rule.credential}` is not sent over plain http",
            hint=f"ask for https://{wanted.host}",
            rule=rule.place,
        )
    return Allowed(rule=rule, ask=rule.ask)


@lru_cache(maxsize=8)
def _policy(rules: RuleSet) -> tuple[Policy, dict[int, Rule]]:
    written = tuple(rule.as_written() for rule in rules.rules)
    network = NetworkBlock.model_construct(allow=written, deny=rules.deny)
    policy = Policy.model_construct(version=1, name="egress", network=network)
    return policy, {id(rule): own for rule, own in zip(written, rules.rules, strict=True)}


def _denied(reason: Reason) -> Denied:
    code: DenialCode = reason.code if reason.code in {"host", "method", "path"} else "capability"
    rule = str(reason.rule) if reason.rule else ""
    return Denied(code=code, message=reason.message, hint=reason.hint, rule=rule)


def _no_rule(wanted: Wanted) -> Denied:
    return Denied(code="host", message=f"no rule allows `{wanted.host}` port {wanted.port}")
