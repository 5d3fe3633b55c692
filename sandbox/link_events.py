"""Name what a guest can say, as the host understands it: one class for each kind of event, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.guest.frames import CONNECT

if TYPE_CHECKING:
    from sandbox.guest.objects import Object


@dataclass(frozen=True, slots=True)
class Greeted:
    """The guest's HELLO."""

    nonce: str
    """As the host sent it, says the guest; the caller compares."""
    facts: Object
    """What the guest found itself to be."""


@dataclass(frozen=True, slots=True)
class BeatAnswered:
    """The guest lives."""


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """Bytes of a stream's body: a file's content, a program's stdout."""

    stream: int
    """Its number."""
    data: bytes
    """At least one byte."""


@dataclass(frozen=True, slots=True)
class ErrorsReceived:
    """Bytes of a program's stderr."""

    stream: int
    """Its number."""
    data: bytes
    """At least one byte."""


@dataclass(frozen=True, slots=True)
class CreditReceived:
    """More body bytes may be sent on a stream."""

    stream: int
    """Its number."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The operation was done; the stream is closed."""

    stream: int
    """Its number."""
    result: Object
    """The RESULT frame's object."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The operation was not done; the stream is closed."""

    stream: int
    """Its number."""
    code: str
    """One word, for programs."""
    message: str
    """One line, for people; written by the guest, so hostile."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The guest opened a stream: a connection of a program's."""

    stream: int
    """Its number; even."""
    operation: str = CONNECT
    """What it is for: `egress.connect`, or `command.call`."""


@dataclass(frozen=True, slots=True)
class ConnectionBody:
    """Bytes of a stream that the guest opened."""

    stream: int
    """Its number."""
    data: bytes
    """At least one byte."""


@dataclass(frozen=True, slots=True)
class ConnectionCredit:
    """More body bytes may be sent on a stream that the guest opened."""

    stream: int
    """Its number."""


@dataclass(frozen=True, slots=True)
class Ended:
    """No more body bytes come on a stream that the guest opened."""

    stream: int
    """Its number."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The guest has no use for a stream of its own any more; it says nothing else on it."""

    stream: int
    """Its number."""


ConnectionEvent = Opened | ConnectionBody | ConnectionCredit | Ended | Cancelled
Event = (
    Greeted
    | BeatAnswered
    | BodyReceived
    | ErrorsReceived
    | CreditReceived
    | Finished
    | Failed
    | ConnectionEvent
)
