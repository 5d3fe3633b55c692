"""Refuse to work directly on a workspace that holds what the policy hides: no layer covers it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from audit.escape import escape
from sandbox.stage.errors import CannotHideError
from sandbox.stage.layout import YARD_PREFIX

if TYPE_CHECKING:
    from sandbox.stage.layout import WalkMatcher
    from sandbox.stage.scan import Scan

MOST_TOLD: Final = 3
"""How many hidden paths are named."""


def require_nothing_hidden(found: Scan, hide: WalkMatcher) -> None:
    """Refuse to show what is hidden.

    A command is refused a hidden name, and still meets the file in a search, through a link, under another.

    Raises:
        CannotHideError: When a walk found anything that is to be hidden.
    """
    hidden = sorted({*found.hidden, *found.linked})
    if not hidden:
        return
    if any(path.startswith(YARD_PREFIX) for path in hidden):
        mend = "finish the apply that runs, or was interrupted, with `pairlock apply`"
    elif all(path in found.linked for path in hidden):
        mend = "remove the other names"
    else:
        mend = "let the policy show what is no secret"
    told = [f"`{escape(path)}`, {_why_hidden(path, found, hide)}" for path in hidden[:MOST_TOLD]]
    more = [f"and {len(hidden) - MOST_TOLD} more"] if len(hidden) > MOST_TOLD else []
    many = f"{len(hidden)} hidden paths" if len(hidden) > 1 else "a hidden path"
    raise CannotHideError(
        f"`access: direct` cannot hide anything, and the workspace holds {many}: {'; '.join([*told, *more])}",
        hint=f"use `access: stage`, where such files are absent; or {mend}",
    )


def _why_hidden(path: str, found: Scan, hide: WalkMatcher) -> str:
    if path in found.linked:
        return "another name of a hidden file"
    if path.startswith(YARD_PREFIX):
        return "what an apply left"
    return f"hidden {hide.reason(path)}"
