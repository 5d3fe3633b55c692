"""What can go wrong in this package, split by who must act; decisions are values and are not errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.wording import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.capability import Capability


@dataclass(frozen=True, slots=True)
class RuleAt:
    """Where a rule was written.

    Attributes:
        origin: The file's name as the person gave it, or `library/NAME`.
        line: The line, counted from 1.
        column: The column, counted from 1.
    """

    origin: str
    line: int
    column: int

    def __str__(self) -> str:
        """Write the place as editors and terminals link it."""
        return f"{escaped(self.origin)}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes:
        at: Where it is.
        message: What is wrong and what was expected.
        hint: How to mend it; empty when the message says it already.
    """

    at: RuleAt
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Write the problem as one line."""
        mend = f"; hint: {self.hint}" if self.hint else ""
        return f"{self.at}: {self.message}{mend}"


class PolicyError(Exception):
    """Raised when a policy cannot be used; the root of this package's errors."""


class PolicyFileError(PolicyError):
    """Raised when a file is not valid: its writer must act (exit 2).

    Attributes:
        problems: Every problem that was found, in the order of the file; never empty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda found: (found.at.line, found.at.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ForbiddenGrantError(PolicyError):
    """Raised when all three capabilities are asked for: no such grant exists (exit 3).

    Attributes:
        capabilities: What was asked for.
        at: Where it was asked for, if in a file.
        splits: The three lawful ways to split the work, one sentence each.
    """

    def __init__(
        self, capabilities: frozenset[Capability], *, splits: tuple[str, ...], at: RuleAt | None = None
    ) -> None:
        self.capabilities = capabilities
        self.splits = splits
        self.at = at
        place = f"{at}: " if at else ""
        lines = "".join(f"\n  {number}. {split}" for number, split in enumerate(splits, 1))
        super().__init__(
            f"{place}a session holds at most two of `files`, `network`, `exec`; all three were asked for; "
            f"hint: split the work in one of these ways:{lines}"
        )


class CeilingError(PolicyError):
    """Raised when a policy's grant, image or programs are beyond the operator's ceiling (exit 3).

    Attributes:
        wanted: What was asked for, as it is written.
        at: The ceiling's rule.
    """

    def __init__(self, wanted: str, *, at: RuleAt | None) -> None:
        self.wanted = wanted
        self.at = at
        place = f" at {at}" if at else ""
        super().__init__(
            f"{wanted} is beyond the operator's ceiling{place}; "
            "hint: use a narrower policy, or ask the operator"
        )


class UntrustedPolicyError(PolicyError):
    """Raised when a policy from inside a workspace is not trusted as it stands (exit 3).

    Attributes:
        origin: The policy file.
        digest: The closure's digest as it stands.
        changed: The origins that differ from what was trusted; empty when nothing was ever trusted.
    """

    def __init__(self, origin: str, *, digest: str, changed: tuple[str, ...]) -> None:
        self.origin = origin
        self.digest = digest
        self.changed = changed
        why = f"changed since it was trusted (`{'`, `'.join(changed)}`)" if changed else "is not trusted"
        super().__init__(f"policy `{origin}` {why}; hint: read it, then `pairlock policy trust {origin}`")


class ExpectationError(PolicyError):
    """Raised when a policy fails an expectation of its own: it does not load (exit 2).

    Attributes:
        problems: One for each failed expectation.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnjoinableError(PolicyError):
    """Raised when no one policy can be made of two.

    Attributes:
        key: The setting that keeps them apart, its keys with dots between.
        message: Why, and what was expected.
        hint: How to mend it.
    """

    def __init__(self, key: str, message: str, *, hint: str) -> None:
        self.key = key
        self.message = message
        self.hint = hint
        super().__init__(message)


class VocabularyError(PolicyError):
    """Raised when an action line does not fit the commands that exist.

    Attributes:
        hint: How to mend it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class BadValueError(PolicyError, ValueError):
    """Raised when one written value is not what its place needs.

    Attributes:
        message: What is wrong and what was expected.
        hint: How to mend it.
        at: Where exactly, if that is known better than by who catches it.
    """

    def __init__(self, message: str, *, hint: str = "", at: RuleAt | None = None) -> None:
        self.message = message
        self.hint = hint
        self.at = at
        super().__init__(message)
