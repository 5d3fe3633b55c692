"""One thing that a check reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from policies.errors import RuleAt

Topic = Literal[
    "unknown-command",
    "unknown-argument",
    "no-commands",
    "never-usable",
    "unused-capability",
    "unused-rule",
    "shadowed",
    "shared-host",
    "secrets-visible",
    "unprotected",
    "image-by-tag",
    "any-program",
    "odd-program",
    "open-sink",
    "sink-pattern",
    "not-binding",
    "public-data",
    "private-address",
    "unreachable",
    "direct-access",
    "all-methods",
    "any-protocol",
    "neighbours",
]
_ERRORS = frozenset({"unknown-command", "unknown-argument"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, unwise or without effect.

    Attributes:
        topic: The machine's word for it.
        message: What was found.
        hint: What to do about it.
        at: Where; None when it is what is not written.
    """

    topic: Topic
    message: str
    hint: str
    at: RuleAt | None

    @property
    def is_error(self) -> bool:
        """Whether the policy cannot mean what it says; all others are warnings."""
        return self.topic in _ERRORS

    def __str__(self) -> str:
        """Write the finding as one line."""
        place = f"{self.at}: " if self.at else ""
        kind = "error" if self.is_error else "warning"
        return f"{place}{kind}: {self.message}; hint: {self.hint} [{self.topic}]"
