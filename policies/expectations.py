"""A policy's own tests: run them, say which rules none of them touches, refuse a policy that fails one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from policies.action_line import request_from_line
from policies.decide import decide
from policies.errors import ExpectationError, Problem, RuleAt, VocabularyError
from policies.request import Allowed, Decision, Denied, NeedsApproval, SessionFacts
from policies.source import parse_policy
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.facts import CommandFacts
    from policies.policy import Expectation, Policy
    from policies.source import Find, SourceText

Verdict = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one expectation.

    Attributes:
        line: The action.
        expected: What the policy's writer counts on.
        because: The code that a denial has to have; None is any.
        actual: What was decided; None when the action does not fit the commands that exist.
        codes: The codes of the decision's reasons.
        rules: The rules that the decision touched.
        message: The first reason, or what is wrong with the action.
        at: Where the expectation stands.
    """

    line: str
    expected: Verdict
    because: str | None
    actual: Verdict | None
    codes: tuple[str, ...] = ()
    rules: frozenset[RuleAt] = frozenset()
    message: str = ""
    at: RuleAt | None = None

    @property
    def is_met(self) -> bool:
        """Whether the decision is the expected one, for the expected reason."""
        return self.actual == self.expected and (self.because is None or self.because in self.codes)


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """One rule of a policy.

    Attributes:
        at: Where it is written.
        what: What it is, as in "command `files read`".
    """

    at: RuleAt
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationRun:
    """What came of all expectations of a policy.

    Attributes:
        policy: The policy's name.
        outcomes: One for each expectation, in order.
        rules: How many rules the policy has that are written in a file.
        untouched: Those that no expectation touched.
    """

    policy: str
    outcomes: tuple[Outcome, ...]
    rules: int
    untouched: tuple[WrittenRule, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The expectations that are not met."""
        return tuple(outcome for outcome in self.outcomes if not outcome.is_met)


def verdict_of(decision: Decision) -> Verdict:
    """Name a decision as a policy file does.

    Args:
        decision: The decision.

    Returns:
        `allow`, `ask` or `deny`.
    """
    match decision:
        case Allowed():
            return "allow"
        case NeedsApproval():
            return "ask"
        case Denied():
            return "deny"


def run_expectations(policy: Policy, commands: Sequence[CommandFacts]) -> ExpectationRun:
    """Decide on each expected action, as in a session with somebody to ask and a task that names nothing.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Returns:
        What came of it.
    """
    outcomes = tuple(_outcome(policy, item, commands, index) for index, item in enumerate(policy.expect))
    touched = {rule for outcome in outcomes for rule in outcome.rules}
    rules = rules_of(policy)
    untouched = (rule for rule in rules if rule.at not in touched)
    return ExpectationRun(
        policy=policy.name,
        outcomes=outcomes,
        rules=len(rules),
        untouched=tuple(sorted(untouched, key=lambda rule: (rule.at.origin, rule.at.line, rule.at.column))),
    )


def verify_expectations(policy: Policy, commands: Sequence[CommandFacts]) -> None:
    """Refuse a policy that fails an expectation of its own.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Raises:
        ExpectationError: With each expectation that is not met.
    """
    problems = [_problem(policy, outcome) for outcome in run_expectations(policy, commands).failures]
    if problems:
        raise ExpectationError(problems)


def load_policy(
    text: str, *, origin: str, commands: Sequence[CommandFacts], find: Find | None = None
) -> Policy:
    """Make a policy from its text and hold it to its expectations, as every start of a session must.

    Each policy that it extends is held to its own as well: one that fails an expectation does not load.

    Args:
        text: The whole file.
        origin: The file's name.
        commands: The commands that exist.
        find: Finds the text that a name in `extends` means.

    Returns:
        The resolved policy.

    Raises:
        PolicyFileError: With every problem of the file.
        ForbiddenGrantError: When the grant asks for all three capabilities.
        ExpectationError: When an expectation is not met.
    """
    bases: list[SourceText] = []

    def noted(name: str) -> SourceText | None:
        base = find(name) if find else None
        bases.extend([base] if base else [])
        return base

    policy = parse_policy(text, origin=origin, find=noted)
    for base in bases:
        verify_expectations(parse_policy(base.text, origin=base.origin, find=find), commands)
    verify_expectations(policy, commands)
    return policy


def rules_of(policy: Policy) -> tuple[WrittenRule, ...]:
    """List a policy's own rules.

    Args:
        policy: A resolved policy.

    Returns:
        Each command pattern, argument rule, host and glob that is written in a file.
    """
    commands, files, network = policy.commands, policy.files, policy.network
    found: list[tuple[str, str, RuleAt | None]] = []
    for key, patterns in (("allow", commands.allow), ("ask", commands.ask), ("deny", commands.deny)):
        found += [(f"commands.{key}", pattern.text, pattern.at) for pattern in patterns]
    found += [("commands.rules", rule.command.text, rule.at) for rule in commands.rules]
    if network is not None:
        found += [("network.allow", rule.host.text, rule.at) for rule in network.allow]
        found += [("network.deny", host.text, host.at) for host in network.deny]
    if files is not None:
        found += [("files.hide", glob.text, glob.at) for glob in files.hide]
        found += [("files.protect", glob.text, glob.at) for glob in files.protect]
    return tuple(WrittenRule(at, f"{quoted(text)} of `{key}`") for key, text, at in found if at is not None)


def _expected(item: Expectation) -> tuple[Verdict, str]:
    if item.allow is not None:
        return "allow", item.allow
    if item.ask is not None:
        return "ask", item.ask
    return "deny", item.deny or ""


def _outcome(policy: Policy, item: Expectation, commands: Sequence[CommandFacts], index: int) -> Outcome:
    expected, line = _expected(item)
    at = policy.place(f"expect.{index}.{expected}")
    try:
        request = request_from_line(line, commands)
    except VocabularyError as exc:
        mend = f"; hint: {exc.hint}" if exc.hint else ""
        return Outcome(
            line=line, expected=expected, because=item.because, actual=None, message=f"{exc}{mend}", at=at
        )
    decision = decide(policy, SessionFacts(grant=policy.grant, headless=False), request)
    reasons = () if isinstance(decision, Allowed) else decision.reasons
    touched = {reason.rule for reason in reasons} | {
        rule.at for rule in policy.commands.rules if rule.command.matches(request.command)
    }
    if isinstance(decision, Allowed | NeedsApproval):
        touched |= {rule.at for rule in decision.egress}
    if isinstance(decision, Allowed):
        touched.add(decision.rule)
    return Outcome(
        line=line,
        expected=expected,
        because=item.because,
        actual=verdict_of(decision),
        codes=tuple(reason.code for reason in reasons),
        rules=frozenset(rule for rule in touched if rule is not None),
        message=reasons[0].message if reasons else "",
        at=at,
    )


def _problem(policy: Policy, outcome: Outcome) -> Problem:
    at = outcome.at or policy.place("expect") or RuleAt(policy.name, 1, 1)
    if outcome.actual is None:
        return Problem(at, f"expectation {quoted(outcome.line)} cannot be read: {outcome.message}")
    wanted = f"`{outcome.expected}`" + (f" because of `{outcome.because}`" if outcome.because else "")
    codes = f" because of `{'`, `'.join(dict.fromkeys(outcome.codes))}`" if outcome.codes else ""
    why = f": {outcome.message}" if outcome.message else ""
    return Problem(
        at,
        f"expectation {quoted(outcome.line)} is not met; expected {wanted}, decided "
        f"`{outcome.actual}`{codes}{why}",
    )
