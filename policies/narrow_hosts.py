"""Name the hosts, methods and paths of recorded requests: each by itself, as long as a rule holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from policies.egress import decide_http, egress_rules
from policies.faults import MOST_ENTRIES
from policies.hosts import HostPattern
from policies.network_block import EgressRule, NetworkBlock
from policies.urls import LONGEST_PATTERN, SLASH, Target, UrlPath, canonical_url, readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.policy import Policy
    from policies.request import ActionRequest

_MANNER: Final = ("credential", "data", "private", "ask", "limits")
_BELOW: Final = "/**"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked of one host with one method, under one rule.

    Attributes:
        rule: The rule of the draft, without its paths.
        within: The lists of paths of the rule that allowed it, of each of which one has to match.
        alone: Whether every rule for such requests had the same manner.
        paths: The paths as patterns, in the order of the requests.
    """

    rule: EgressRule
    within: tuple[tuple[UrlPath, ...], ...]
    alone: bool
    paths: dict[UrlPath, None] = field(default_factory=dict)

    def drafted(self) -> EgressRule:
        """Write the rule. Whatever stands for more than what was asked stays within what was allowed."""
        paths = tuple(self.paths)
        if len(paths) > MOST_ENTRIES and self.alone:
            paths = _folders(paths)
        also = self.within if any(path.is_wild for path in paths) else ()
        return self.rule.model_copy(update={"paths": paths, "also": also})


def network_asked(requests: Sequence[ActionRequest], under: Policy | None) -> NetworkBlock:
    """Write the rules for the hosts of recorded requests.

    Args:
        requests: The actions that were done.
        under: The policy that they were done under: each path keeps the manner of the rule that it was asked
            under, and lends it to no other path.

    Returns:
        A rule for each host, port and method, and rule that it was allowed by. More than 256 paths of one
        are named by their folders, or, where those are as many, not at all; unless rules of another manner
        lie beside it: those would be lent what they have not.
    """
    asked: dict[tuple[object, ...], _Asked] = {}
    for use in (use for request in requests for use in request.http):
        target = canonical_url(use.url, method=use.method)
        was = decide_http(under, use.method, target) if under is not None else None
        allowed = was if isinstance(was, EgressRule) else None
        within = allowed.path_groups if allowed else ()
        manner = _manner(allowed)
        key = (target.host, target.port, use.method, within, *map(str, manner.values()))
        if key not in asked:
            host, ports, methods = HostPattern(target.host), (target.port,), (use.method,)
            rule = EgressRule(host=host, ports=ports, methods=methods, **manner)  # type: ignore[arg-type]  # fields of the same model
            asked[key] = _Asked(rule, within, _is_alone(under, use.method, target))
        asked[key].paths.update(
            dict.fromkeys(_pattern(path.replace(SLASH, "*")) for path in readings(target.path))
        )
    return NetworkBlock(allow=tuple(one.drafted() for one in asked.values()))


def _manner(rule: EgressRule | None) -> dict[str, object]:
    return {name: getattr(rule, name) for name in _MANNER} if rule is not None else {}


def _is_alone(under: Policy | None, method: str, target: Target) -> bool:
    rules = egress_rules(under, target.host, target.port) if under is not None else ()
    manners = [_manner(rule) for rule in rules if method in rule.effective_methods]
    return all(manner == manners[0] for manner in manners)


def _pattern(path: str) -> UrlPath:
    # A star in a recorded path can only be written as a pattern; what is too long, as what lies below a part.
    text = re.sub(r"\*+", "*", path)
    if len(text) > LONGEST_PATTERN:
        text = text[: LONGEST_PATTERN - len(_BELOW)].rpartition("/")[0] + _BELOW
    return UrlPath(text)


def _folders(paths: Iterable[UrlPath]) -> tuple[UrlPath, ...]:
    found = dict.fromkeys(
        path if path.text.endswith(_BELOW) else _pattern(f"{path.text.rpartition('/')[0]}/*")
        for path in paths
    )
    return tuple(found) if len(found) <= MOST_ENTRIES else (UrlPath(_BELOW),)
