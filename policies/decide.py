"""Decide on one action: deny wins over ask, ask over allow, whatever the order. Pure; any error is a denial.

Each check below returns its reasons; none of them returns a verdict. Denials are collected from all of them,
so that an agent is told everything at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability, in_order
from policies.commands import FINISH
from policies.errors import BadValueError
from policies.origin import http_reasons, sink_reasons
from policies.path_reasons import path_reasons
from policies.request import ActionRequest, Allowed, Decision, Denied, NeedsApproval, Reason, SinkUse
from policies.sinks import each_value, fits
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.commands import CommandPattern, ValuePattern
    from policies.commands_block import ArgumentRule
    from policies.errors import RuleAt
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from policies.request import SessionFacts


def decide(policy: Policy, session: SessionFacts, request: ActionRequest) -> Decision:
    """Decide whether an action may be done.

    Args:
        policy: The resolved policy in force.
        session: What the session is and has done.
        request: The action, parsed.

    Returns:
        Allowed, NeedsApproval (never when headless) or Denied, with reasons.
    """
    try:
        return _decide(policy, session, request)
    except BadValueError as exc:
        return Denied((Reason("argument", exc.message, exc.hint),))
    except Exception as exc:  # noqa: BLE001 - whatever goes wrong while deciding is a denial, never a pass
        what = f"the decision on {quoted(request.name)} failed: `{type(exc).__name__}`"
        return Denied((Reason("command", what, "this is a defect; please report it"),))


def _decide(policy: Policy, session: SessionFacts, request: ActionRequest) -> Decision:
    egress: list[EgressRule] = []
    asks: list[Reason] = []
    denials = [
        *_capability(policy, session, request),
        *_command(policy, session, request, asks),
        *_arguments(policy, request),
        *_calls(policy, session, request),
        *_program(policy, request),
        *path_reasons(policy, request),
        *http_reasons(policy, session, request, egress, asks),
        *sink_reasons(policy, session, request, asks),
    ]
    if session.ceiling is not None:
        denials += session.ceiling.reasons(request)
    if session.headless:
        denials += asks
    if denials:
        return Denied(tuple(denials))
    if asks:
        return NeedsApproval(tuple(asks), tuple(egress))
    return Allowed(_allowing_rule(policy, request), tuple(egress))


def _allowing_rule(policy: Policy, request: ActionRequest) -> RuleAt | None:
    pattern = _first(policy.commands.allow, request.command)
    return pattern.at if pattern else None


def _capability(policy: Policy, session: SessionFacts, request: ActionRequest) -> Iterator[Reason]:
    held = session.grant.capabilities & policy.grant.capabilities
    needed = request.needs
    if request.paths:
        needed |= {Capability.FILES}
    if request.http:
        needed |= {Capability.NETWORK}
    if request.program is not None:
        needed |= {Capability.EXEC}
    if needed <= held:
        return
    have = listed(in_order(held)) if held else "no capability"
    yield Reason(
        "capability",
        f"session holds {have}; action {quoted(request.name)} needs {listed(in_order(needed - held))}",
        "no approval adds a capability: use another session",
        policy.place("grant"),
    )


def _command(
    policy: Policy, session: SessionFacts, request: ActionRequest, asks: list[Reason]
) -> Iterator[Reason]:
    commands = policy.commands
    if pattern := _first(commands.deny, request.command):
        what = f"command {quoted(request.name)} is denied by `{pattern.text}`"
        yield Reason("command", what, "`deny` wins over whatever allows it: use another command", pattern.at)
    elif request.command == FINISH:
        return
    elif pattern := _first(commands.ask, request.command):
        what = f"command {quoted(request.name)} needs an approval by `{pattern.text}`"
        nobody = "nobody can be asked, because the session is headless: use another command"
        hint = nobody if session.headless else "a person approves this very action, or not"
        asks.append(Reason("command", what, hint, pattern.at))
    elif _first(commands.allow, request.command) is None:
        near = nearest(request.name, [pattern.text for pattern in commands.allow if not pattern.is_group])
        hint = f"did you mean `{near}`?" if near else f"allowed are {listed(_offered(policy))}"
        what = f"command {quoted(request.name)} is not allowed"
        yield Reason("command", what, hint, policy.place("commands.allow"))


def _first(patterns: tuple[CommandPattern, ...], command: tuple[str, ...]) -> CommandPattern | None:
    for pattern in patterns:
        if pattern.matches(command):
            return pattern
    return None


def _offered(policy: Policy) -> tuple[str, ...]:
    return (*(pattern.text for pattern in policy.commands.allow), "finish")


def _arguments(policy: Policy, request: ActionRequest) -> Iterator[Reason]:
    kinds = {sink.argument: sink for sink in request.sinks}
    for rule in policy.commands.rules:
        if not rule.command.matches(request.command):
            continue
        for bounds in (rule.arguments, rule.sink_pattern):
            for name, patterns in bounds.items():
                yield from _argument(rule, name, patterns, request, kinds.get(name))


def _argument(
    rule: ArgumentRule,
    name: str,
    patterns: tuple[ValuePattern, ...],
    request: ActionRequest,
    sink: SinkUse | None,
) -> Iterator[Reason]:
    values = list(each_value(sink.value if sink else request.arguments.get(name)))
    expected = listed(pattern.text for pattern in patterns)
    if not values:
        yield Reason(
            "argument",
            f"argument {quoted(name)} is not given; expected one of {expected}",
            "give it",
            rule.at,
        )
    for value in values:
        if not any(fits(pattern, value, sink) for pattern in patterns):
            yield Reason(
                "argument",
                f"argument {quoted(name)} is {quoted(value)}; expected one of {expected}",
                "give one of these, whole",
                rule.at,
            )


def spent_calls(
    policy: Policy, session: SessionFacts, request: ActionRequest
) -> Iterator[tuple[ArgumentRule, int, int]]:
    """Yield each rule whose calls are used up, with its bound and how many there were."""
    for rule in policy.commands.rules:
        if rule.max_calls is None or not rule.command.matches(request.command):
            continue
        done = sum(
            count for name, count in session.calls.items() if rule.command.matches(tuple(name.split(" ")))
        )
        if done >= rule.max_calls:
            yield rule, int(rule.max_calls), done


def _calls(policy: Policy, session: SessionFacts, request: ActionRequest) -> Iterator[Reason]:
    for rule, bound, done in spent_calls(policy, session, request):
        yield Reason(
            "budget",
            f"`{rule.command.text}` was called {done} times; the most is {bound}",
            "do without it: nothing raises `max_calls` in this session",
            rule.at,
        )


def _program(policy: Policy, request: ActionRequest) -> Iterator[Reason]:
    if request.program is None or policy.exec is None:
        return
    programs = policy.exec.programs
    if not programs.allows(request.program):
        yield Reason(
            "argument",
            f"program {quoted(request.program)} is not allowed; allowed are {listed(programs.names)}",
            "`exec.programs` lists what `run` may name, whole",
            programs.at or policy.place("exec.programs"),
        )
