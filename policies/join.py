"""Join policies: what both allow, and nothing else. Joining is associative, commutative and never widens.

Allowlists are sets of patterns in which every two have at most one widest common pattern. A joined list holds
the common patterns of each pair, without those that another of them covers: so the result does not depend on
how, or in what order, policies are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeVar

from policies.capability import Capability
from policies.policy import (
    ArgumentRule,
    Budget,
    CommandsBlock,
    EgressRule,
    ExecBlock,
    FileLimits,
    FilesBlock,
    Isolation,
    NetworkBlock,
    NetworkLimits,
    Policy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic import BaseModel

    from policies.commands import CommandPattern, ValuePattern
    from policies.globs import Glob
    from policies.hosts import HostPattern
    from policies.leaves import RuntimeName
    from policies.urls import UrlPath

Item = TypeVar("Item")
Model = TypeVar("Model", bound="BaseModel")
ACCESS: Final[tuple[Literal["read", "stage", "direct"], ...]] = ("read", "stage", "direct")
_OPEN: Final[tuple[None, Literal["writes"], Literal["all"]]] = (None, "writes", "all")
RUNTIMES: Final[tuple[RuntimeName, ...]] = ("gvisor", "runc", "default")


class ImageConflictError(ValueError):
    """Raised when two policies name different images, so that no session could satisfy both."""


def join(first: Policy, second: Policy) -> Policy:
    """Join two resolved policies.

    Args:
        first: One policy; its name and places win where both have one.
        second: The other.

    Returns:
        The widest policy that is within both.

    Raises:
        ImageConflictError: When both run programs, from different images.
    """
    grant = first.grant.meet(second.grant)
    joined = Policy(
        version=1,
        name=first.name,
        description=first.description,
        grant=grant,
        files=_files(first.files, second.files) if grant.holds(Capability.FILES) else None,
        exec=_exec(first.exec, second.exec) if grant.holds(Capability.EXEC) else None,
        network=_network(first.network, second.network) if grant.holds(Capability.NETWORK) else None,
        commands=_commands(first.commands, second.commands),
        sinks="strict" if "strict" in {first.sinks, second.sinks} else "default",
        isolation=_isolation(first.isolation, second.isolation),
        budget=least(Budget, first.budget, second.budget),
        outputs=_outputs(first, second),
    )
    if not joined.counts_sinks and (first.counts_sinks or second.counts_sinks):
        joined = joined.replaced(sinks="strict")  # what one of them bounds stays bounded
    return joined.with_origin(
        places={**second.places, **first.places}, closure={**dict(second.closure), **dict(first.closure)}
    )


def _outputs(first: Policy, second: Policy) -> str | None:
    """Return the folder that both keep at the end; what only one keeps, the other's user never agreed to."""
    return first.outputs if first.outputs == second.outputs else None


def least(model: type[Model], first: Model, second: Model) -> Model:
    """Take the smaller of each number of two blocks.

    Args:
        model: The blocks' type, of numbers only.
        first: One block.
        second: The other.

    Returns:
        A block of the smaller numbers.
    """
    return model(**{name: min(getattr(first, name), getattr(second, name)) for name in model.model_fields})


def pairwise(
    first: Iterable[Item], second: Iterable[Item], meet: Callable[[Item, Item], Item | None]
) -> tuple[Item, ...]:
    """Keep what two lists have in common.

    Args:
        first: One list.
        second: The other.
        meet: The widest common pattern of two, or None.

    Returns:
        The common patterns, without those that another one covers, each once.
    """
    others = tuple(second)
    return widest((both for one in first for other in others if (both := meet(one, other)) is not None), meet)


def widest(items: Iterable[Item], meet: Callable[[Item, Item], Item | None]) -> tuple[Item, ...]:
    """Leave out what another item covers.

    Args:
        items: Patterns.
        meet: The widest common pattern of two, or None.

    Returns:
        The patterns that none of the others covers, each once.
    """
    kept: list[Item] = []
    for item in items:
        if any(meet(item, other) == item for other in kept):
            continue
        kept = [other for other in kept if meet(item, other) != other]
        kept.append(item)
    return tuple(kept)


def union(*lists: Iterable[Item]) -> tuple[Item, ...]:
    """Keep everything that any list has, each once.

    Args:
        *lists: The lists.

    Returns:
        The items in the order of their first appearance.
    """
    return tuple(dict.fromkeys(item for items in lists for item in items))


def _files(first: FilesBlock | None, second: FilesBlock | None) -> FilesBlock:
    one, other = first or FilesBlock(), second or FilesBlock()
    return FilesBlock(
        access=strictest(ACCESS, one.access, other.access),
        hide=union(one.hide, other.hide),
        hide_defaults=one.hide_defaults or other.hide_defaults,
        visible=_visible(one, other),
        protect=union(one.protect, other.protect),
        protect_defaults=one.protect_defaults or other.protect_defaults,
        limits=least(FileLimits, one.limits, other.limits),
    )


