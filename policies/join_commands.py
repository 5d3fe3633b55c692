"""Join what is said of commands: what both offer, the bounds of either, the destinations that both fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.commands_block import ArgumentRule, CommandsBlock
from policies.meeting import pairwise, union, widest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from policies.commands import CommandPattern, ValuePattern


def meet_commands(one: CommandsBlock, other: CommandsBlock) -> CommandsBlock:
    """Keep the commands that both offer, asked for as either asks, bounded as both bound.

    Args:
        one: One block; its rules' places win where both have a rule.
        other: The other.

    Returns:
        The widest block within both.
    """

    def meet(first: CommandPattern, second: CommandPattern) -> CommandPattern | None:
        return first.meet(second)

    offered, others_offer = (*one.ask, *one.allow), (*other.ask, *other.allow)
    asked = (*pairwise(one.ask, others_offer, meet), *pairwise(offered, other.ask, meet))
    return CommandsBlock(
        allow=pairwise(one.allow, other.allow, meet),
        ask=widest(asked, meet),
        deny=union(one.deny, other.deny),
        rules=tuple({_rule_key(rule): rule for rule in (*other.rules, *one.rules)}.values()),
        origins=_origins(one, other),
    )


def _origins(one: CommandsBlock, other: CommandsBlock) -> tuple[ArgumentRule, ...] | None:
    """Keep the destinations that both fix; a rule bounds whatever it joins, and fixes nothing for it."""
    if (
        one.origins is None
        and other.origins is None
        and set(map(_rule_key, one.rules)) == set(map(_rule_key, other.rules))
    ):
        return None
    return pairwise(_fixed(one), _fixed(other), _meet_origins)


def _fixed(block: CommandsBlock) -> Iterator[ArgumentRule]:
    for rule in block.fixing:
        for name, values in rule.arguments.items():
            for value in values:
                if not value.is_wild:
                    yield ArgumentRule(command=rule.command, arguments={name: (value,)})
        for name, values in rule.sink_pattern.items():
            for value in values:
                yield ArgumentRule(command=rule.command, sink_pattern={name: (value,)})


def _meet_origins(one: ArgumentRule, other: ArgumentRule) -> ArgumentRule | None:
    command = one.command.meet(other.command)
    if command is None or (one.arguments, one.sink_pattern) != (other.arguments, other.sink_pattern):
        return None
    return ArgumentRule(command=command, arguments=one.arguments, sink_pattern=one.sink_pattern)


def _rule_key(rule: ArgumentRule) -> tuple[object, ...]:
    def flat(
        items: Iterable[tuple[str, tuple[ValuePattern, ...]]],
    ) -> frozenset[tuple[str, frozenset[ValuePattern]]]:
        return frozenset((name, frozenset(values)) for name, values in items)

    return rule.command, flat(rule.arguments.items()), flat(rule.sink_pattern.items()), rule.max_calls
