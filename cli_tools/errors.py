"""Name what can be wrong with an action before it is decided, and with an outcome after it."""

from __future__ import annotations


class ActionError(Exception):
    """Raised when an action cannot be carried out; told to the agent, never the end of a session.

    Args:
        code: A machine word: `usage`, `unknown-command`, `too-long`, or a code of the guest's.
        message: One line: what failed, lower case, no full stop.
        hint: What the agent can do instead; empty when there is nothing.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class UsageError(ActionError):
    """Raised when a command line does not fit any declared command."""


class DeclarationError(Exception):
    """Raised when a command is declared wrongly; a fault of this program, found by its tests."""
