"""What is told of a session's container."""

from typing import Final, Literal

from audit.fields import Digest, Event, Evidence, Text

STAGE_WORDS: Final = {
    "copy": "copy",
    "direct": "direct",
    "none": "none",
    "overlay": "overlay",
    "overlayoncopy": "overlay on a copy",
    "readonly": "read-only",
}
"""What a person reads for each way in which a workspace is held."""


class SandboxCreated(Event):
    """A container was made."""

    kind = "sandbox.created"
    runtime: str
    engine_version: str
    image_digest: Text
    container: str
    """The engine's id of the container."""
    spec_digest: Digest
    stage_strategy: str
    """A key of `STAGE_WORDS`."""
    stage_reason: Text
    """Why this strategy and no other."""
    volume: Text | None = None
    """The stage's volume, when it has one."""
    quota: Text = ""
    """What bounds the stage's size, and its overshoot."""
    image_name: Text = ""
    """What the policy calls the image; empty for the empty image."""
    image_repository_digest: Text = ""
    """`name@sha256:…` under which a registry knows the image; empty for one that was made here."""


class SandboxAttested(Event):
    """What the sandbox was found to be, before the agent's first action."""

    kind = "sandbox.attested"
    verdict: Literal["as granted", "differs"]
    evidence: tuple[Evidence, ...]


class SandboxClosed(Event):
    """The container is gone."""

    kind = "sandbox.closed"
    why: Text
