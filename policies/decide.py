"""Decide on one action: deny wins over ask, ask over allow, whatever the order. Pure; any error is a denial.

Each check below returns its reasons; none of them returns a verdict. Denials are collected from all of them,
so that an agent is told everything at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability, in_order
from policies.commands import FINISH
from policies.egress import decide_http
from policies.errors import BadValueError, PolicyError
from policies.globs import canonical_path
from policies.leaves import READING
from policies.request import (
    ActionRequest,
    Allowed,
    Decision,
    Denied,
    HttpUse,
    NeedsApproval,
    PathUse,
    Reason,
    SinkUse,
)
from policies.sinks import canonical_sink, each_value, named_in, url_named_in
from policies.urls import canonical_url
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.commands import CommandPattern, ValuePattern
    from policies.errors import RuleAt
    from policies.policy import ArgumentRule, EgressRule, FilesBlock, Policy
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
    except PolicyError as exc:
        return Denied((Reason("argument", str(exc), getattr(exc, "hint", "")),))
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
        *_paths(policy, request),
        *_http(policy, session, request, egress, asks),
        *_sinks(policy, session, request, asks),
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
        yield Reason("command", what, "", pattern.at)
    elif request.command == FINISH:
        return
    elif pattern := _first(commands.ask, request.command):
        what = f"command {quoted(request.name)} needs an approval by `{pattern.text}`"
        hint = "nobody can be asked: the session is headless" if session.headless else ""
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
        if not any(_fits(pattern, value, sink) for pattern in patterns):
            yield Reason(
                "argument",
                f"argument {quoted(name)} is {quoted(value)}; expected one of {expected}",
                "",
                rule.at,
            )


def _fits(pattern: ValuePattern, value: str, sink: SinkUse | None) -> bool:
    if sink is None:
        return pattern.matches(value)
    try:
        canonical = canonical_sink(sink.kind, value)
        if pattern.is_wild:
            return pattern.matches(canonical)
        return canonical_sink(sink.kind, pattern.text) == canonical
    except BadValueError:
        return False


def _calls(policy: Policy, session: SessionFacts, request: ActionRequest) -> Iterator[Reason]:
    for rule in policy.commands.rules:
        if rule.max_calls is None or not rule.command.matches(request.command):
            continue
        done = sum(
            count for name, count in session.calls.items() if rule.command.matches(tuple(name.split(" ")))
        )
        if done >= rule.max_calls:
            yield Reason(
                "budget",
                f"`{rule.command.text}` was called {done} times; the most is {int(rule.max_calls)}",
                "",
                rule.at,
            )


def _program(policy: Policy, request: ActionRequest) -> Iterator[Reason]:
    if request.program is None or policy.exec is None:
        return
    programs = policy.exec.programs
    if not programs.allows(request.program):
        yield Reason(
            "argument",
            f"program {quoted(request.program)} is none of {listed(programs.names)}",
            "`exec.programs` lists what `run` may name, whole",
            programs.at or policy.place("exec.programs") or policy.place("exec"),
        )


def _paths(policy: Policy, request: ActionRequest) -> Iterator[Reason]:
    if policy.files is None:
        return
    for use in request.paths:
        try:
            path = canonical_path(use.path)
        except BadValueError as exc:
            yield Reason("path", exc.message, exc.hint)
            continue
        yield from _path(policy, policy.files, use, path)


def _path(policy: Policy, files: FilesBlock, use: PathUse, path: str) -> Iterator[Reason]:
    if hidden := files.hidden_by(path):
        yield Reason("hidden", f"path {quoted(path)} is hidden by `{hidden.text}`", "", hidden.at)
        return
    if use.access == "read":
        return
    if files.access == "read":
        yield Reason(
            "path",
            f"path {quoted(path)} cannot be written: `access` is `read`",
            "",
            policy.place("files.access"),
        )
    elif path == ".":
        yield Reason(
            "protected", "the workspace itself cannot be replaced, moved or removed", "name what is in it"
        )
    elif guard := files.protected_by(path):
        yield Reason("protected", f"path {quoted(path)} is protected by `{guard.text}`", "", guard.at)


def _http(
    policy: Policy,
    session: SessionFacts,
    request: ActionRequest,
    egress: list[EgressRule],
    asks: list[Reason],
) -> Iterator[Reason]:
    for use in request.http:
        try:
            target = canonical_url(use.url)
        except BadValueError as exc:
            yield Reason("host", exc.message, exc.hint)
            continue
        found = decide_http(policy, use.method, target)
        if isinstance(found, Reason):
            yield found
            continue
        egress.append(found)
        if not _sinks_count(policy, session) or _fixes(found, use, target.path):
            continue
        with_path = use.method not in READING
        if not url_named_in(session.task, target, with_path=with_path):
            where = target.origin + (target.path if with_path else "")
            asks.append(_no_origin("the URL", where, found.at, session, "a rule without wildcards"))


def _fixes(rule: EgressRule, use: HttpUse, path: str) -> bool:
    if rule.sink_pattern:
        return True
    if rule.host.is_wild:
        return False
    fixed = any(not pattern.is_wild and pattern.matches(path) for pattern in rule.paths or ())
    return use.method in READING or fixed


def _sinks_count(policy: Policy, session: SessionFacts) -> bool:
    if policy.sinks == "strict":
        return True
    reads = session.grant.holds(Capability.FILES) or policy.reads_private
    return reads and session.grant.holds(Capability.NETWORK)


def _sinks(
    policy: Policy, session: SessionFacts, request: ActionRequest, asks: list[Reason]
) -> Iterator[Reason]:
    if not request.sinks or not _sinks_count(policy, session):
        return
    for sink in request.sinks:
        values = list(each_value(sink.value))
        if not values:
            yield Reason(
                "origin",
                f"argument {quoted(sink.argument)} decides where data goes, and is not given",
                "give it",
            )
        for value in values:
            try:
                canonical = canonical_sink(sink.kind, value)
            except BadValueError as exc:
                yield Reason("origin", f"argument {quoted(sink.argument)}: {exc.message}", exc.hint)
                continue
            if not _fixed(policy, request, sink, canonical) and not named_in(
                session.task, sink.kind, canonical
            ):
                mend = f"a rule for `{request.name}` that names it"
                asks.append(_no_origin(f"argument {quoted(sink.argument)}", value, None, session, mend))


def _fixed(policy: Policy, request: ActionRequest, sink: SinkUse, canonical: str) -> bool:
    for rule in policy.commands.rules:
        if not rule.command.matches(request.command):
            continue
        exact = (pattern for pattern in rule.arguments.get(sink.argument, ()) if not pattern.is_wild)
        candidates = (*exact, *rule.sink_pattern.get(sink.argument, ()))
        if any(_fits(pattern, canonical, sink) for pattern in candidates):
            return True
    return False


def _no_origin(what: str, value: str, rule: RuleAt | None, session: SessionFacts, mend: str) -> Reason:
    task = "the task" if session.task else "a task typed on a terminal or trusted"
    return Reason(
        "origin",
        f"{what} sends to {quoted(value)}, which neither a rule nor {task} names",
        f"it has to come from {mend}, from the task's own words, or from a person's approval",
        rule,
    )