def _visible(one: FilesBlock, other: FilesBlock) -> tuple[Glob, ...]:
    if not (one.hide_defaults and other.hide_defaults):
        return (one if one.hide_defaults else other).visible
    return tuple(glob for glob in one.visible if glob in other.visible)


def strictest(order: Sequence[Item], one: Item, other: Item) -> Item:
    """Take the stricter of two words.

    Args:
        order: The words, the strictest first.
        one: One of them.
        other: Another, or the same.

    Returns:
        The one that comes first.
    """
    return min(one, other, key=order.index)


def _exec(first: ExecBlock | None, second: ExecBlock | None) -> ExecBlock:
    one, other = first or ExecBlock(), second or ExecBlock()
    if one.image != other.image:
        raise ImageConflictError(one.image, other.image)
    return ExecBlock(
        image=one.image,
        contents=one.contents if one.contents == other.contents else None,
        programs=one.programs.meet(other.programs),
    )


def _network(first: NetworkBlock | None, second: NetworkBlock | None) -> NetworkBlock:
    one, other = first or NetworkBlock(), second or NetworkBlock()
    return NetworkBlock(
        allow=_rules(one.allow, other.allow),
        deny=union(one.deny, other.deny),
        limits=least(NetworkLimits, one.limits, other.limits),
    )


def _rules(first: Sequence[EgressRule], second: Sequence[EgressRule]) -> tuple[EgressRule, ...]:
    met = [both for one in first for other in second if (both := meet_rules(one, other)) is not None]
    # INVARIANT: a rule that asks, bounds more or has requests read holds beside one that does not: that one
    # never covers it.
    manners: dict[tuple[object, ...], list[EgressRule]] = {}
    for rule in met:
        manner = (rule.ask, rule.protocol, rule.by_request, *dict(rule.limits).values())
        manners.setdefault(manner, []).append(rule)
    return union(*(widest(rules, meet_rules) for rules in manners.values()))


def meet_rules(one: EgressRule, other: EgressRule) -> EgressRule | None:
    """Find what two egress rules both allow.

    Args:
        one: One rule.
        other: The other.

    Returns:
        The widest rule within both, or None when they have nothing in common.
    """
    host = one.host.meet(other.host)
    ports = tuple(sorted(set(one.ports) & set(other.ports)))
    methods = one.effective_methods & other.effective_methods
    if host is None or not ports or not methods:
        return None
    credential = one.credential if one.credential == other.credential else None
    lost = credential is None and (one.credential or other.credential)  # requests are read all the same
    read = one.methods is not None or other.methods is not None or lost
    groups = sorted(_groups(one) | _groups(other), key=lambda group: sorted(path.text for path in group))
    lists = [tuple(sorted(group, key=lambda path: path.text)) for group in groups]
    return EgressRule(
        host=host,
        ports=ports,
        methods=tuple(sorted(methods)) if read else None,
        paths=lists[0] if lists else None,
        also=tuple(lists[1:]),
        credential=credential,
        data=one.data if one.data == other.data else None,
        private=one.private and other.private,
        sink_pattern=one.sink_pattern and other.sink_pattern,
        protocol="tcp" if one.protocol == other.protocol == "tcp" else "web",
        ask=one.ask or other.ask,
        limits=one.limits.meet(other.limits),
        unfixed=_unfixed(one, other, host),
    )


def _unfixed(one: EgressRule, other: EgressRule, host: HostPattern) -> Literal["writes", "all"] | None:
    """Say what a joined rule does not fix although its host and paths would: one of the two does not."""
    found = max(_open_to(one), _open_to(other))
    has_paths = one.paths is not None or other.paths is not None
    plain = 2 if host.is_wild else 0 if has_paths or one.also or other.also else 1
    return _OPEN[found] if found > plain else None


def _open_to(rule: EgressRule) -> int:
    if rule.sink_pattern:
        return 0
    if rule.host.is_wild or rule.unfixed == "all":
        return 2
    return 1 if not rule.path_groups or rule.unfixed == "writes" else 0


def _groups(rule: EgressRule) -> set[frozenset[UrlPath]]:
    return {frozenset(group) for group in ((rule.paths,) if rule.paths is not None else ()) + rule.also}


def _commands(one: CommandsBlock, other: CommandsBlock) -> CommandsBlock:
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


def _isolation(one: Isolation, other: Isolation) -> Isolation:
    return Isolation(
        runtime=strictest(RUNTIMES, one.runtime, other.runtime),
        memory=min(one.memory, other.memory),
        cpus=min(one.cpus, other.cpus),
        processes=min(one.processes, other.processes),
        scratch=min(one.scratch, other.scratch),
    )
