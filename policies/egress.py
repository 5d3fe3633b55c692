"""Decide on one request by name, port, method and path; the egress gate asks here, and so does `decide`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from policies.request import Reason
from policies.urls import READING, readings
from policies.wording import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.errors import RuleAt
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from policies.urls import Target


def egress_rules(policy: Policy, host: str, port: int) -> tuple[EgressRule, ...]:
    """Find the rules under which a host may be reached at all.

    Args:
        policy: The policy in force.
        host: The canonical host.
        port: 1 to 65535.

    Returns:
        The rules that match name and port; empty when a `deny` names the host, or without `network`. Where
        one of them is `by_request`, the gate has to read the request and ask `decide_http` with it.
    """
    network = policy.network
    if network is None or any(pattern.matches(host) for pattern in network.deny):
        return ()
    return tuple(rule for rule in network.allow if port in rule.ports and rule.host.matches(host))


def matching_rules(policy: Policy, method: str, target: Target) -> tuple[EgressRule, ...] | Reason:
    """Find every rule that allows a request.

    Args:
        policy: The policy in force.
        method: The method, in capitals.
        target: Where it goes.

    Returns:
        The rules that match name, port, method and path, at least one; or the reason why it is denied.
    """
    rules = egress_rules(policy, target.host, target.port)
    if not rules:
        return _no_host(policy, target)
    by_method = [rule for rule in rules if method in rule.effective_methods]
    if not by_method:
        allowed = sorted({name for rule in rules for name in rule.effective_methods})
        return Reason(
            "method",
            f"`{target.host}` may be asked with {listed(allowed)}; the request is {quoted(method)}",
            "the policy's `methods:` names what may be used",
            rules[0].at,
        )
    # INVARIANT: whichever way a server reads a path, the very same rules allow it.
    matching, *others = (
        tuple(rule for rule in by_method if rule.allows_path(path)) for path in readings(target.path)
    )
    if others and (method not in READING or others != [matching]):
        return Reason(
            "path",
            f"path {quoted(target.path)} can be read in two ways, which the rules for `{target.host}` part",
            "ask with a plain `/`, with GET or HEAD, or add `paths:` for both ways",
            by_method[0].at,
        )
    if not matching:
        return Reason(
            "path",
            f"no rule for `{target.host}` allows the path {quoted(target.path)}",
            "the policy's `paths:` names what may be asked for",
            by_method[0].at,
        )
    named = {rule.credential for rule in matching if rule.credential is not None}
    if len(named) > 1:
        return Reason(
            "host",
            f"rules for `{target.host}` name different credentials: {listed(sorted(named))}",
            "make the rules' `methods:` or `paths:` disjoint",
            matching[0].at,
        )
    return matching


def decide_http(policy: Policy, method: str, target: Target) -> EgressRule | Reason:
    """Decide on one request.

    Args:
        policy: The policy in force.
        method: The method, in capitals.
        target: Where it goes.

    Returns:
        The rule that allows it, or the reason why not.
    """
    rules = matching_rules(policy, method, target)
    return rules if isinstance(rules, Reason) else preferred(rules)


def preferred(rules: Sequence[EgressRule]) -> EgressRule:
    """Choose the rule that holds among several that match, so that the order of a file says nothing.

    Args:
        rules: The rules, at least one.

    Returns:
        The one that asks, has the credential, has no wildcard, reaches private addresses, bounds more.
    """
    return rules[0] if len(rules) == 1 else min(rules, key=_precedence)


def _precedence(rule: EgressRule) -> tuple[float, ...]:
    bounds = (math.inf if bound is None else bound for bound in dict(rule.limits).values())
    return not rule.ask, rule.credential is None, rule.host.is_wild, not rule.private, *bounds


def _no_host(policy: Policy, target: Target) -> Reason:
    network = policy.network
    if network is None:
        what = f"session has no `network`; the request goes to `{target.host}`"
        return Reason(
            "capability", what, "no approval adds a capability: use another session", policy.place("grant")
        )
    denied = next((pattern for pattern in network.deny if pattern.matches(target.host)), None)
    if denied is not None:
        what = f"`{target.host}` is denied by `{denied.text}`"
        return Reason("host", what, "`deny` wins over whatever allows it: ask another host", denied.at)
    rules = [rule for rule in network.allow if rule.host.matches(target.host)]
    if rules:
        ports = sorted({port for rule in rules for port in rule.ports})
        return Reason(
            "host",
            f"`{target.host}` may be reached on {listed(ports)}; the request goes to port `{target.port}`",
            f"add `ports: [{target.port}]` to its rule",
            rules[0].at,
        )
    at: RuleAt | None = policy.place("network.allow")
    known = listed(rule.host.text for rule in network.allow[:5])
    return Reason(
        "host",
        f"`{target.host}` is none of the hosts allowed: {known}",
        f"add `- host: {target.host}` to `network.allow`",
        at,
    )
