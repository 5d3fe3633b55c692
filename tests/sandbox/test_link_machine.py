"""The host's end of the link against a guest that sends anything in any order; Hypothesis looks for a way."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sandbox.guest import frames
from sandbox.link_state import MAX_STREAMS
from tests.fuzz.hosting import CONNECT, HELD_BYTES, PAYLOADS, Hosting

NUMBERS = st.integers(0, 12)
SIZES = st.sampled_from([1, 4096, 131_072, 262_144])


class HostileGuest(RuleBasedStateMachine):
    """One link, from its greeting on. What the host believes is held to the model of `Hosting`."""

    host: Hosting

    @initialize(sealed=st.booleans(), accepting=st.booleans())
    def greet(self, sealed: bool, accepting: bool) -> None:  # noqa: FBT001 (drawn)
        """Begin one link."""
        self.host = Hosting(sealed=sealed, accepting=accepting)

    def goes_on(self) -> bool:
        """Tell whether the link is not lost."""
        return not self.host.lost

    def is_clean(self) -> bool:
        """Tell whether no half of a frame waits, so that the next one is read for what it is."""
        return self.goes_on() and self.host.state.held_bytes == 0

    @precondition(lambda self: self.host.lost)
    @rule(data=st.binary(max_size=40), sealed=st.booleans(), accepting=st.booleans())
    def another_link_begins(self, data: bytes, sealed: bool, accepting: bool) -> None:  # noqa: FBT001 (drawn)
        """Begin again; the lost one stays lost."""
        assert not self.host.hears(data)
        self.host = Hosting(sealed=sealed, accepting=accepting)

    @precondition(goes_on)
    @rule()
    def the_host_opens(self) -> None:
        """Open a stream."""
        self.host.opens()

    @precondition(goes_on)
    @rule()
    def the_host_beats(self) -> None:
        """Beat."""
        self.host.beats()

    @precondition(goes_on)
    @rule(number=NUMBERS, count=SIZES)
    def the_host_speaks(self, number: int, count: int) -> None:
        """Send a body."""
        self.host.says(number, count)

    @precondition(goes_on)
    @rule(number=NUMBERS, count=SIZES)
    def the_host_grants(self, number: int, count: int) -> None:
        """Give credit."""
        self.host.grants(number, count)

    @precondition(goes_on)
    @rule(number=NUMBERS)
    def the_host_cancels(self, number: int) -> None:
        """Cancel a stream, or refuse a connection."""
        self.host.cancels(number)

    @precondition(goes_on)
    @rule(number=NUMBERS)
    def the_host_answers(self, number: int) -> None:
        """Answer a connection."""
        self.host.answers(number)

    @precondition(goes_on)
    @rule(data=st.binary(max_size=40))
    def the_guest_makes_noise(self, data: bytes) -> None:
        """Send bytes that are mostly no frame."""
        self.host.hears(data)

    @precondition(goes_on)
    @rule(kind=st.integers(0, 12), number=NUMBERS, payload=st.sampled_from(PAYLOADS))
    def the_guest_sends_a_frame(self, kind: int, number: int, payload: bytes) -> None:
        """Send a frame with the right shape, or nearly."""
        self.host.hears(self.host.frame(kind, number, payload))

    @precondition(is_clean)
    @rule(kind=st.sampled_from([frames.BODY, frames.ERRORS]), count=SIZES, data=st.data())
    def the_guest_sends_bytes(self, kind: int, count: int, data: st.DataObject) -> None:
        """Send a body on an open stream: it is taken exactly within its credit."""
        streams = {**self.host.open, **self.host.connections}
        if streams:
            number = data.draw(st.sampled_from(sorted(streams)))
            told = self.host.hears(self.host.frame(kind, number, bytes(count)))
            lawful = kind == frames.BODY or number % 2 == 1
            assert (
                told
                or not lawful
                or count > streams[number].may_receive
                or streams[number].ended
                or (streams[number].cancelled)
            )

    @precondition(is_clean)
    @rule()
    def the_guest_opens_the_next(self) -> None:
        """Open a connection: exactly where and when it may."""
        full = len(self.host.connections) >= frames.MAX_CONNECTIONS
        following = self.host.newest_connection + 2
        told = self.host.hears(self.host.frame(frames.OPEN, following, CONNECT))
        assert told == (self.host.accepting and not full)

    @precondition(is_clean)
    @rule(data=st.data())
    def the_guest_answers(self, data: st.DataObject) -> None:
        """Answer an operation: always taken."""
        if self.host.open:
            number = data.draw(st.sampled_from(sorted(self.host.open)))
            assert self.host.hears(self.host.frame(frames.RESULT, number, b"{}"))
            assert number not in self.host.open

    @precondition(is_clean)
    @rule(pieces=st.lists(st.integers(1, 30), min_size=1, max_size=4))
    def the_guest_beats_in_pieces(self, pieces: list[int]) -> None:
        """Answer a beat, cut anywhere: taken exactly when one is owed."""
        owed = self.host.beats_owed
        whole = self.host.frame(frames.BEAT, 0, b"")
        at = 0
        for piece in [*pieces, len(whole)]:
            if at < len(whole) and not self.host.lost:
                self.host.hears(whole[at : at + piece])
                at += piece
        assert self.host.lost == (owed == 0)

    @invariant()
    def little_is_kept(self) -> None:
        """Keep little, whatever came."""
        host = getattr(self, "host", None)
        if host is not None:
            assert host.state.held_bytes <= HELD_BYTES
            assert len(host.open) <= MAX_STREAMS
            assert len(host.connections) <= frames.MAX_CONNECTIONS


TestHostileGuest = HostileGuest.TestCase
TestHostileGuest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
