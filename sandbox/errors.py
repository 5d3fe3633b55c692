"""Name what can go wrong between a grant and a running, attested container."""

from __future__ import annotations

from dataclasses import dataclass


class SandboxError(Exception):
    """Raised when the sandbox could not be made, kept or asked; every other error here is one of these.

    Args:
        message: One line: what failed, lower case, no full stop.
        hint: What the reader can do about it; empty when there is nothing.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EngineMissingError(SandboxError):
    """Raised when no Docker engine answers at the endpoint."""


class EnginePermissionError(SandboxError):
    """Raised when the engine's socket exists and this user may not use it."""


class EngineRefusedError(SandboxError):
    """Raised when the engine answered a request with an error, or with a warning that weakens the sandbox."""


class EngineUnfitError(SandboxError):
    """Raised when the engine lacks something that no session can do without, such as seccomp."""


class ImageNotFoundError(SandboxError):
    """Raised when the image of a policy is not on this engine."""


class ImageRefusedError(SandboxError):
    """Raised when an image asks for something that cannot be undone from outside."""


class SandboxLostError(SandboxError):
    """Raised when a sandbox that was running stopped answering, was killed or was destroyed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as the spec says."""

    check: str
    """Which check found it, for example `capabilities.effective`."""
    expected: str
    """What the spec says."""
    observed: str
    """What was read back."""
    source: str
    """Where it was read: `engine`, `host` or `guest`."""


class AttestationError(SandboxError):
    """Raised when what was made differs from the spec; the sandbox has been destroyed.

    Args:
        differences: Every check that failed, in the order of the checks.
    """

    def __init__(self, differences: tuple[Difference, ...]) -> None:
        first = differences[0]
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        super().__init__(
            f"the container is not what was asked for: `{first.check}` should be `{first.expected}`, "
            f"is `{first.observed}`, says the {first.source}{more}"
        )
        self.differences = differences
