"""Where an action sends to: the hosts that it asks, and whether anybody but the model chose them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.egress import matching_rules, preferred
from policies.errors import BadValueError
from policies.request import Reason, SinkUse
from policies.sinks import canonical_sink, each_value, fits, named_in, url_named_in
from policies.urls import READING, canonical_url
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.errors import RuleAt
    from policies.network_block import EgressRule
    from policies.policy import Policy
    from policies.request import ActionRequest, SessionFacts


def http_reasons(
    policy: Policy,
    session: SessionFacts,
    request: ActionRequest,
    egress: list[EgressRule],
    asks: list[Reason],
) -> Iterator[Reason]:
    """Find the requests that an action may not make.

    Args:
        policy: The policy in force.
        session: What the session is.
        request: The action.
        egress: Takes the egress rule of each request.
        asks: Takes what a person may still approve, code `origin`.

    Yields:
        Reasons for a denial, codes `capability`, `host`, `method` and `path`.
    """
    for use in request.http:
        try:
            target = canonical_url(use.url, method=use.method)
        except BadValueError as exc:
            yield Reason("host", exc.message, exc.hint, policy.place("network.allow"))
            continue
        rules = matching_rules(policy, use.method, target)
        if isinstance(rules, Reason):
            yield rules
            continue
        found = preferred(rules)
        egress.append(found)
        if found.ask:
            asks.append(_approval(found, session))
        if not _sinks_count(policy, session) or any(rule.fixes(use.method, target.path) for rule in rules):
            continue
        with_path = use.method not in READING
        if not url_named_in(session.task, target, with_path=with_path):
            where = target.origin + (target.path if with_path else "")
            asks.append(_no_origin("the URL", where, found.at, session, "a rule without wildcards"))


def _approval(rule: EgressRule, session: SessionFacts) -> Reason:
    nobody = "nobody can be asked, because the session is headless: ask another host"
    hint = nobody if session.headless else "a person approves this very request, or not"
    return Reason("host", f"requests to `{rule.host.text}` need an approval by its rule", hint, rule.at)


def _sinks_count(policy: Policy, session: SessionFacts) -> bool:
    if policy.sinks == "strict":
        return True
    reads = session.grant.holds(Capability.FILES) or policy.reads_private
    return reads and session.grant.holds(Capability.NETWORK)


def sink_reasons(
    policy: Policy, session: SessionFacts, request: ActionRequest, asks: list[Reason]
) -> Iterator[Reason]:
    """Find the destinations that nobody but the model chose.

    Args:
        policy: The policy in force.
        session: What the session is; its task is an origin.
        request: The action.
        asks: Takes what a person may still approve, code `origin`.

    Yields:
        Reasons for a denial: what is missing, or is not one destination.
    """
    if not request.sinks or not _sinks_count(policy, session):
        return
    at = _naming_rule(policy, request)
    for sink in request.sinks:
        values = list(each_value(sink.value))
        if not values:
            yield Reason(
                "origin",
                f"argument {quoted(sink.argument)} decides where data goes, and is not given",
                "give it",
                at,
            )
        for value in values:
            try:
                canonical = canonical_sink(sink.kind, value)
            except BadValueError as exc:
                mend = exc.hint or "one value, whole, without characters that cannot be seen"
                yield Reason("origin", f"argument {quoted(sink.argument)}: {exc.message}", mend, at)
                continue
            if not _fixed(policy, request, sink, canonical) and not named_in(
                session.task, sink.kind, canonical
            ):
                mend = f"a rule for `{request.name}` that names it"
                asks.append(_no_origin(f"argument {quoted(sink.argument)}", value, at, session, mend))


def _fixed(policy: Policy, request: ActionRequest, sink: SinkUse, canonical: str) -> bool:
    for rule in policy.commands.fixing:
        if not rule.command.matches(request.command):
            continue
        exact = (pattern for pattern in rule.arguments.get(sink.argument, ()) if not pattern.is_wild)
        candidates = (*exact, *rule.sink_pattern.get(sink.argument, ()))
        if any(fits(pattern, canonical, sink) for pattern in candidates):
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


def _naming_rule(policy: Policy, request: ActionRequest) -> RuleAt | None:
    for pattern in (*policy.commands.ask, *policy.commands.allow):
        if pattern.matches(request.command):
            return pattern.at
    return None
