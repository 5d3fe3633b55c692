"""Tell quickly of most names that no glob can mean them; what a glob means, `policies.globs` alone says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from policies.globs import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.globs import Glob

_NEVER: Final = r"(?!)"


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
    from_a_slash: re.Pattern[str]
    """Finds the names of the first two kinds among names that each have a slash on both sides."""
    to_a_slash: re.Pattern[str]
    """The same of the third."""

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
        return cls(
            whole=frozenset(whole),
            begins=tuple(begins),
            ends=tuple(ends),
            holds=tuple(holds),
            from_a_slash=_either([*(f"/{name}/" for name in whole), *(f"/{name}" for name in begins)]),
            to_a_slash=_either([f"{name}/" for name in ends]),
        )

    def among(self, names: Sequence[str]) -> frozenset[str]:
        """Return the names with which some glob may mean a path, whatever the folders above it."""
        joined = "/".join(names)
        known = joined.lower() if joined.isascii() else "/".join(map(folded, names))
        if not self._somewhere(f"/{known}/"):
            return frozenset()
        return frozenset(name for name, k in zip(names, known.split("/"), strict=True) if self._may_mean(k))

    def _may_mean(self, known: str) -> bool:
        if known in self.whole or known.startswith(self.begins) or known.endswith(self.ends):
            return True
        return any(piece in known for piece in self.holds)

    def _somewhere(self, known: str) -> bool:
        """Tell at once whether there is one among names, each between slashes, as there mostly is none."""
        if self.from_a_slash.search(known) or self.to_a_slash.search(known):
            return True
        return any(piece in known for piece in self.holds)


def _either(texts: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) if texts else _NEVER)
