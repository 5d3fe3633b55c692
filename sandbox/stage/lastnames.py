"""Tell quickly of most names that no glob can mean them; what a glob means, `policies.globs` alone says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from policies.globs import folded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.globs import Glob


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNames:
    """What the last names of globs have in common with every name that they mean."""

    whole: frozenset[str]
    """Last names without a wildcard, folded as globs are."""
    begins: tuple[str, ...]
    """How those begin that begin with no wildcard."""
    ends: tuple[str, ...]
    """How those end that begin with a wildcard and end with none."""
    holds: tuple[str, ...]
    """What the others hold; an empty text when there is one that may mean any name."""

    @classmethod
    def of(cls, globs: Iterable[Glob]) -> Self:
        """Sort the last names of globs; a `**` at the end means what the name before it means."""
        whole, begins, ends, holds = set(), [], [], []
        for glob in globs:
            name = [part for part in folded(glob.text).split("/") if part not in {"", "**"}][-1]
            pieces = re.split(r"[*?]+", name)
            if len(pieces) == 1:
                whole.add(name)
            elif pieces[0]:
                begins.append(pieces[0])
            elif pieces[-1]:
                ends.append(pieces[-1])
            else:
                holds.append(max(pieces, key=len))
        return cls(whole=frozenset(whole), begins=tuple(begins), ends=tuple(ends), holds=tuple(holds))

    def may_match(self, name: str) -> bool:
        """Tell whether some glob may mean a path with this last name, whatever the folders above it."""
        known = name.lower() if name.isascii() else folded(name)
        if known in self.whole or known.startswith(self.begins) or known.endswith(self.ends):
            return True
        return any(piece in known for piece in self.holds) if self.holds else False
