"""Turn what a policy says of paths into the matchers that the stage asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from policies.globs import Glob, GlobSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.policy import FilesBlock


@dataclass(frozen=True, slots=True)
class HiddenBy:
    """What a policy hides, its defaults and exceptions included."""

    files: FilesBlock

    def matches(self, path: str) -> bool:
        """Tell whether the policy hides `path`."""
        return self.files.hidden_by(path) is not None


@dataclass(frozen=True, slots=True)
class ProtectedBy:
    """What a policy protects, its defaults included."""

    files: FilesBlock

    def matches(self, path: str) -> bool:
        """Tell whether the policy protects `path`."""
        return self.files.protected_by(path) is not None


@dataclass(frozen=True, slots=True)
class Globs:
    """Patterns that a person gave, such as those of `apply --include`."""

    globs: GlobSet

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> Self:
        """Compile patterns.

        Raises:
            BadValueError: When a pattern has no meaning.
        """
        return cls(GlobSet(Glob.parse(pattern) for pattern in patterns))

    def matches(self, path: str) -> bool:
        """Tell whether one of the patterns covers `path`."""
        return self.globs.find(path) is not None
