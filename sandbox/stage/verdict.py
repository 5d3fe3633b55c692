"""Decide whether a change may be applied; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sandbox.stage.changes import Change, Concern

if TYPE_CHECKING:
    from sandbox.stage.layout import PathMatcher


class Refusal(StrEnum):
    """Why a change was not applied."""

    PROTECTED = "protected"
    HIDDEN = "hidden"
    LEADS_OUT = "leads-out"
    SPECIAL = "special"
    CONFLICT = "conflict"
    STAGE_CHANGED = "stage-changed"
    IN_THE_WAY = "in-the-way"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplied:
    """A change that was chosen, and not applied."""

    path: str
    code: Refusal
    reason: str
    """One line, lower case."""


def decide(change: Change, include: PathMatcher) -> NotApplied | None:
    """Say why a change must not be applied; None when it may be.

    Args:
        change: The change.
        include: Paths that the person named although they are protected, hidden or lead out of the workspace.
    """
    if Concern.SPECIAL in change.concerns:
        return NotApplied(path=change.path, code=Refusal.SPECIAL, reason="it is a device, socket or pipe")
    if change.conflict:
        return NotApplied(path=change.path, code=Refusal.CONFLICT, reason=change.conflict)
    for concern, code, reason in _NEED_A_NAME:
        if concern in change.concerns and not include.matches(change.path):
            return NotApplied(path=change.path, code=code, reason=reason)
    return None


_NEED_A_NAME: Final = (
    (Concern.PROTECTED, Refusal.PROTECTED, "the policy protects it"),
    (Concern.HIDDEN, Refusal.HIDDEN, "the policy hides it"),
    (Concern.LEADS_OUT, Refusal.LEADS_OUT, "it is a symlink that leads out of the workspace"),
)
