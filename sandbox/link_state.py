"""Hold the rules of the link, from the host's side. Pure: bytes in, events out; orders in, bytes out.

Every byte that comes from a guest is hostile. Whatever it sends, `feed` answers with events that obey the
rules of docs/architecture.md or raises `ProtocolError`, and it never keeps more than one frame that is not
whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame, ProtocolError
from sandbox.guest.objects import decode_object, encode_object
from sandbox.guest.seal import FROM_GUEST, FROM_HOST, Seal
from sandbox.link_events import (
    BeatAnswered,
    Cancelled,
    ConnectionBody,
    ConnectionCredit,
    Ended,
    Failed,
    Finished,
    Greeted,
    Opened,
)
from sandbox.link_side import Side

if TYPE_CHECKING:
    from sandbox.guest.objects import Object
    from sandbox.link_events import ConnectionEvent, Event

MAX_STREAMS: Final = 256
"""Streams that may be open at once; the guest refuses more."""
_FAIL_CODE: Final = re.compile(r"[a-z][a-z-]{0,39}")
_MAX_MESSAGE_CHARACTERS: Final = 8192
_ON_CONNECTIONS: Final = (frames.BODY, frames.CREDIT, frames.END, frames.CANCEL)
"""What the guest may say on a stream of its own, once it is open."""
_SERVED: Final = ({"op": frames.CONNECT}, {"op": frames.COMMAND})
"""What it may open one for; the link knows for which of them somebody listens."""


class LinkState:
    """The host's end of one link.

    INVARIANT: `_sides` holds exactly the streams that the host has opened and the guest has not closed, and
    those that the guest has opened and the host has not answered.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._sides: dict[int, Side] = {}
        self._next = 1
        self._accepting = False
        self._newest_of_guest = 0
        self._connections = 0
        self._greeted = False
        self._greeting = False
        self._beats_owed = 0
        self._unsealed: Greeted | None = None
        self._seal: Seal | None = None

    @property
    def is_sealed(self) -> bool:
        """Tell whether every frame carries a tag: the guest found that programs could open the link."""
        return self._seal is not None

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
        return self._encode(frames.BEAT, 0)

    def open(self, operation: str, arguments: Object) -> tuple[int, bytes]:
        """Return a new stream's number and its OPEN frame.

        Raises:
            ValueError: when the arguments cannot be sent, or too many streams are open.
        """
        if self.open_streams >= MAX_STREAMS:
            raise ValueError(f"{MAX_STREAMS} streams are open; expected fewer than {MAX_STREAMS}")
        payload = encode_object({**arguments, "op": operation})
        if len(payload) > frames.MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"arguments of {len(payload)} bytes; expected at most {frames.MAX_PAYLOAD_BYTES}"
            )
        number = self._next
        self._next += 2
        self._sides[number] = Side()
        return number, self._encode(frames.OPEN, number, payload)

    def may_send(self, stream: int) -> int:
        """Return how many body bytes the stream's credit allows; 0 when it is closed."""
        side = self._sides.get(stream)
        return 0 if side is None or side.sent_end else side.may_send

    @property
    def open_streams(self) -> int:
        """Return how many operations the guest has not answered yet."""
        return len(self._sides) - self._connections

    def is_open(self, stream: int) -> bool:
        """Tell whether nobody has answered yet."""
        return stream in self._sides

    def body(self, stream: int, data: bytes | memoryview) -> bytes:
        """Return a BODY frame.

        Raises:
            ValueError: when credit or the frame's limit does not allow it.
        """
        if not 0 < len(data) <= min(self.may_send(stream), frames.MAX_PAYLOAD_BYTES):
            raise ValueError(f"{len(data)} bytes; credit allows {self.may_send(stream)}")
        self._sides[stream].may_send -= len(data)
        return self._encode(frames.BODY, stream, data)

    def end(self, stream: int) -> bytes:
        """Return an END frame; nothing when the stream is closed or was ended before."""
        side = self._sides.get(stream)
        if side is None or side.sent_end:
            return b""
        side.sent_end = True
        return self._encode(frames.END, stream)

    def grant(self, stream: int, count: int) -> bytes:
        """Return a CREDIT frame for `count` more bytes; nothing when the stream is closed."""
        side = self._sides.get(stream)
        if side is None:
            return b""
        side.may_receive += count
        return self._encode(frames.CREDIT, stream, count.to_bytes(4, "big"))

    def cancel(self, stream: int) -> bytes:
        """Return a CANCEL frame; nothing when the stream is closed."""
        return self._encode(frames.CANCEL, stream) if stream in self._sides else b""

    def accept(self) -> None:
        """Let the guest open streams from now on; until then its OPEN is a protocol error."""
        self._accepting = True

    def answer(self, stream: int) -> bytes:
        """Return the RESULT frame that closes a stream of the guest's; nothing when it is closed."""
        return self._close(stream, frames.RESULT, {})

    def refuse(self, stream: int, code: str, message: str) -> bytes:
        """Return the FAIL frame that closes a stream of the guest's; nothing when it is closed."""
        return self._close(stream, frames.FAIL, {"code": code, "message": message})

    def _close(self, stream: int, kind: int, values: Object) -> bytes:
        if stream % 2 or self._sides.pop(stream, None) is None:
            return b""
        self._connections -= 1
        return self._encode(kind, stream, encode_object(values))

    def _encode(self, kind: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
        """Return a frame's bytes. INVARIANT: with a seal they are sent, and in the order they were made."""
        return frames.encode(kind, stream, payload, seal=self._seal)

    # ---- what the guest sends

    def feed(self, data: bytes) -> list[Event]:
        """Return what the bytes say.

        Raises:
            ProtocolError: when they break a rule; the link is then of no use any more.
        """
        try:
            events = [self._event(frame) for frame in self._decoder.feed(data)]
        except ProtocolError:
            self._decoder.fail()
            raise
        return [event for event in events if event is not None]

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._decoder.held_bytes

    def _event(self, frame: Frame) -> Event | None:
        if frame.kind == frames.HELLO:
            return self._take_hello(frame)
        if frame.kind == frames.SEAL:
            return self._take_seal(frame)
        if not self._greeted:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} before HELLO")
        if frame.kind == frames.BEAT:
            return self._take_beat()
        if frame.stream % 2 == 0:
            return self._connection_event(frame)
        return self._answer_event(frame)

    def _answer_event(self, frame: Frame) -> Event:
        """Read a frame of a stream that the host opened."""
        side = self._sides.get(frame.stream)
        if side is None:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} on stream `{frame.stream}`, which is not open")
        match frame.kind:
            case frames.BODY | frames.ERRORS:
                return side.take_bytes(frame)
            case frames.CREDIT:
                return side.take_credit(frame)
            case frames.RESULT:
                del self._sides[frame.stream]
                return Finished(frame.stream, decode_object(frame.payload))
            case frames.FAIL:
                del self._sides[frame.stream]
                return _failed(frame)
            case _:
                raise ProtocolError(f"{frames.NAMES[frame.kind]} is never sent by the guest")

    def _connection_event(self, frame: Frame) -> ConnectionEvent | None:
        """Read a frame of a stream that the guest opens. One that crossed the host's answer says nothing."""
        if frame.kind == frames.OPEN:
            return self._take_open(frame)
        if frame.kind not in _ON_CONNECTIONS or frame.stream > self._newest_of_guest:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} on stream `{frame.stream}`, which is not open")
        side = self._sides.get(frame.stream)
        if side is None:
            return None
        if side.cancelled or (side.body_ended and frame.kind in (frames.BODY, frames.END)):
            raise ProtocolError(f"{frames.NAMES[frame.kind]} on stream `{frame.stream}` after its end")
        match frame.kind:
            case frames.BODY:
                side.take_bytes(frame)
                return ConnectionBody(frame.stream, frame.payload)
            case frames.CREDIT:
                side.take_credit(frame)
                return ConnectionCredit(frame.stream)
            case frames.END:
                side.body_ended = True
                return Ended(frame.stream)
            case _:
                side.cancelled = True
                return Cancelled(frame.stream)

    def _take_open(self, frame: Frame) -> Opened:
        if not self._accepting:
            raise ProtocolError("an OPEN from a guest that may open no streams")
        if frame.stream <= self._newest_of_guest:
            raise ProtocolError(
                f"OPEN of stream `{frame.stream}`; expected an even number above {self._newest_of_guest}"
            )
        if self._connections >= frames.MAX_CONNECTIONS:
            raise ProtocolError(f"more than {frames.MAX_CONNECTIONS} streams of the guest's are open")
        operation = decode_object(frame.payload)
        if operation not in _SERVED:
            raise ProtocolError(f"OPEN of something else than `{frames.CONNECT}` or `{frames.COMMAND}`")
        self._newest_of_guest = frame.stream
        self._connections += 1
        self._sides[frame.stream] = Side(frames.CONNECTION_CREDIT_BYTES)
        return Opened(frame.stream, str(operation["op"]))

    def _take_hello(self, frame: Frame) -> Greeted | None:
        if self._greeted or self._unsealed is not None or not self._greeting:
            raise ProtocolError("a HELLO that was not asked for")
        hello = decode_object(frame.payload)
        if hello.get("version") != frames.VERSION:
            raise ProtocolError(f"the guest speaks another version; expected {frames.VERSION}")
        nonce, facts, seals = hello.get("nonce"), hello.get("facts"), hello.get("seal")
        if not isinstance(nonce, str) or not isinstance(facts, dict) or not isinstance(seals, bool):
            raise ProtocolError("HELLO without a nonce, facts or whether it seals")
        greeted = Greeted(nonce, facts)
        if seals:
            self._unsealed = greeted
            return None
        self._greeted = True
        return greeted

    def _take_seal(self, frame: Frame) -> Greeted:
        """Seal both directions from here on; only then has the guest been greeted."""
        if self._unsealed is None:
            raise ProtocolError("a SEAL that its HELLO did not announce")
        self._decoder.seal(Seal(frame.payload, FROM_GUEST))
        self._seal = Seal(frame.payload, FROM_HOST)
        greeted, self._unsealed = self._unsealed, None
        self._greeted = True
        return greeted

    def _take_beat(self) -> BeatAnswered:
        if self._beats_owed == 0:
            raise ProtocolError("a BEAT that answers none")
        self._beats_owed -= 1
        return BeatAnswered()


def _failed(frame: Frame) -> Failed:
    values = decode_object(frame.payload)
    code, message = values.get("code"), values.get("message")
    if not isinstance(code, str) or not isinstance(message, str) or len(message) > _MAX_MESSAGE_CHARACTERS:
        raise ProtocolError("FAIL without a code or a message")
    if _FAIL_CODE.fullmatch(code) is None:
        raise ProtocolError("FAIL with a code that is not a word")
    return Failed(frame.stream, code, message)
