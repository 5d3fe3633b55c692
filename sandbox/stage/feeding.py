"""Say which changes a patch for `git apply` must not carry: what `apply` refuses, and what git does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from policies.globs import folded
from sandbox.stage.layout import MatchNothing
from sandbox.stage.repositories import is_dot_git
from sandbox.stage.sides import EntryKind
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from sandbox.stage.changes import Change

_MODULES: Final = re.compile(r"(\.gitmodules|gitmod~[1-4]|g?i?7?e?b?a?~[1-9]\d*)[ .]*(:.*)?", re.DOTALL)
"""What some filesystem takes for `.gitmodules`, and a little more (git's path.c: is_ntfs_dotgitmodules)."""


def aside_for_git(change: Change) -> str:
    """Return why a change is not fed to `git apply` with the others; empty for what is.

    Args:
        change: The change, as a patch for a program would show it.
    """
    if refused := refused_by_git(change):
        return refused
    refusal = decide(change, MatchNothing())
    return refusal.reason if refusal is not None else ""


def refused_by_git(change: Change) -> str:
    """Return why git itself refuses a change, and every other beside it; empty for what it takes.

    It does so on every filesystem, for the sake of those where the name is another's (core.protectNTFS).
    """
    if is_dot_git(change.path):
        return "git takes no path with `.git` in it"
    links = any(side is not None and side.kind is EntryKind.SYMLINK for side in (change.before, change.after))
    if links and _MODULES.fullmatch(re.split(r"[/\\]", folded(change.path))[-1]):
        return "git takes no symlink called `.gitmodules`"
    return ""
