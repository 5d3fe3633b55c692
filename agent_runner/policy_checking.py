"""Check several policies, each by itself and against each other; one that is not valid ends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.errors import InvalidInputError
from agent_runner.policy_file import load_policy, policies_meant
from policies.check import Report, check, check_neighbours
from policies.errors import CeilingError, ForbiddenGrantError, PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.canonical import Plain
    from policies.facts import CommandFacts
    from policies.finding import Finding
    from policies.policy import Policy

NEIGHBOURS: Final = "together"
CLEAN: Final = Report(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of one policy came to, or of all of them together."""

    name: str
    """As it was named; `together` for what two policies make possible."""
    policy: Policy | None = None
    """None when it is not valid, and for all of them together."""
    report: Report = CLEAN
    error: PolicyError | InvalidInputError | None = None

    @property
    def summary(self) -> str:
        """Say in a word or two what came of it."""
        if self.error is not None:
            return "refused" if isinstance(self.error, ForbiddenGrantError | CeilingError) else "not valid"
        grant = f"grant {self.policy.grant.label}, " if self.policy else ""
        return f"{grant}{self.report.verdict}"

    def lines(self) -> list[str]:
        """Return what is wrong, a line for each."""
        if isinstance(self.error, PolicyError):
            return str(self.error).splitlines()
        if self.error is not None:
            return [str(self.error) + (f"; hint: {self.error.hint}" if self.error.hint else "")]
        return [str(finding) for finding in self.report.findings]

    def as_plain(self) -> dict[str, Plain]:
        """Return the same as plain values."""
        return {
            "policy": self.name,
            "verdict": self.report.verdict if self.error is None else "invalid",
            "error": None if self.error is None else str(self.error),
            "findings": [_plain(finding) for finding in self.report.findings],
        }


def _plain(finding: Finding) -> dict[str, Plain]:
    at = finding.at
    return {
        "topic": finding.topic,
        "severity": "error" if finding.is_error else "warning",
        "message": finding.message,
        "hint": finding.hint,
        "at": None if at is None else {"file": at.origin, "line": at.line, "column": at.column},
    }


def check_all(references: list[str], commands: Sequence[CommandFacts]) -> list[Checked]:
    """Check each policy, and those that are valid against each other.

    Args:
        references: Files, folders, or names of the library.
        commands: The commands that exist.
    """
    checked = [_one(reference, commands) for reference in policies_meant(references)]
    valid = [one.policy for one in checked if one.policy is not None]
    if len(valid) > 1:
        checked.append(Checked(name=NEIGHBOURS, report=check_neighbours(valid)))
    return checked


def _one(reference: str, commands: Sequence[CommandFacts]) -> Checked:
    try:
        policy = load_policy(reference).policy
    except (InvalidInputError, PolicyError) as error:
        return Checked(name=reference, error=error)
    return Checked(name=reference, policy=policy, report=check(policy, commands))


def verdict_of(checked: Sequence[Checked], *, strict: bool) -> Literal[0, 1, 2, 3]:
    """Return the exit code: 3 when one is refused, 2 when one is not valid, 1 when a check fails."""
    errors = [one.error for one in checked if one.error is not None]
    if any(isinstance(error, ForbiddenGrantError | CeilingError) for error in errors):
        return 3
    if errors:
        return 2
    return 1 if any(one.report.fails(strict=strict) for one in checked) else 0
