"""Say in plain words how much a session may use up and send, and which values its commands may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.commands_block import ArgumentRule
    from policies.network_block import EgressRule, NetworkLimits, RuleLimits
    from policies.policy import Budget, Isolation, Policy

_KERNELS = {
    "default": "the engine's default runtime",
    "runc": "`runc`, which shares the host's kernel",
    "gvisor": "gVisor, which has a kernel of its own",
}


def bounds(policy: Policy) -> Iterator[str]:
    """Say what bounds a session.

    Args:
        policy: A resolved policy.

    Yields:
        A line for each kind of bound: budget, sandbox, network, files, hosts, commands.
    """
    yield _budget(policy.budget)
    if parts := tuple(_parts_of_tokens(policy.budget)):
        yield f"of the tokens, {', '.join(parts)}"
    yield _isolation(policy.isolation)
    if policy.network is not None:
        yield from _network(policy.network.limits)
    if policy.files is not None and policy.files.access != "read":
        limits = policy.files.limits
        yield f"{limits.written_bytes.text} written, in at most {int(limits.written_files)} files"
    for rule in policy.network.allow if policy.network else ():
        yield from _of_host(rule)
    for bound in policy.commands.rules:
        yield from _of_command(bound)
    if policy.sinks == "strict":
        yield "`sinks: strict`: where data goes is named by a rule, by the task's own words or by a person"


def _budget(budget: Budget) -> str:
    return (
        f"{int(budget.turns)} turns, {int(budget.actions)} actions, {int(budget.tokens):,} tokens, "
        f"{budget.cost_usd:g} US dollars and {budget.wall_time.text} of time"
    )


def _parts_of_tokens(budget: Budget) -> Iterator[str]:
    for most, kind in (
        (budget.input_tokens, "in"),
        (budget.output_tokens, "out"),
        (budget.cached_tokens, "of those that the server had cached"),
    ):
        if most < budget.tokens:
            yield f"{int(most):,} {kind}"


def _isolation(isolation: Isolation) -> str:
    return (
        f"{isolation.memory.text} of memory, {isolation.cpus:g} processors, {int(isolation.processes)} "
        f"processes, {isolation.scratch.text} of scratch, under {_KERNELS[isolation.runtime]}"
    )


def _network(limits: NetworkLimits) -> Iterator[str]:
    yield (
        f"{limits.sent_bytes.text} sent, {limits.received_bytes.text} received, {int(limits.requests)} "
        f"requests in all; {int(limits.connections)} connections at once, each for "
        f"{limits.connection_time.text}"
    )


def _of_host(rule: EgressRule) -> Iterator[str]:
    if told := tuple(_limits(rule.limits)):
        yield f"under the rule for `{rule.host.text}`: {', '.join(told)}"


def _limits(limits: RuleLimits) -> Iterator[str]:
    for size, word in ((limits.sent_bytes, "sent"), (limits.received_bytes, "received")):
        if size is not None:
            yield f"{size.text} {word}"
    for count, word in ((limits.requests, "requests"), (limits.connections, "connections at once")):
        if count is not None:
            yield f"{int(count)} {word}"
    if limits.connection_time is not None:
        yield f"{limits.connection_time.text} for one connection"


def _of_command(rule: ArgumentRule) -> Iterator[str]:
    name = rule.command.text
    if rule.max_calls is not None:
        yield f"`{name}` at most {int(rule.max_calls)} times"
    for argument, values in (*rule.arguments.items(), *rule.sink_pattern.items()):
        yield f"`{argument}` of `{name}` is one of {listed(value.text for value in values)}"
