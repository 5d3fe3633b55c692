"""Name what can go wrong between a workspace and its stage."""

from __future__ import annotations

from sandbox.errors import SandboxError


class StageError(SandboxError):
    """Raised when a stage could not be made, read, applied or discarded; every other error here is one."""


class CannotHideError(StageError):
    """Raised when a workspace cannot be worked on directly, for it holds what the policy hides."""


class StageBrokenError(StageError):
    """Raised when a file of the stage's own (record, journal, label) is missing or is damaged."""


class StageLimitError(StageError):
    """Raised when the agent's tree, or a tar stream of it, is larger or deeper than this module will read."""


class PathRefusedError(StageError):
    """Raised when a path cannot be resolved beneath its folder without a symlink, a mount or an alias.

    Args:
        path: The path as it was asked for, relative to the folder.
        reason: What stood in the way, lower case.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"`{path}` was not opened: {reason}")
        self.path = path
        self.reason = reason


class ApplyError(StageError):
    """Raised when an apply could not be carried out and the workspace was put back as it was."""


class LabelError(StageError):
    """Raised when a workspace's label cannot be read or written; a session must not start without it."""
