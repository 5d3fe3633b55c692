"""Drive the host's end of a link with anything, and hold all it believes to a model of the rules.

Shared by the state machine of the everyday tests (Hypothesis) and the long runs by hand (atheris).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, ProtocolError
from sandbox.guest.objects import encode_object
from sandbox.guest.seal import FROM_GUEST, FROM_HOST, Seal
from sandbox.link_events import (
    BeatAnswered,
    BodyReceived,
    Cancelled,
    ConnectionBody,
    ConnectionCredit,
    CreditReceived,
    Ended,
    ErrorsReceived,
    Failed,
    Finished,
    Greeted,
    Opened,
)
from sandbox.link_state import MAX_STREAMS, LinkState

if TYPE_CHECKING:
    from sandbox.link_events import Event

KEY: Final = bytes(range(32))
HELD_BYTES: Final = frames.MAX_PAYLOAD_BYTES + frames.HEADER.size + frames.TAG_BYTES
CONNECT: Final = encode_object({"op": frames.CONNECT})
PAYLOADS: Final = (
    b"", b"{}", CONNECT, b'{"code":"lost","message":"gone"}', b'{"code":"UP","message":1}', b"[]", b"\xff",
    b"\0\0\0\1", b"\xff\xff\xff\xff", b"\0\0\0\0", bytes(2048), bytes(32), b'{"a":' * 40 + b"1" + b"}" * 40,
    encode_object({"version": frames.VERSION, "nonce": "n", "seal": False, "facts": {}}),
)  # fmt: skip


class Seen:
    """What is known of one stream."""

    def __init__(self, credit_bytes: int) -> None:
        self.may_receive = credit_bytes
        self.may_send = credit_bytes
        self.ended = False
        self.cancelled = False


class Hosting:
    """A host that is greeted, and a model of it.

    Args:
        sealed: whether the link is; the guest holds the key, as a real one does.
        accepting: whether it serves connections.
    """

    def __init__(self, *, sealed: bool, accepting: bool) -> None:
        self.state = LinkState()
        self.open: dict[int, Seen] = {}
        self.connections: dict[int, Seen] = {}
        self.accepting = accepting
        self.newest_connection = 0
        self.beats_owed = 0
        self.lost = False
        self.seal = Seal(KEY, FROM_GUEST) if sealed else None
        self._ear = Decoder()
        self.sent(self.state.hello(nonce="n", lease_seconds=10, wall_seconds=60))
        hello = {"version": frames.VERSION, "nonce": "n", "seal": sealed, "facts": {}}
        greeting = frames.encode(frames.HELLO, 0, encode_object(hello))  # type: ignore[arg-type]
        events = self.state.feed(greeting + (frames.encode(frames.SEAL, 0, KEY) if sealed else b""))
        assert events == [Greeted("n", {})]
        if sealed:
            self._ear.seal(Seal(KEY, FROM_HOST))
        if accepting:
            self.state.accept()

    # ---- what the host does; whatever it sends must be frames that a guest can read

    def sent(self, data: bytes) -> None:
        """Read what the host sends, as a strict guest would."""
        for frame in self._ear.feed(data):
            if frame.kind in (frames.RESULT, frames.FAIL):
                assert frame.stream in self.connections
                del self.connections[frame.stream]
        assert self._ear.held_bytes == 0

    def opens(self) -> None:
        """Open a stream, or find that there are as many as may be."""
        if len(self.open) == MAX_STREAMS:
            try:
                self.state.open("files.stat", {})
            except ValueError:
                return
            raise AssertionError("one stream too many")
        number, data = self.state.open("files.stat", {"path": "a"})
        assert number % 2 == 1
        assert number not in self.open
        self.open[number] = Seen(frames.INITIAL_CREDIT_BYTES)
        self.sent(data)

    def beats(self) -> None:
        """Send a beat."""
        self.beats_owed += 1
        self.sent(self.state.beat())

    def says(self, number: int, count: int) -> None:
        """Send a body on a stream, if there is credit for it."""
        seen = self.open.get(number) or self.connections.get(number)
        may = self.state.may_send(number)
        assert may == (seen.may_send if seen is not None else 0)
        count = min(count, may, 65536)
        if count and seen is not None:
            seen.may_send -= count
            self.sent(self.state.body(number, bytes(count)))

    def grants(self, number: int, count: int) -> None:
        """Give credit."""
        seen = self.open.get(number) or self.connections.get(number)
        data = self.state.grant(number, count)
        assert bool(data) == (seen is not None)
        if seen is not None:
            seen.may_receive += count
        self.sent(data)

    def cancels(self, number: int) -> None:
        """Cancel a stream of its own, or refuse a connection."""
        if number % 2:
            self.sent(self.state.cancel(number))
        else:
            self.sent(self.state.refuse(number, "failed", "no"))

    def answers(self, number: int) -> None:
        """Answer a connection."""
        data = self.state.answer(number)
        assert bool(data) == (number in self.connections)
        self.sent(data)

    # ---- what the guest does

    def frame(self, kind: int, number: int, payload: bytes) -> bytes:
        """Return a frame whose shape may be against every rule, sealed as a guest with the key would."""
        header = frames.HEADER.pack(len(payload), kind, number)
        return header + (b"" if self.seal is None else self.seal.tag(header, payload)) + payload

    def hears(self, data: bytes) -> bool:
        """Feed bytes of the guest's; return whether the link goes on."""
        try:
            events = self.state.feed(data)
        except ProtocolError:
            self.lost = True
            self._stays_lost()
            return False
        assert not self.lost
        assert self.state.held_bytes <= HELD_BYTES
        for event in events:
            self._check(event)
        return True

    def _stays_lost(self) -> None:
        assert self.state.held_bytes == 0
        try:
            self.state.feed(b"")
        except ProtocolError:
            return
        raise AssertionError("a link that was lost goes on")

    def _check(self, event: Event) -> None:  # noqa: C901 (one case for each kind of event)
        match event:
            case Greeted():
                raise AssertionError("greeted twice")
            case BeatAnswered():
                self.beats_owed -= 1
                assert self.beats_owed >= 0
            case BodyReceived(number, data) | ErrorsReceived(number, data):
                _take(self.open[number], data)
            case CreditReceived(number):
                self._credited(number, self.open)
            case Finished(number, _) | Failed(number, _, _):
                del self.open[number]
                assert not self.state.is_open(number)
            case Opened(number):
                assert self.accepting
                assert number > self.newest_connection
                assert number % 2 == 0
                self.newest_connection = number
                self.connections[number] = Seen(frames.CONNECTION_CREDIT_BYTES)
                assert len(self.connections) <= frames.MAX_CONNECTIONS
            case ConnectionBody(number, data):
                assert not self.connections[number].ended
                _take(self.connections[number], data)
            case ConnectionCredit(number):
                self._credited(number, self.connections)
            case Ended(number):
                assert not self.connections[number].ended
                self.connections[number].ended = True
            case Cancelled(number):
                assert not self.connections[number].cancelled
                self.connections[number].cancelled = True
            case _:
                assert_never(event)

    def _credited(self, number: int, streams: dict[int, Seen]) -> None:
        may = self.state.may_send(number)
        if self.state.is_open(number):  # several in one piece: the last word counts
            assert may >= streams[number].may_send or may == 0
            assert may <= frames.MAX_STREAM
            streams[number].may_send = may


def _take(seen: Seen, data: bytes) -> None:
    assert data
    assert not seen.cancelled
    assert len(data) <= seen.may_receive
    seen.may_receive -= len(data)
