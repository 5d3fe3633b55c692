"""Say which changes a patch for `git apply` must not carry: what `apply` refuses, and what git does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from policies.globs import folded
from sandbox.stage.layout import MatchNothing
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from sandbox.stage.changes import Change

_DOT_GIT: Final = re.compile(r"(\.git|git~1)[ .]*([\\:].*)?", re.DOTALL)
"""What git takes for `.git` on some filesystem, and refuses in a patch (its path.c: is_ntfs_dotgit)."""


def aside_for_git(change: Change) -> str:
    """Return why a change is not fed to `git apply` with the others; empty for what is.

    Args:
        change: The change, as a patch for a program would show it.
    """
    if any(_DOT_GIT.fullmatch(folded(name)) for name in change.path.split("/")):
        return "git takes no path with `.git` in it"
    refusal = decide(change, MatchNothing())
    return refusal.reason if refusal is not None else ""
