"""Write the narrowest policy under which recorded actions would have been allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.commands import FINISH, CommandPattern, ValuePattern
from policies.errors import BadValueError
from policies.globs import Glob
from policies.grant import Grant
from policies.hosts import HostPattern
from policies.leaves import Programs
from policies.policy import (
    ArgumentRule,
    CommandsBlock,
    EgressRule,
    ExecBlock,
    FilesBlock,
    NetworkBlock,
    Policy,
)
from policies.sinks import canonical_sink, each_value
from policies.units import Count
from policies.urls import LONGEST_PATTERN, Target, UrlPath, canonical_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.request import ActionRequest, SinkUse


def narrowest(requests: Sequence[ActionRequest], *, name: str) -> Policy:
    """Write the narrowest policy for a recorded session.

    Args:
        requests: The actions that were done, in any order.
        name: What the policy is to be called.

    Returns:
        A policy that allows each of them and names nothing else: each command, program, host, method, path
        and destination by itself, with as many calls of commands that send as there were.

    Raises:
        ForbiddenGrantError: When the actions together need all three capabilities.
    """
    needed = frozenset[Capability]().union(*(_needs(request) for request in requests))
    grant = Grant.of(needed)
    return Policy(
        version=1,
        name=name,
        grant=grant,
        files=_files(requests) if grant.holds(Capability.FILES) else None,
        exec=_exec(requests, grant) if grant.holds(Capability.EXEC) else None,
        network=_network(requests) if grant.holds(Capability.NETWORK) else None,
        commands=_commands(requests),
    )


def _needs(request: ActionRequest) -> frozenset[Capability]:
    used = {
        Capability.FILES: request.paths,
        Capability.NETWORK: request.http,
        Capability.EXEC: request.program,
    }
    return request.needs | {capability for capability, use in used.items() if use}


def _files(requests: Sequence[ActionRequest]) -> FilesBlock:
    writes = any(use.access == "write" for request in requests for use in request.paths)
    runs = any(request.program is not None for request in requests)
    own = FilesBlock()
    read = [use.path for request in requests for use in request.paths if own.hidden_by(use.path)]
    visible = tuple(Glob.parse(path) for path in dict.fromkeys(read) if _is_plain(path))
    return FilesBlock(access="stage" if writes or runs else "read", visible=visible)


def _is_plain(path: str) -> bool:
    try:
        return Glob.parse(path).text == path and not set(path) & set("*?")
    except BadValueError:
        return False


def _exec(requests: Sequence[ActionRequest], grant: Grant) -> ExecBlock:
    programs = dict.fromkeys(request.program for request in requests if request.program is not None)
    return ExecBlock(
        programs=Programs(names=tuple(programs)),
        contents="public" if grant is Grant.NETWORK_EXEC else None,
    )


def _network(requests: Sequence[ActionRequest]) -> NetworkBlock:
    asked: dict[tuple[str, int], list[tuple[str, Target]]] = {}
    for request in requests:
        for use in request.http:
            target = canonical_url(use.url)
            asked.setdefault((target.host, target.port), []).append((use.method, target))
    rules = []
    for (host, port), uses in asked.items():
        for method in dict.fromkeys(method for method, _ in uses):
            paths = dict.fromkeys(target.path for used, target in uses if used == method)
            rules.append(
                EgressRule(
                    host=HostPattern(host),
                    ports=(port,),
                    methods=(method,),
                    paths=tuple(dict.fromkeys(_pattern(path) for path in paths)),
                )
            )
    return NetworkBlock(allow=tuple(rules))


def _pattern(path: str) -> UrlPath:
    # A star in a recorded path can only be written as a pattern; what is too long, as what lies below a part.
    text = re.sub(r"\*+", "*", path)
    if len(text) > LONGEST_PATTERN:
        text = text[: LONGEST_PATTERN - 3].rpartition("/")[0] + "/**"
    return UrlPath(text)


def _commands(requests: Sequence[ActionRequest]) -> CommandsBlock:
    names = dict.fromkeys(request.name for request in requests if request.command != FINISH)
    rules = (_rule(name, [request for request in requests if request.name == name]) for name in names)
    return CommandsBlock(
        allow=tuple(CommandPattern.parse(name) for name in names),
        rules=tuple(rule for rule in rules if rule is not None),
    )


def _rule(name: str, calls: Sequence[ActionRequest]) -> ArgumentRule | None:
    values: dict[str, dict[str, None]] = {}
    for sink in (sink for call in calls for sink in call.sinks):
        values.setdefault(sink.argument, {}).update(dict.fromkeys(_canonical(sink)))
    arguments = {
        argument: tuple(ValuePattern.parse(text) for text in texts)
        for argument, texts in values.items()
        if texts
    }
    if not arguments:
        return None
    return ArgumentRule(command=CommandPattern.parse(name), arguments=arguments, max_calls=Count(len(calls)))


def _canonical(sink: SinkUse) -> list[str]:
    return [canonical_sink(sink.kind, value) for value in each_value(sink.value)]
