"""Write the narrowest policy under which recorded actions would have been allowed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.commands import FINISH, CommandPattern, ValuePattern
from policies.commands_block import ArgumentRule, CommandsBlock
from policies.errors import BadValueError
from policies.exec_block import ExecBlock
from policies.files_block import FilesBlock
from policies.globs import Glob
from policies.grant import Grant
from policies.leaves import Programs
from policies.meeting import ACCESS, strictest
from policies.narrow_hosts import network_asked
from policies.narrow_paths import is_exact, path_bounds
from policies.policy import Policy
from policies.sinks import canonical_sink, each_value
from policies.units import Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.request import ActionRequest, SinkKind


def narrowest(
    allowed: Sequence[ActionRequest],
    *,
    name: str,
    approved: Sequence[ActionRequest] = (),
    under: Policy | None = None,
) -> Policy:
    """Write the narrowest policy for a recorded session.

    Args:
        allowed: The actions that were done without a question, in any order.
        name: What the policy is to be called.
        approved: The actions that a person approved, each for itself: those are asked again.
        under: The policy that the session ran under: its image, sizes, budget and credentials are kept, and
            what it hides, protects and says of the arguments and calls of these commands.

    Returns:
        A policy that allows each of them, or asks, and names nothing else: each command, program, host,
        method, path of a URL and destination by itself, with as many calls of commands that send as there
        were, and files by the folders that each command used. A path or destination with a star in it is left
        out, and a command of which nothing else is known: written down, it would mean others too.

    Raises:
        ForbiddenGrantError: When the actions together need all three capabilities.
    """
    requests = (*allowed, *approved)
    needed = frozenset[Capability]().union(*(_needs(request) for request in requests))
    grant = Grant.of(needed)
    drafted = Policy(
        version=1,
        name=name,
        grant=grant,
        files=_files(requests) if grant.holds(Capability.FILES) else None,
        exec=_exec(requests, grant) if grant.holds(Capability.EXEC) else None,
        network=network_asked(requests, under) if grant.holds(Capability.NETWORK) else None,
        commands=_commands(allowed, approved),
    )
    return drafted if under is None else _as_under(drafted, under)


def _as_under(drafted: Policy, under: Policy) -> Policy:
    fields: dict[str, object] = {"isolation": under.isolation, "budget": under.budget, "sinks": under.sinks}
    fields["commands"] = _commands_under(drafted.commands, under.commands)
    if drafted.files and under.files:
        fields["files"] = _files_under(drafted.files, under.files)
    if drafted.exec and under.exec:
        fields["exec"] = drafted.exec.model_copy(update={"image": under.exec.image})
    if drafted.network and under.network:
        fields["network"] = drafted.network.model_copy(update={"limits": under.network.limits})
    return drafted.replaced(**fields)


def _files_under(drafted: FilesBlock, under: FilesBlock) -> FilesBlock:
    visible = drafted.visible if under.hide_defaults else ()
    access = strictest(ACCESS, drafted.access, under.access)
    return under.model_copy(update={"access": access, "visible": visible})


def _commands_under(drafted: CommandsBlock, under: CommandsBlock) -> CommandsBlock:
    names = [tuple(pattern.text.split()) for pattern in (*drafted.allow, *drafted.ask)]
    kept = (rule for rule in under.rules if any(rule.command.matches(name) for name in names))
    return drafted.model_copy(update={"rules": (*drafted.rules, *kept)})


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


def _commands(allowed: Sequence[ActionRequest], approved: Sequence[ActionRequest]) -> CommandsBlock:
    requests = [request for request in (*allowed, *approved) if request.command != FINISH]
    calls: dict[str, list[ActionRequest]] = {}
    for request in requests:
        calls.setdefault(request.name, []).append(request)
    rules = {name: _rule(name, done) for name, done in calls.items()}
    # A command of which no call can be written down is left out: without its rule it would be open.
    names = [name for name, rule in rules.items() if rule is None or all(rule.arguments.values())]
    asked = {request.name for request in approved}
    return CommandsBlock(
        allow=tuple(CommandPattern(name) for name in names if name not in asked),
        ask=tuple(CommandPattern(name) for name in names if name in asked),
        rules=tuple(rule for name in names if (rule := rules[name]) is not None),
    )


def _rule(name: str, calls: Sequence[ActionRequest]) -> ArgumentRule | None:
    values: dict[str, dict[str, None]] = {}
    for sink in (sink for call in calls for sink in call.sinks):
        for value in each_value(sink.value):
            values.setdefault(sink.argument, {}).update(dict.fromkeys(_canonical(sink.kind, value)))
    sinks = {argument: tuple(map(ValuePattern, texts)) for argument, texts in values.items()}
    arguments = {**path_bounds(calls), **sinks}
    if not arguments:
        return None
    most = Count(len(calls)) if sinks else None  # who reads once more sends nothing more
    return ArgumentRule(command=CommandPattern.parse(name), arguments=arguments, max_calls=most)


def _canonical(kind: SinkKind, value: str) -> Iterator[str]:
    with suppress(BadValueError):
        canonical = canonical_sink(kind, value)
        if is_exact(canonical):
            yield canonical
