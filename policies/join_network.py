"""Join rules for hosts: the requests that both allow; read, asked for and bounded as either has it."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, Literal

from policies.errors import UnjoinableError
from policies.meeting import least, uncovered, union
from policies.network_block import EgressRule, NetworkBlock, NetworkLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.hosts import HostPattern
    from policies.urls import UrlPath

MOST_RULES: Final = 512  # before those that others cover are left out: each is compared with each
_OPEN: Final[tuple[None, Literal["writes"], Literal["all"]]] = (None, "writes", "all")


def meet_networks(first: NetworkBlock | None, second: NetworkBlock | None) -> NetworkBlock:
    """Keep the requests that both allow.

    Args:
        first: One block; None is one that allows no host.
        second: The other.

    Returns:
        The widest block within both.

    Raises:
        UnjoinableError: When they have more than 512 rules in common.
    """
    one, other = first or NetworkBlock(), second or NetworkBlock()
    return NetworkBlock(
        allow=_rules(one.allow, other.allow),
        deny=union(one.deny, other.deny),
        limits=least(NetworkLimits, one.limits, other.limits),
    )


def narrowed_network(own: NetworkBlock | None, base: NetworkBlock | None) -> NetworkBlock:
    """Keep the requests that a block and the one that it extends both allow.

    Args:
        own: The block; None is one that allows no host.
        base: The one that it extends.

    Returns:
        The widest block within both. Rules that are those of the base stay as they are: in them nothing is
        to meet, and each with each they would be many.

    Raises:
        UnjoinableError: When other rules than the base's have more than 512 in common with those.
    """
    if own is None or base is None or own.allow != base.allow:
        return meet_networks(own, base)
    limits = least(NetworkLimits, own.limits, base.limits)
    return NetworkBlock(allow=base.allow, deny=union(own.deny, base.deny), limits=limits)


def _rules(first: Sequence[EgressRule], second: Sequence[EgressRule]) -> tuple[EgressRule, ...]:
    met: list[EgressRule] = []
    for one, other in product(first, second):
        if (both := meet_rules(one, other)) is None:
            continue
        met.append(both)
        if len(met) > MOST_RULES:
            what = f"joined, the policies have more than {MOST_RULES} rules for hosts"
            raise UnjoinableError("network.allow", what, hint="name each host in few rules of either")
    # INVARIANT: a rule that asks, bounds more or has requests read holds beside one that does not: that one
    # never covers it.
    manners: dict[tuple[object, ...], list[JoinedRule]] = {}
    for rule in map(JoinedRule, met):
        manners.setdefault(rule.manner, []).append(rule)
    kept = (uncovered(rules, JoinedRule.covers) for rules in manners.values())
    return union(*([joined.rule for joined in rules] for rules in kept))


class JoinedRule:
    """A joined rule, with its lists of paths as sets: each rule is compared with each."""

    def __init__(self, rule: EgressRule) -> None:
        self.rule = rule
        self.ports = frozenset(rule.ports)
        self.methods = rule.effective_methods
        self.groups = _groups(rule)
        self.manner = (rule.ask, rule.protocol, rule.by_request, *dict(rule.limits).values())

    def covers(self, other: JoinedRule) -> bool:
        """Tell whether another joined rule of the same manner is what both of them allow.

        INVARIANT: the same as `meet_rules(other.rule, self.rule) == other.rule`, and no rule is made for it.
        """
        wide, narrow = self.rule, other.rule
        if wide.host.meet(narrow.host) != narrow.host:
            return False
        if not (other.ports <= self.ports and other.methods <= self.methods and self.groups <= other.groups):
            return False
        lost = narrow.credential is None and wide.credential is not None
        if narrow.methods is None and (wide.methods is not None or lost):
            return False
        return (
            narrow.credential in {None, wide.credential}
            and narrow.data in {None, wide.data}
            and narrow.private <= wide.private
            and narrow.sink_pattern <= wide.sink_pattern
            and _unfixed(narrow, wide, narrow.host) == narrow.unfixed
        )


def meet_rules(one: EgressRule, other: EgressRule) -> EgressRule | None:
    """Find what two egress rules both allow.

    Args:
        one: One rule.
        other: The other.

    Returns:
        The widest rule within both, or None when they have nothing in common.
    """
    host = one.host.meet(other.host)
    if host is None:
        return None
    ports = tuple(sorted(set(one.ports) & set(other.ports)))
    methods = one.effective_methods & other.effective_methods
    if not ports or not methods:
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
