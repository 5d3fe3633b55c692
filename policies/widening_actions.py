"""Find actions that one policy allows and another denies, by trying those that its own rules suggest."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from policies.action_line import request_from_values
from policies.containment import example, url_steps, value_steps, witness
from policies.decide import decide
from policies.errors import BadValueError
from policies.expectations import verdict_of
from policies.lint_commands import callable_commands
from policies.request import Allowed, Decision, Denied, SessionFacts
from policies.sinks import canonical_sink, each_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.commands import ValuePattern
    from policies.commands_block import ArgumentRule
    from policies.containment import Work
    from policies.facts import ArgumentFacts, CommandFacts
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from policies.request import ActionRequest, PathUse

_RANK: Final = {"deny": 0, "ask": 1, "allow": 2}
_SAMPLE: Final = {
    "address": "someone@example.com",
    "channel": "#example",
    "host": "example.com",
    "url": "https://example.com/",
}


@dataclass(frozen=True, slots=True)
class Witnessed:
    """An action that is decided more widely.

    Attributes:
        line: The action.
        before: How the old policy decides it, as in "denied (host)".
        after: How the new one does.
    """

    line: str
    before: str
    after: str


def action_widenings(
    old: Policy, new: Policy, commands: Sequence[CommandFacts], work: Work
) -> Iterator[Witnessed]:
    """Find actions that the new policy decides more widely than the old.

    Args:
        old: The policy as it was.
        new: The policy as it would be.
        commands: The commands that exist.
        work: What the whole comparison may still do.

    Yields:
        One action for each command, value, program, host, method and path that is new.
    """
    for facts in callable_commands(new, commands):
        tried: set[str] = set()
        for line, request in _candidates(facts, old, new, work):
            for task in (_naming(request), None):
                before, after = _decided(old, request, task), _decided(new, request, task)
                key = _what(before, request)
                if _RANK[verdict_of(after)] > _RANK[verdict_of(before)] and key not in tried:
                    tried.add(key)
                    yield Witnessed(line, _past(before), _past(after))
    yield from _more_calls(old, new, commands)


def path_witness(
    old: Policy, new: Policy, commands: Sequence[CommandFacts], use: PathUse, work: Work
) -> str | None:
    """Find an action on a path that the new policy decides more widely than the old.

    Args:
        old: The policy as it was.
        new: The policy as it would be.
        commands: The commands that exist.
        use: A path of the workspace, and how it is used; where it is to be read, writing shows it as well.
        work: What the whole comparison may still do.

    Returns:
        The action; None when no command that the new policy offers shows it.
    """
    roles = ("read", "write") if use.access == "read" else ("write",)
    for facts in sorted(callable_commands(new, commands), key=lambda facts: len(facts.arguments)):
        for argument in facts.arguments:
            if argument.role not in roles or not argument.positional:
                continue
            values = {name: found[:1] for name, found in _choices(facts, old, new, work).items()}
            line, request = _candidate(facts, {**values, argument.name: [use.path]})
            for task in (_naming(request), None):
                before, after = _decided(old, request, task), _decided(new, request, task)
                if _RANK[verdict_of(after)] > _RANK[verdict_of(before)]:
                    return line
    return None


def _decided(policy: Policy, request: ActionRequest, task: str | None) -> Decision:
    return decide(policy, SessionFacts(grant=policy.grant, headless=False, task=task), request)


def _naming(request: ActionRequest) -> str:
    # A task that names every destination, so that only the rules are compared.
    named = (value for sink in request.sinks for value in each_value(sink.value))
    return " ".join((*named, *(use.url for use in request.http)))


def _what(before: Decision, request: ActionRequest) -> str:
    codes = ",".join(reason.code for reason in before.reasons) if not isinstance(before, Allowed) else ""
    program = request.program or "" if "argument" in codes else ""
    hosts = ",".join(
        use.url.split("/")[2] + (use.method if "method" in codes else "") for use in request.http
    )
    return f"{codes} {program} {hosts if 'host' in codes or 'method' in codes else ''}"


def _past(decision: Decision) -> str:
    match decision:
        case Allowed():
            return "allowed"
        case Denied(reasons):
            return f"denied ({reasons[0].code})"
        case _:
            return "asked"


def _candidates(
    facts: CommandFacts, old: Policy, new: Policy, work: Work
) -> Iterator[tuple[str, ActionRequest]]:
    choices = _choices(facts, old, new, work)
    plain = {name: [values[0]] for name, values in choices.items()}
    yield _candidate(facts, plain)
    for name, values in choices.items():
        for value in values[1:]:
            yield _candidate(facts, {**plain, name: [value]})


def _choices(facts: CommandFacts, old: Policy, new: Policy, work: Work) -> dict[str, list[str]]:
    found = {argument.name: _values(argument, facts, old, new, work) for argument in facts.arguments}
    return {name: values for name, values in found.items() if values}


def _candidate(facts: CommandFacts, values: dict[str, list[str]]) -> tuple[str, ActionRequest]:
    words = [*facts.path]
    for argument in facts.arguments:
        for value in values.get(argument.name, ()):
            words += (
                [shlex.quote(value)] if argument.positional else [f"--{argument.name}", shlex.quote(value)]
            )
    return " ".join(words), request_from_values(facts, values)


def _values(argument: ArgumentFacts, facts: CommandFacts, old: Policy, new: Policy, work: Work) -> list[str]:
    match argument.role:
        case "read" | "write":
            return ["a.txt"]
        case "program":
            return _programs(old, new)
        case "url":
            return [*dict.fromkeys(_urls(facts, old, new, work))] or ["https://example.com/"]
        case "value":
            return [*_argument_values(argument, facts, old, new, work)]


def _programs(old: Policy, new: Policy) -> list[str]:
    if new.exec is None:
        return ["any-program"]
    if new.exec.programs.any_program:
        return ["any-program"]
    known = old.exec.programs.names if old.exec else ()
    return sorted(new.exec.programs.names, key=lambda name: name in known) or ["any-program"]


def _argument_values(
    argument: ArgumentFacts, facts: CommandFacts, old: Policy, new: Policy, work: Work
) -> Iterator[str]:
    older = [value_steps(text) for text in _named(argument, facts, old)]
    for rule in _naming_rules(facts, new):
        for pattern in (*rule.arguments.get(argument.name, ()), *rule.sink_pattern.get(argument.name, ())):
            found = witness(value_steps(pattern.text), older, work=work)
            yield _destination(argument, found or example(value_steps(pattern.text)), pattern)
    if argument.sink is not None:
        yield _SAMPLE.get(argument.sink, "example")
    elif argument.positional or any(argument.name in rule.arguments for rule in _rules(facts, old)):
        yield "x"


def _named(argument: ArgumentFacts, facts: CommandFacts, policy: Policy) -> Iterator[str]:
    for rule in _naming_rules(facts, policy):
        for bounds in (rule.arguments, rule.sink_pattern):
            yield from (pattern.text for pattern in bounds.get(argument.name, ()))


def _destination(argument: ArgumentFacts, found: str, pattern: ValuePattern) -> str:
    """Return a value that is one destination, where it has to be: `@example.com` is none."""
    if argument.sink is None:
        return found
    try:
        canonical_sink(argument.sink, found)
    except BadValueError:
        return pattern.text.replace("*", "x")
    return found


def _rules(facts: CommandFacts, policy: Policy) -> list[ArgumentRule]:
    return [rule for rule in policy.commands.rules if rule.command.matches(facts.path)]


def _naming_rules(facts: CommandFacts, policy: Policy) -> list[ArgumentRule]:
    """Return the rules that name values, with those that only fix them."""
    origins = (rule for rule in policy.commands.origins or () if rule.command.matches(facts.path))
    return [*_rules(facts, policy), *origins]


def _urls(facts: CommandFacts, old: Policy, new: Policy, work: Work) -> Iterator[str]:
    for deny in old.network.deny if old.network else ():
        yield f"https://{deny.text.replace('*', 'x')}/"
    for rule in new.network.allow if new.network else ():
        if (facts.method or "GET") not in rule.effective_methods:
            continue
        hosts = (
            [rule.host.text]
            if not rule.host.is_wild
            else [f"x.{rule.host.text[2:]}", f"x.y.{rule.host.text[2:]}"]
        )
        for host in hosts:
            for port in rule.ports:
                for path in _paths(rule, host, old, work):
                    yield f"{'http' if port == 80 else 'https'}://{_bracketed(host)}{_port(port)}{path}"


def _paths(rule: EgressRule, host: str, old: Policy, work: Work) -> Iterator[str]:
    known = [was for was in (old.network.allow if old.network else ()) if was.host.matches(host)]
    older = [url_steps("/**")] if any(was.paths is None for was in known) else []
    older += [url_steps(path.text) for was in known for path in was.paths or ()]
    if rule.paths is None:
        yield "/"
    for text in [path.text for path in rule.paths] if rule.paths is not None else ["/**"]:
        yield witness(url_steps(text), older, of="url", work=work) or example(url_steps(text)) or "/"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(port: int) -> str:
    return "" if port in {80, 443} else f":{port}"


def _more_calls(old: Policy, new: Policy, commands: Sequence[CommandFacts]) -> Iterator[Witnessed]:
    for facts in callable_commands(new, commands):
        before, after = _most_calls(facts, old), _most_calls(facts, new)
        if before is not None and (after is None or after > before):
            shown = "allowed without a bound" if after is None else f"allowed {after} times"
            yield Witnessed(facts.name, f"allowed {before} times", shown)


def _most_calls(facts: CommandFacts, policy: Policy) -> int | None:
    bounds = [int(rule.max_calls) for rule in _rules(facts, policy) if rule.max_calls is not None]
    return min(bounds) if bounds else None
