"""Know which published holes a version of the engine or its parts has, and why each is out of reach here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.engine import EngineFacts

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A published hole."""

    name: str
    component: str
    fixed: tuple[Version, ...]
    """Versions that hold the fix, one for each release line, oldest first."""
    unreachable: str
    """Why a session cannot reach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHole:
    """A hole that a found version has."""

    text: str
    mend: str


HOLES: Final = (
    Hole(
        name="CVE-2024-21626 (leaked descriptor as working folder)",
        component="runc",
        fixed=((1, 1, 12),),
        unreachable="the working folder is always `/` and nothing is ever exec'd into the container",
    ),
    Hole(
        name="CVE-2025-31133, CVE-2025-52565 (masked paths and /dev/console swapped during start)",
        component="runc",
        fixed=((1, 2, 8), (1, 3, 3)),
        unreachable="no terminal is made, and no second container shares a writable mount while one starts",
    ),
    Hole(
        name="CVE-2025-52881 (writes to /proc redirected during start)",
        component="runc",
        fixed=((1, 2, 8), (1, 3, 3)),
        unreachable="no second container shares a writable mount while one starts",
    ),
    Hole(
        name="CVE-2024-29018 (names resolved outside an internal network)",
        component="Engine",
        fixed=((23, 0, 11), (25, 0, 5), (26, 0, 0)),
        unreachable="network mode is none: there is no resolver",
    ),
)


def known_holes(facts: EngineFacts) -> Iterator[KnownHole]:
    """Yield the holes that the engine's parts have, by their version numbers.

    A distribution may have fixed one without a new number; then the note is one too many.
    """
    for hole in HOLES:
        text = facts.components.get(hole.component, "")
        version = parse_version(text)
        if version and not _has_fix(version, hole.fixed):
            yield KnownHole(
                text=f"{hole.component} {text} may have {hole.name}; out of reach: {hole.unreachable}",
                mend=f"update {hole.component} to {'.'.join(map(str, hole.fixed[-1]))} or newer when you can",
            )


def parse_version(text: str) -> Version:
    """Return the leading numbers of a version; empty when there are none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _has_fix(version: Version, fixed: tuple[Version, ...]) -> bool:
    same_line = [fix for fix in fixed if fix[:2] == version[:2]]
    return version >= (same_line[0] if same_line else fixed[-1])
