"""Findings about hosts: where what is sent can end up, and what a policy cannot bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.capability import Capability
from policies.containment import Work, lies_within, url_steps
from policies.finding import Finding
from policies.grant import Grant
from policies.hosts import is_private, shared_reason, told_reason
from policies.urls import READING
from policies.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.facts import CommandFacts
    from policies.network_block import EgressRule, NetworkBlock
    from policies.policy import Policy

_MANNER: Final = ("protocol", "ask", "limits", "credential", "data")  # how a rule allows what it allows


def host_findings(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    """Find what is unwise about hosts.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Yields:
        The findings.
    """
    if policy.network is None:
        return
    for rule in policy.network.allow:
        yield from _rule(policy, rule)
    yield from _shadowed(policy.network)
    yield from _unused(policy, policy.network, commands)


def _rule(policy: Policy, rule: EgressRule) -> Iterator[Finding]:
    host = rule.host.text
    writes = sorted(rule.effective_methods - READING - {"OPTIONS"})
    unread = policy.grant is Grant.NETWORK_EXEC and not rule.by_request
    if why := told_reason(rule.host):
        hint = "name a host whose owner you know"
        yield Finding(
            "shared-host", f"whatever `{host}` is asked for, a stranger may read: {why}", hint, rule.at
        )
    elif (writes or unread) and (why := shared_reason(rule.host)):
        how = listed(writes) if writes else "whatever method a program likes"
        hint = "write `methods: [GET]`, or `paths:` that lie in your own part of it"
        yield Finding("shared-host", f"`{host}` may be sent to with {how}: {why}", hint, rule.at)
    elif unread:
        what = f"programs may use any method at `{host}`: its requests are not read"
        yield Finding("all-methods", what, "write `methods: [GET, HEAD]`, so that they are", rule.at)
    if rule.protocol == "tcp":
        what = f"any bytes may go to `{host}`: neither its name, nor methods or paths are looked at"
        yield Finding(
            "any-protocol", what, "leave `protocol` out unless it speaks neither HTTP nor TLS", rule.at
        )
    if rule.data == "public":
        what = (
            f"what credential `{rule.credential}` reads at `{host}` is declared public"
            if rule.credential
            else (f"`data: public` of `{host}` says nothing without a credential")
        )
        yield Finding("public-data", what, "be sure, or leave `data` out", rule.at)
    if rule.private:
        what = f"`{host}` may be a private or loopback address"
        yield Finding("private-address", what, "leave `private` out unless it is your own service", rule.at)
    elif is_private(rule.host):
        what = f"`{host}` is on no public network, so it cannot be reached"
        yield Finding("unreachable", what, "write `private: true` if it is your own service", rule.at)
    if rule.sink_pattern:
        what = f"a wildcard of the rule for `{host}` chooses where data goes"
        yield Finding("sink-pattern", what, "name each host and path", rule.at)


def _shadowed(network: NetworkBlock) -> Iterator[Finding]:
    work = Work()
    for index, rule in enumerate(network.allow):
        if over := next((deny for deny in network.deny if rule.host.meet(deny) == rule.host), None):
            what = f"the rule for `{rule.host.text}` has no effect: `deny` names `{over.text}`"
            yield Finding("shadowed", what, "remove one of the two", rule.at)
        for position, other in enumerate(network.allow):
            if (
                position == index
                or not _covers(other, rule, work)
                or (position > index and _covers(rule, other, work))
            ):
                continue
            what = f"the rule for `{rule.host.text}` adds nothing to the one for `{other.host.text}`"
            yield Finding("shadowed", what, "remove it", rule.at)
            break


def _covers(other: EgressRule, rule: EgressRule, work: Work) -> bool:
    if any(getattr(other, name) != getattr(rule, name) for name in _MANNER):
        return False
    if other.host.meet(rule.host) != rule.host or not set(rule.ports) <= set(other.ports):
        return False
    return rule.effective_methods <= other.effective_methods and paths_within(rule, other, work)


def paths_within(rule: EgressRule, other: EgressRule, work: Work) -> bool:
    """Tell whether one rule's paths all lie within another's.

    Args:
        rule: The rule that may be narrower.
        other: The rule that may be wider.
        work: What the whole comparison may still do.

    Returns:
        True when for each list of the other some list of the rule lies within it.
    """

    def groups(of: EgressRule) -> tuple[tuple[str, ...], ...]:
        first = (of.paths,) if of.paths is not None else ()
        return tuple(tuple(path.text for path in group) for group in (*first, *of.also))

    def within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
        steps = [url_steps(text) for text in outer]
        return all(lies_within(url_steps(text), steps, of="url", work=work) for text in inner)

    every = groups(rule) or (("/**",),)
    return all(any(within(inner, outer) for inner in every) for outer in groups(other))


def _unused(policy: Policy, network: NetworkBlock, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    from policies.lint_commands import callable_commands  # noqa: PLC0415 - both rooms of the check know each other

    can_call = callable_commands(policy, commands)
    usable = {facts.method for facts in can_call if facts.method is not None}
    if any(Capability.EXEC in facts.needs for facts in can_call):
        return  # programs use what they like
    if network.allow and not usable:
        what = "hosts are allowed, but no command that is allowed asks them"
        yield Finding("unused-rule", what, "remove them, or allow `http get`", policy.place("network.allow"))
        return
    if "GET" in usable:
        usable.add("HEAD")  # whoever may read may ask what there is to read
    for rule in network.allow:
        if unused := sorted(set(rule.methods or ()) - usable):
            what = f"no command that is allowed asks `{rule.host.text}` with {listed(unused)}"
            yield Finding("unused-rule", what, "remove the methods, or allow the command", rule.at)


def neighbour_findings(policies: Sequence[Policy]) -> Iterator[Finding]:
    """Find hosts through which two policies can do together what neither may alone.

    Args:
        policies: Resolved policies of one folder.

    Yields:
        A finding for each host to which one may write and from which another may read, where both grants
        together make three.
    """
    for writer in policies:
        for reader in policies:
            if writer is reader or len(writer.grant.capabilities | reader.grant.capabilities) < 3:
                continue
            for rule, other in _shared_hosts(writer, reader):
                what = (
                    f"`{writer.name}` may write to `{rule.host.text}`, and `{reader.name}` may read from it"
                )
                hint = f"lineage does not see it ({other.at}): give them different hosts"
                yield Finding("neighbours", what, hint, rule.at)


def _shared_hosts(writer: Policy, reader: Policy) -> Iterator[tuple[EgressRule, EgressRule]]:
    for rule in writer.network.allow if writer.network else ():
        may_write = rule.effective_methods - READING - {"OPTIONS"}
        if not may_write and not (writer.grant is Grant.NETWORK_EXEC and not rule.by_request):
            continue
        for other in reader.network.allow if reader.network else ():
            if rule.host.meet(other.host) is not None:
                yield rule, other
