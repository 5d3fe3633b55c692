"""Hold the rules of the link, from the host's side. Pure: bytes in, events out; orders in, bytes out.

Every byte that comes from a guest is hostile. Whatever it sends, `feed` answers with events that obey the
rules of docs/architecture.md or raises `ProtocolError`, and it never keeps more than one frame that is not
whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame, ProtocolError
from sandbox.guest.objects import decode_object, encode_object

if TYPE_CHECKING:
    from sandbox.guest.objects import Object

MAX_STREAMS: Final = 256
"""Streams that may be open at once; the guest refuses more."""
_FAIL_CODE: Final = re.compile(r"[a-z][a-z-]{0,39}")
_MAX_MESSAGE_CHARACTERS: Final = 8192


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


Event = Greeted | BeatAnswered | BodyReceived | ErrorsReceived | CreditReceived | Finished | Failed


class _Side:
    """What is known of one open stream."""

    __slots__ = ("body_ended", "may_receive", "may_send", "sent_end")

    def __init__(self) -> None:
        self.may_send = frames.INITIAL_CREDIT_BYTES
        self.may_receive = frames.INITIAL_CREDIT_BYTES
        self.sent_end = False
        self.body_ended = False


class LinkState:
    """The host's end of one link.

    INVARIANT: `_sides` holds exactly the streams that the host has opened and the guest has not closed.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._sides: dict[int, _Side] = {}
        self._next = 1
        self._greeted = False
        self._greeting = False
        self._beats_owed = 0

    # ---- what the host sends

    def hello(self, *, nonce: str, lease_seconds: float, wall_seconds: float) -> bytes:
        """Return the HELLO frame; must be sent first."""
        self._greeting = True
        values: Object = {
            "version": frames.VERSION,
            "nonce": nonce,
            "lease_seconds": lease_seconds,
            "wall_seconds": wall_seconds,
        }
        return frames.encode(frames.HELLO, 0, encode_object(values))

    def beat(self) -> bytes:
        """Return a BEAT frame."""
        self._beats_owed += 1
        return frames.encode(frames.BEAT, 0)

    def open(self, operation: str, arguments: Object) -> tuple[int, bytes]:
        """Return a new stream's number and its OPEN frame.

        Raises:
            ValueError: when the arguments cannot be sent, or too many streams are open.
        """
        if len(self._sides) >= MAX_STREAMS:
            raise ValueError(f"{len(self._sides)} streams are open; expected fewer than {MAX_STREAMS}")
        payload = encode_object({**arguments, "op": operation})
        if len(payload) > frames.MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"arguments of {len(payload)} bytes; expected at most {frames.MAX_PAYLOAD_BYTES}"
            )
        number = self._next
        self._next += 2
        self._sides[number] = _Side()
        return number, frames.encode(frames.OPEN, number, payload)

    def may_send(self, stream: int) -> int:
        """Return how many body bytes the stream's credit allows; 0 when it is closed."""
        side = self._sides.get(stream)
        return 0 if side is None or side.sent_end else side.may_send

    def is_open(self, stream: int) -> bool:
        """Tell whether the guest has not answered yet."""
        return stream in self._sides

    def body(self, stream: int, data: bytes | memoryview) -> bytes:
        """Return a BODY frame.

        Raises:
            ValueError: when credit or the frame's limit does not allow it.
        """
        if not 0 < len(data) <= min(self.may_send(stream), frames.MAX_PAYLOAD_BYTES):
            raise ValueError(f"{len(data)} bytes; credit allows {self.may_send(stream)}")
        self._sides[stream].may_send -= len(data)
        return frames.encode(frames.BODY, stream, data)

    def end(self, stream: int) -> bytes:
        """Return an END frame; nothing when the stream is closed or was ended before."""
        side = self._sides.get(stream)
        if side is None or side.sent_end:
            return b""
        side.sent_end = True
        return frames.encode(frames.END, stream)

    def grant(self, stream: int, count: int) -> bytes:
        """Return a CREDIT frame for `count` more bytes; nothing when the stream is closed."""
        side = self._sides.get(stream)
        if side is None:
            return b""
        side.may_receive += count
        return frames.encode_credit(stream, count)

    def cancel(self, stream: int) -> bytes:
        """Return a CANCEL frame; nothing when the stream is closed."""
        return frames.encode(frames.CANCEL, stream) if stream in self._sides else b""

    # ---- what the guest sends

    def feed(self, data: bytes) -> list[Event]:
        """Return what the bytes say.

        Raises:
            ProtocolError: when they break a rule; the link is then of no use any more.
        """
        return [self._event(frame) for frame in self._decoder.feed(data)]

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._decoder.held_bytes

    def _event(self, frame: Frame) -> Event:
        if frame.kind == frames.HELLO:
            return self._take_hello(frame)
        if not self._greeted:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} before HELLO")
        if frame.kind == frames.BEAT:
            return self._take_beat()
        side = self._sides.get(frame.stream)
        if side is None:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} on stream `{frame.stream}`, which is not open")
        match frame.kind:
            case frames.BODY | frames.ERRORS:
                return self._take_bytes(frame, side)
            case frames.CREDIT:
                return self._take_credit(frame, side)
            case frames.RESULT:
                del self._sides[frame.stream]
                return Finished(frame.stream, decode_object(frame.payload))
            case frames.FAIL:
                del self._sides[frame.stream]
                return _failed(frame)
            case _:
                raise ProtocolError(f"{frames.NAMES[frame.kind]} is never sent by the guest")

    def _take_hello(self, frame: Frame) -> Greeted:
        if self._greeted or not self._greeting:
            raise ProtocolError("a HELLO that was not asked for")
        hello = decode_object(frame.payload)
        if hello.get("version") != frames.VERSION:
            raise ProtocolError(f"the guest speaks another version; expected {frames.VERSION}")
        nonce, facts = hello.get("nonce"), hello.get("facts")
        if not isinstance(nonce, str) or not isinstance(facts, dict):
            raise ProtocolError("HELLO without a nonce or facts")
        self._greeted = True
        return Greeted(nonce, facts)

    def _take_beat(self) -> BeatAnswered:
        if self._beats_owed == 0:
            raise ProtocolError("a BEAT that answers none")
        self._beats_owed -= 1
        return BeatAnswered()

    def _take_bytes(self, frame: Frame, side: _Side) -> BodyReceived | ErrorsReceived:
        if len(frame.payload) > side.may_receive:
            raise ProtocolError(
                f"stream `{frame.stream}` sent `{len(frame.payload)}` bytes; "
                f"credit was for {side.may_receive}"
            )
        side.may_receive -= len(frame.payload)
        kind = BodyReceived if frame.kind == frames.BODY else ErrorsReceived
        return kind(frame.stream, frame.payload)

    def _take_credit(self, frame: Frame, side: _Side) -> CreditReceived:
        side.may_send += frames.credit_of(frame)
        if side.may_send > frames.MAX_STREAM:
            raise ProtocolError(
                f"stream `{frame.stream}` was given more than {frames.MAX_STREAM} bytes of credit"
            )
        return CreditReceived(frame.stream)


def _failed(frame: Frame) -> Failed:
    values = decode_object(frame.payload)
    code, message = values.get("code"), values.get("message")
    if not isinstance(code, str) or not isinstance(message, str) or len(message) > _MAX_MESSAGE_CHARACTERS:
        raise ProtocolError("FAIL without a code or a message")
    if _FAIL_CODE.fullmatch(code) is None:
        raise ProtocolError("FAIL with a code that is not a word")
    return Failed(frame.stream, code, message)
