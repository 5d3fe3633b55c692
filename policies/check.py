"""Say what is lawful in a policy but wrong, unwise or without effect; `lawful` refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from policies.lint_commands import command_findings
from policies.lint_grants import grant_findings
from policies.lint_hosts import host_findings, neighbour_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.facts import CommandFacts
    from policies.finding import Finding
    from policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        findings: In the order of the file.
    """

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Literal["ok", "warnings", "errors"]:
        """The worst that was found."""
        if any(finding.is_error for finding in self.findings):
            return "errors"
        return "warnings" if self.findings else "ok"

    def fails(self, *, strict: bool) -> bool:
        """Tell whether the check fails.

        Args:
            strict: Whether warnings fail it too.

        Returns:
            True when something has to be changed.
        """
        return self.verdict == "errors" or (strict and self.verdict == "warnings")


def check(policy: Policy, commands: Sequence[CommandFacts]) -> Report:
    """Check one policy.

    Args:
        policy: A resolved policy.
        commands: The commands that exist.

    Returns:
        The report.
    """
    found = [
        *command_findings(policy, commands),
        *grant_findings(policy, commands),
        *host_findings(policy, commands),
    ]
    return Report(
        tuple(
            sorted(
                found,
                key=lambda item: (
                    item.at is None,
                    item.at and (item.at.origin, item.at.line, item.at.column),
                ),
            )
        )
    )


def check_neighbours(policies: Sequence[Policy]) -> Report:
    """Check policies of one folder against each other.

    Args:
        policies: Resolved policies.

    Returns:
        A report of the hosts to which one may write and from which another may read: lineage does not
        see those.
    """
    return Report(tuple(neighbour_findings(policies)))
