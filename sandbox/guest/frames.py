"""Code frames: bytes to Frame and back, each type in its shape. Both ends of the link use this file.

It knows nothing of streams that are open or closed: that is `sandbox.link_state` on the host, `serve` in the
guest.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .seal import Seal

VERSION = 2
HEADER = Struct(">IBI")  # length of the payload in bytes, type, stream
_HEADER_BYTES = HEADER.size
_unpack = HEADER.unpack_from
TAG_BYTES = 8  # of a sealed frame, between header and payload
SEAL_KEY_BYTES = 32
MAX_PAYLOAD_BYTES = 256 * 1024
INITIAL_CREDIT_BYTES = 256 * 1024
MAX_STREAM = 0xFFFFFFFF
CONNECT = "egress.connect"  # what the guest asks the host for: to serve a connection of a program's,
COMMAND = "command.call"  # or a command that a program called
MAX_CONNECTIONS = 200  # streams of the guest's that may be open at once
CONNECTION_CREDIT_BYTES = 128 * 1024  # what each side may send at first on a stream of the guest's

HELLO = 1
BEAT = 2
OPEN = 3
BODY = 4
ERRORS = 5
END = 6
CREDIT = 7
RESULT = 8
FAIL = 9
CANCEL = 10
SEAL = 11

NAMES = {
    HELLO: "HELLO",
    BEAT: "BEAT",
    OPEN: "OPEN",
    BODY: "BODY",
    ERRORS: "ERRORS",
    END: "END",
    CREDIT: "CREDIT",
    RESULT: "RESULT",
    FAIL: "FAIL",
    CANCEL: "CANCEL",
    SEAL: "SEAL",
}
_LINK_ITSELF = frozenset({HELLO, BEAT, SEAL})
_SMALLEST = {
    HELLO: 2, OPEN: 2, RESULT: 2, FAIL: 2, BODY: 1, ERRORS: 1, CREDIT: 4, SEAL: SEAL_KEY_BYTES
}  # fmt: skip
_LARGEST = {BEAT: 0, END: 0, CANCEL: 0, CREDIT: 4, SEAL: SEAL_KEY_BYTES}
_BOUNDS = {
    kind: (_SMALLEST.get(kind, 0), _LARGEST.get(kind, MAX_PAYLOAD_BYTES), kind in _LINK_ITSELF)
    for kind in NAMES
}
"""Of each type: the bytes of its payload, least and most, and whether it is the link's own."""
_U32 = Struct(">I")


class ProtocolError(Exception):
    """Raised when bytes from the other side break a rule; the link is then of no use any more."""


class Frame:
    """One frame, as received.

    Attributes:
        kind: one of the types above.
        stream: 0 is the link itself.
        payload: at most `MAX_PAYLOAD_BYTES`.
    """

    __slots__ = ("kind", "payload", "stream")

    def __init__(self, kind: int, stream: int, payload: bytes) -> None:
        self.kind = kind
        self.stream = stream
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        mine = (self.kind, self.stream, self.payload)
        return mine == (other.kind, other.stream, other.payload)

    def __hash__(self) -> int:
        return hash((self.kind, self.stream, self.payload))

    def __repr__(self) -> str:
        return f"Frame({NAMES.get(self.kind, self.kind)}, {self.stream}, {len(self.payload)} bytes)"


def encode(kind: int, stream: int, payload: bytes | memoryview = b"", *, seal: Seal | None = None) -> bytes:
    """Return the frame's bytes.

    Args:
        kind: one of the types above.
        stream: 0 to 2**32 - 1.
        payload: must have the shape that `check_header` wants.
        seal: makes the tag, once the link is sealed.

    Raises:
        ProtocolError: when the frame would not be accepted by the other side.
    """
    return head(kind, stream, payload, seal) + payload


def head(kind: int, stream: int, payload: bytes | memoryview, seal: Seal | None) -> bytes:
    """Return what goes before the payload: the header, and the tag when there is a seal.

    Raises:
        ProtocolError: when the frame would not be accepted by the other side.
    """
    check_header(len(payload), kind, stream)
    header = HEADER.pack(len(payload), kind, stream)
    return header if seal is None else header + seal.tag(header, payload)


