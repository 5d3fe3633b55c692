"""Name what can go wrong between a grant and a running, attested container."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.engine import Evidence


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


class EngineAddressError(SandboxError):
    """Raised when the engine that was named, by DOCKER_HOST or a context, cannot be used as it is named."""


class EngineMissingError(SandboxError):
    """Raised when no Docker engine answers at the endpoint."""


class EngineSilentError(EngineMissingError):
    """Raised when an engine takes the question and does not answer in time."""


class EnginePermissionError(SandboxError):
    """Raised when the engine's socket exists and this user may not use it."""


class EngineRefusedError(SandboxError):
    """Raised when the engine answered a request with an error, or with a warning that weakens the sandbox."""


class MountRefusedError(EngineRefusedError):
    """Raised when the engine could not mount what a container was to see."""


class EngineUnfitError(SandboxError):
    """Raised when the engine lacks something that no session can do without, such as seccomp."""


class ImageNotFoundError(SandboxError):
    """Raised when the image of a policy is not on this engine."""


class ImageRefusedError(SandboxError):
    """Raised when an image asks for something that cannot be undone from outside."""


class SandboxLostError(SandboxError):
    """Raised when a sandbox that was running stopped answering, was killed or was destroyed."""


class ContainerEndedError(SandboxLostError):
    """Raised when a container ended, by itself or by somebody else, while its sandbox was needed."""

    def __init__(self) -> None:
        super().__init__(
            "the container ended while the session ran: killed, out of memory, or its engine was stopped",
            hint="`pairlock resume` goes on",
        )


class EngineLostError(SandboxLostError):
    """Raised when the engine went away, or stopped answering, while a sandbox ran.

    Args:
        why: What the engine's absence looks like.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the engine went away while the session ran: {why}",
            hint="when it is back, `pairlock resume` goes on; `pairlock clean` removes what is left there",
        )


class AttestationError(SandboxError):
    """Raised when what was made differs from the spec; the sandbox has been destroyed.

    Args:
        evidence: Everything that was looked at, what holds and what does not.
    """

    def __init__(self, evidence: tuple[Evidence, ...]) -> None:
        self.evidence = evidence
        self.differences = tuple(piece for piece in evidence if not piece.holds)
        first = self.differences[0]
        more = f" (and {len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
        super().__init__(
            f"the container is not what was asked for: `{first.check}` should be `{first.expected}`, "
            f"is `{first.observed}`, says the {first.source}{more}"
        )


class OperationError(SandboxError):
    """Raised when the guest refuses an operation, or it fails; the sandbox itself is well.

    Args:
        code: The guest's machine word: `path`, `special`, `not-found`, `busy`, …
        message: One line, already bounded.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OperationFailedError(SandboxError):
    """Raised when the guest answered an operation with FAIL.

    Args:
        operation: its name.
        code: one word, stable: `not-found`, `path`, `timeout`, …; see docs/architecture.md.
        message: the guest's own words: hostile text, to be escaped before it is shown.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {message}")
        self.operation = operation
        self.code = code
        self.reason = message


class AnswerTooLargeError(SandboxError):
    """Raised when an operation's body is longer than its caller allowed; the operation has been cancelled.

    Args:
        operation: its name.
        limit_bytes: what was allowed.
    """

    def __init__(self, operation: str, limit_bytes: int) -> None:
        super().__init__(f"{operation} answered more than `{limit_bytes}` bytes")
        self.operation = operation
        self.limit_bytes = limit_bytes


class GuestUnresponsiveError(SandboxLostError):
    """Raised when the guest has not answered a beat for too long."""


class GuestProtocolError(SandboxLostError):
    """Raised when the guest broke a rule of the link: it is not what was started, or was taken over."""


class LinkClosedError(SandboxLostError):
    """Raised when the link was closed, by the guest's end or by this side, while it was needed."""
