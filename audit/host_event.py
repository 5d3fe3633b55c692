"""The closed, versioned set of what the host's log may hold: the index of sessions, and decisions."""

from audit.event import LabelChanged, StageApplied, StageDiscarded
from audit.fields import Count, Digest, Event, Text


class HostOpened(Event):
    """The first line of the host's log."""

    kind = "host.opened"
    name: str
    """The host key's name; random, so that it says nothing of the machine."""
    vkey: str
    writer: str


class HostRecovered(Event):
    """A torn last line was cut off."""

    kind = "host.recovered"
    dropped_bytes: Count
    dropped_sha256: Digest


class SessionRegistered(Event):
    """A session exists: durable before its container starts."""

    kind = "session.registered"
    session: str
    epoch: Count
    vkey: str
    """The public half of the key that seals the session's log."""
    grant: str
    workspace: Text | None
    owner_uid: Count
    parent: str | None = None


class SessionReopened(Event):
    """Another writer has taken a session's log up; it seals with a key of its own."""

    kind = "session.reopened"
    session: str
    epoch: Count
    vkey: str
    size: Count
    """Entries that were there."""
    root: Digest
    """Over them."""


class SessionSealed(Event):
    """A session's log had this root at this size."""

    kind = "session.sealed"
    session: str
    epoch: Count
    size: Count
    root: Digest
    head: Digest
    """The leaf of the last entry."""
    closed: bool
    """Whether the session has recorded its end."""


class SegmentPruned(Event):
    """Old entries of a session were deleted on purpose; the proof of the rest goes on from here."""

    kind = "session.pruned"
    session: str
    size: Count
    """Entries that are gone, counted from the first."""
    peaks: tuple[Digest, ...]
    """The tree's frontier at that size."""
    head: Digest
    """The leaf of the last entry that is gone."""
    epoch: Count
    """The key's epoch at that place."""
    why: Text


class OpeningWithheld(Event):
    """The value behind a commitment was deleted on purpose; the proof stays."""

    kind = "opening.withheld"
    session: str
    commitment: Digest
    by: Text
    why: Text


class PolicyTrusted(Event):
    """A person trusts a policy of a workspace, by its digest."""

    kind = "policy.trusted"
    origin: Text
    digest: Digest
    by: Text


class PolicyDistrusted(Event):
    """A person no longer trusts a policy."""

    kind = "policy.distrusted"
    origin: Text
    digest: Digest
    by: Text


class ImageTrusted(Event):
    """A name stands for this image from now on: seen for the first time, or accepted by a person."""

    kind = "image.trusted"
    reference: Text
    """The name, as policies have it."""
    image: Text
    """The engine's id of the image, `sha256:…`."""
    repository_digest: Text
    """`name@sha256:…` under which a registry knows it; empty for an image that was made here."""
    before: Text
    """The id for which the name stood before; empty when it was not known."""
    by: Text


class ImageBuilt(Event):
    """pairlock made an image."""

    kind = "image.built"
    name: Text
    image: Text
    """The engine's id of the image, `sha256:…`."""
    base: Text
    """The id of the image that it stands on."""
    made_of: Text
    """What a person sees: the manifests, or the agent and its version."""
    made_of_digest: Digest
    """SHA-256 over every manifest, as it was given to the session that built."""
    session: Text
    """The session in which it was built; empty for one without."""
    by: Text


class ImageRemoved(Event):
    """An image that pairlock made was removed."""

    kind = "image.removed"
    name: Text
    image: Text
    by: Text


class KeyRotated(Event):
    """The host's key was replaced; the old key vouches for the new one."""

    kind = "key.rotated"
    old_vkey: str
    new_vkey: str
    note: str
    """A checkpoint of the log before this line, signed by the old key, with the line `next <new vkey>`."""


class ReviewRecorded(Event):
    """A person has looked at what sessions wrote in a workspace."""

    kind = "review.recorded"
    workspace: Text
    identity: str
    sessions: tuple[str, ...]
    by: Text
    note: Text = ""


HOST_EVENTS: tuple[type[Event], ...] = (
    HostOpened,
    HostRecovered,
    SessionRegistered,
    SessionReopened,
    SessionSealed,
    SegmentPruned,
    OpeningWithheld,
    PolicyTrusted,
    PolicyDistrusted,
    ImageTrusted,
    ImageBuilt,
    ImageRemoved,
    KeyRotated,
    ReviewRecorded,
    StageApplied,
    StageDiscarded,
    LabelChanged,
)
"""Every type that the host's log may hold, in all its versions."""