def check_header(length: int, kind: int, stream: int) -> None:
    """Refuse a header that no frame may have, before any of its payload is kept."""
    bounds = _BOUNDS.get(kind)
    if bounds is None or not bounds[0] <= length <= bounds[1] or (stream == 0) != bounds[2]:
        _refuse_header(length, kind, stream)


def _refuse_header(length: int, kind: int, stream: int) -> NoReturn:
    name = NAMES.get(kind)
    if name is None:
        raise ProtocolError(f"frame type `{kind}` does not exist; expected 1 to {SEAL}")
    smallest, largest, _ = _BOUNDS[kind]
    if length > largest:
        raise ProtocolError(f"{name} frame of `{length}` bytes; expected at most {largest}")
    if length < smallest:
        raise ProtocolError(f"{name} frame of `{length}` bytes; expected at least {smallest}")
    raise ProtocolError(f"{name} frame on stream `{stream}`; only HELLO, BEAT and SEAL are on stream 0")


def encode_credit(stream: int, count: int) -> bytes:
    """Return a CREDIT frame that lets the other side send `count` more body bytes on `stream`."""
    return encode(CREDIT, stream, _U32.pack(count))


def credit_of(frame: Frame) -> int:
    """Return the bytes that a CREDIT frame grants.

    Raises:
        ProtocolError: when it grants nothing.
    """
    count: int = _U32.unpack(frame.payload)[0]
    if count == 0:
        raise ProtocolError("CREDIT of `0` bytes; expected at least 1")
    return count


class Decoder:
    """Cut a stream of bytes into frames. It keeps at most one frame that is not whole.

    INVARIANT: after an error every later `feed` raises as well; what follows a broken frame has no meaning.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted_bytes = 0  # of the buffer, until there is something to cut
        self._failed = False
        self._seal: Seal | None = None

    def seal(self, seal: Seal) -> None:
        """Check every frame from here on.

        Raises:
            ProtocolError: when bytes have come already: they were sent before the other side could know.
        """
        if self._buffer:
            raise ProtocolError("bytes behind the frame that seals the link")
        self._seal = seal

    def forget(self) -> None:
        """Drop the seal."""
        self._seal = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, in order.

        Raises:
            ProtocolError: when a header cannot belong to a frame, or a frame's seal is not its own.
        """
        if self._failed:
            raise ProtocolError("bytes after a protocol error")
        if self._buffer:
            self._buffer += data
            # Bytes that come one by one are not gone through again for each.
            if len(self._buffer) < self._wanted_bytes:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        frames: list[Frame] = []
        try:
            used = self._cut(data, frames)
        except ProtocolError:
            self.fail()
            raise
        if used < len(data):
            self._buffer += data[used:]
        return frames

    def fail(self) -> None:
        """Take in nothing more: what came broke a rule, of the coding or beyond it."""
        self._failed = True
        self._buffer.clear()

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def _cut(self, data: bytes, frames: list[Frame]) -> int:
        """Add the whole frames to `frames`; return how many bytes they are, and set what more is wanted."""
        size, at = len(data), 0
        while size - at >= _HEADER_BYTES:
            length, kind, stream = _unpack(data, at)
            check_header(length, kind, stream)
            start = at + _HEADER_BYTES if self._seal is None else at + _HEADER_BYTES + TAG_BYTES
            end = start + length
            if size < end:
                self._wanted_bytes = end - at
                return at
            frame = Frame(kind, stream, data[start:end])
            if self._seal is not None:
                header, tag = data[at : at + _HEADER_BYTES], data[at + _HEADER_BYTES : start]
                self._seal.check(header, tag, frame.payload)
            frames.append(frame)
            at = end
            if kind == SEAL and at != size:
                raise ProtocolError("bytes behind the frame that seals the link")
        self._wanted_bytes = _HEADER_BYTES
        return at
