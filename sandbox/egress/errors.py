"""Name what can go wrong at the egress gate, split by who must act."""

from __future__ import annotations

from typing import Literal

from sandbox.errors import SandboxError

DenialCode = Literal[
    "capability",
    "host",
    "method",
    "path",
    "address",
    "approval",
    "budget",
    "protocol",
    "credential",
    "journal",
]
FailureCode = Literal["resolve", "connect", "tls", "timeout", "upstream", "too-large"]


class EgressError(SandboxError):
    """Raised when nothing came of a request; every other error here is one of these."""


class EgressDeniedError(EgressError):
    """Raised when the rules say no: the agent must ask for something else.

    Args:
        code: A machine word: which part of the rules said no.
        message: One line, without any query.
        hint: What would be allowed; empty when nothing would.
        rule: The rule that came nearest, as `origin:line:column`; empty for none.
    """

    def __init__(self, code: DenialCode, message: str, *, hint: str = "", rule: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code: DenialCode = code
        self.rule = rule


class UpstreamError(EgressError):
    """Raised when a request was allowed and the world outside did not answer it.

    Args:
        code: A machine word: which step failed.
        message: One line.
        hint: What the agent can do; empty when there is nothing.
    """

    def __init__(self, code: FailureCode, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code: FailureCode = code


class GateLostError(EgressError):
    """Raised when the gate's process has ended, or was ended because its events could not be written down."""
