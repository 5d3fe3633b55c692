"""Findings about commands, their arguments and the sinks among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability, in_order
from policies.commands import FINISH
from policies.finding import Finding
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.commands import CommandPattern, ValuePattern
    from policies.commands_block import ArgumentRule, CommandsBlock
    from policies.facts import ArgumentFacts, CommandFacts
    from policies.policy import Policy


def command_findings(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    """Find what is wrong with commands.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Yields:
        The findings.
    """
    yield from _none(policy, commands)
    yield from _unknown(policy, commands)
    yield from _shadowed(policy)
    yield from _rules(policy, commands)
    yield from _not_binding(policy, commands)
    yield from _open_sinks(policy, commands)


def callable_commands(policy: Policy, commands: Sequence[CommandFacts]) -> tuple[CommandFacts, ...]:
    """List the commands that a session under a policy can call, perhaps after an approval.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Returns:
        The commands that are allowed or asked, not denied, and within the grant.
    """
    return tuple(facts for facts in commands if _callable(policy, facts))


def _callable(policy: Policy, facts: CommandFacts) -> bool:
    block = policy.commands
    if not facts.needs <= policy.grant.capabilities or _writes_in_vain(policy, facts):
        return False
    if any(pattern.matches(facts.path) for pattern in block.deny):
        return False
    named = any(pattern.matches(facts.path) for pattern in (*block.allow, *block.ask))
    return named or facts.path == FINISH


def _writes_in_vain(policy: Policy, facts: CommandFacts) -> bool:
    """Tell whether a command always writes, where nothing can be written."""
    only_read = policy.files is not None and policy.files.access == "read"
    return only_read and any(argument.role == "write" and argument.positional for argument in facts.arguments)


def _none(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    if policy.commands.allow or policy.commands.ask:
        return
    fitting = [facts for facts in commands if facts.needs and facts.needs <= policy.grant.capabilities]
    groups = dict.fromkeys(f"{facts.path[0]} *" if len(facts.path) > 1 else facts.name for facts in fitting)
    names = ", ".join(f'"{group}"' for group in groups)
    yield Finding(
        "no-commands",
        "no command is allowed: a session could only call `finish`",
        f"add `commands: {{allow: [{names}]}}`, or fewer of them",
        policy.place("commands"),
    )


def _unknown(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    block = policy.commands
    known = [facts.name for facts in commands]
    for pattern in (*block.allow, *block.ask, *block.deny, *(rule.command for rule in block.rules)):
        meant = [facts for facts in commands if pattern.matches(facts.path)]
        if not meant:
            near = nearest(
                pattern.text, [*known, *(f"{facts.path[0]} *" for facts in commands if len(facts.path) > 1)]
            )
            hint = f"did you mean `{near}`?" if near else f"commands are {listed(known[:12])}"
            yield Finding(
                "unknown-command", f"command {quoted(pattern.text)} does not exist", hint, pattern.at
            )
        elif pattern in block.allow and not any(facts.needs <= policy.grant.capabilities for facts in meant):
            missing = listed(in_order(meant[0].needs - policy.grant.capabilities))
            what = f"command `{pattern.text}` is allowed, but needs {missing}, which the grant does not hold"
            yield Finding("never-usable", what, "remove it", pattern.at)
        elif pattern in (*block.allow, *block.ask) and all(_writes_in_vain(policy, facts) for facts in meant):
            what = f"command `{pattern.text}` writes, and `access` is `read`: every call of it is denied"
            yield Finding("never-usable", what, "remove it, or write `access: stage`", pattern.at)


def _shadowed(policy: Policy) -> Iterator[Finding]:
    block = policy.commands
    for patterns, stronger, word in (
        (block.allow, block.deny, "denied"),
        (block.allow, block.ask, "asked"),
        (block.ask, block.deny, "denied"),
    ):
        for pattern in patterns:
            if over := next((other for other in stronger if pattern.meet(other) == pattern), None):
                what = f"`{pattern.text}` has no effect: `{over.text}` is {word} on line {_line(over)}"
                yield Finding("shadowed", what, "remove one of the two", pattern.at)
    for index, pattern in enumerate(block.allow):
        others = (*block.allow[:index], *(other for other in block.allow[index + 1 :] if other != pattern))
        if over := next((other for other in others if pattern.meet(other) == pattern), None):
            what = f"`{pattern.text}` adds nothing to `{over.text}` on line {_line(over)}"
            yield Finding("shadowed", what, "remove it", pattern.at)


def _line(pattern: CommandPattern) -> str:
    return str(pattern.at.line) if pattern.at else "?"


def _rules(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    can_call = callable_commands(policy, commands)
    for rule in policy.commands.rules:
        if any(rule.command.matches(facts.path) for facts in commands) and not any(
            rule.command.matches(facts.path) for facts in can_call
        ):
            what = f"the rule for `{rule.command.text}` bounds a command that nobody can call"
            yield Finding("unused-rule", what, "remove it, or allow the command", rule.at)
        yield from _rule_arguments(rule, commands)
    yield from _origins(policy.commands)


def _rule_arguments(rule: ArgumentRule, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    meant = [facts for facts in commands if rule.command.matches(facts.path)]
    known = sorted({argument.name for facts in meant for argument in facts.arguments})
    for name in (*rule.arguments, *rule.sink_pattern):
        if meant and name not in known:
            near = nearest(name, known)
            hint = f"did you mean `{near}`?" if near else f"it has {listed(known)}"
            what = f"command `{rule.command.text}` has no argument {quoted(name)}"
            yield Finding("unknown-argument", what, hint, rule.at)
    for name, patterns in rule.sink_pattern.items():
        shown = listed(pattern.text for pattern in patterns)
        what = f"argument `{name}` of `{rule.command.text}` may send to whatever matches {shown}"
        yield Finding("sink-pattern", what, "name each destination in `arguments:` instead", rule.at)


def _origins(block: CommandsBlock) -> Iterator[Finding]:
    """Find destinations that are fixed beside the rules; joining leaves none."""
    named = {item for rule in block.rules for item in _named_by(rule)}
    for rule in block.origins or ():
        for kind, name, pattern in _named_by(rule):
            if (kind, name, pattern) not in named:
                what = f"argument `{name}` of `{rule.command.text}` may send to {quoted(pattern.text)}"
                yield Finding("sink-pattern", f"{what}, which no rule fixes", "name it in `rules:`", rule.at)


def _named_by(rule: ArgumentRule) -> Iterator[tuple[str, str, ValuePattern]]:
    for kind, values in (("arguments", rule.arguments), ("sink_pattern", rule.sink_pattern)):
        for name, patterns in values.items():
            for pattern in patterns:
                yield kind, name, pattern


def _not_binding(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    if not any(Capability.EXEC in facts.needs for facts in callable_commands(policy, commands)):
        return
    others = [facts for facts in commands if facts.needs and Capability.EXEC not in facts.needs]
    hint = "with `exec` the stage and the egress gate bound a session, not rules of commands"
    for rule in policy.commands.rules:
        if any(
            rule.command.matches(facts.path) and facts.needs <= policy.grant.capabilities for facts in others
        ):
            what = f"the rule for `{rule.command.text}` does not bind the programs that `run` may start"
            yield Finding("not-binding", what, hint, rule.at)
    for word, patterns in (("ask", policy.commands.ask), ("deny", policy.commands.deny)):
        for pattern in patterns:
            if any(
                pattern.matches(facts.path) and facts.needs <= policy.grant.capabilities for facts in others
            ):
                what = f"`{word}` of `{pattern.text}` does not bind the programs that `run` may start"
                yield Finding("not-binding", what, hint, pattern.at)


def open_sinks(
    policy: Policy, commands: Sequence[CommandFacts]
) -> Iterator[tuple[CommandFacts, ArgumentFacts]]:
    """Find the sinks that no rule fixes.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Yields:
        Each callable command with each of its arguments that may name any destination.
    """
    for facts in callable_commands(policy, commands):
        for argument in facts.sinks:
            if not any(_fixes(rule, facts, argument) for rule in policy.commands.fixing):
                yield facts, argument


def _fixes(rule: ArgumentRule, facts: CommandFacts, argument: ArgumentFacts) -> bool:
    if not rule.command.matches(facts.path):
        return False
    values = rule.arguments.get(argument.name, ())
    return argument.name in rule.sink_pattern or (bool(values) and not any(value.is_wild for value in values))


def _open_sinks(policy: Policy, commands: Sequence[CommandFacts]) -> Iterator[Finding]:
    asked = policy.commands.ask
    for facts, argument in open_sinks(policy, commands):
        if any(pattern.matches(facts.path) for pattern in asked):
            continue  # a person sees each destination
        what = f"no rule fixes where `{facts.name}` sends to: `{argument.name}`"
        hint = (
            f"add `- {{command: {facts.name}, arguments: {{{argument.name}: [...]}}}}`, or put it under `ask`"
        )
        at = next((item.at for item in policy.commands.allow if item.matches(facts.path)), None)
        yield Finding("open-sink", what, hint, at)
