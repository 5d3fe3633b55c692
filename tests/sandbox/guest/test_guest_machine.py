"""The guest's streams between a host that sends anything and workers that were taken over; by Hypothesis."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sandbox.guest import frames
from tests.fuzz.guesting import PAYLOADS, Guesting

NUMBERS = st.integers(0, 9)
KINDS = st.integers(0, 12)


class Besieged(RuleBasedStateMachine):
    """One guest. A host that breaks a rule ends it; a worker that breaks one ends itself."""

    def __init__(self) -> None:
        super().__init__()
        self.guest = Guesting()
        self.next = 1
        self.left: list[Guesting] = []

    def teardown(self) -> None:
        """Close what is open."""
        for guest in [*self.left, self.guest]:
            guest.close()

    def goes_on(self) -> bool:
        """Tell whether the host has broken no rule."""
        return not self.guest.lost

    @precondition(lambda self: self.guest.lost)
    @rule()
    def another_guest_begins(self) -> None:
        """Begin again."""
        self.left.append(self.guest)
        self.guest, self.next = Guesting(), 1

    @precondition(goes_on)
    @rule(payload=st.sampled_from(PAYLOADS[:4]))
    def the_host_asks(self, payload: bytes) -> None:
        """Open the next stream."""
        self.guest.hears(frames.encode(frames.OPEN, self.next, payload))
        self.next += 2

    @precondition(goes_on)
    @rule(number=NUMBERS, count=st.sampled_from([1, 65_536, 262_144]), ends=st.booleans())
    def the_host_sends_a_body(self, number: int, count: int, ends: bool) -> None:  # noqa: FBT001 (drawn)
        """Send body bytes, within credit or beyond it."""
        end = frames.encode(frames.END, 2 * number + 1) if ends else b""
        self.guest.hears(frames.encode(frames.BODY, 2 * number + 1, bytes(count)) + end)

    @precondition(goes_on)
    @rule(number=NUMBERS)
    def the_host_cancels(self, number: int) -> None:
        """Cancel a stream."""
        self.guest.hears(frames.encode(frames.CANCEL, 2 * number + 1))

    @precondition(goes_on)
    @rule(kind=KINDS, number=NUMBERS, payload=st.sampled_from(PAYLOADS))
    def the_host_sends_a_frame(self, kind: int, number: int, payload: bytes) -> None:
        """Send a frame that is nearly lawful."""
        self.guest.hears(frames.HEADER.pack(len(payload), kind, number) + payload)

    @rule()
    def the_host_reads(self) -> None:
        """Take what the guest says."""
        self.guest.host_reads()

    @rule(which=NUMBERS, data=st.binary(max_size=30))
    def a_worker_makes_noise(self, which: int, data: bytes) -> None:
        """Send what is mostly no frame, or hang up."""
        self.guest.worker_says(which, data)

    @rule(which=NUMBERS, kind=KINDS, payload=st.sampled_from(PAYLOADS))
    def a_worker_sends_a_frame(self, which: int, kind: int, payload: bytes) -> None:
        """Send a frame of a worker's own stream, that it may send or not."""
        workers = list(self.guest.pool)
        if workers:
            self.guest.worker_frame(workers[which % len(workers)], kind, payload)

    @rule(which=NUMBERS, number=NUMBERS, data=st.booleans())
    def a_worker_speaks_for_another(self, which: int, number: int, data: bool) -> None:  # noqa: FBT001 (drawn)
        """Send a body or an outcome on a stream of somebody else's: it is never believed."""
        workers = list(self.guest.pool)
        if workers:
            worker = workers[which % len(workers)]
            others = [other.stream for other in workers if other is not worker and other.stream]
            if others:
                stream = others[number % len(others)]
                kind = frames.BODY if data else frames.RESULT
                self.guest.worker_says_as(worker, kind, stream, b'{"forged":true}')

    @rule(which=NUMBERS)
    def a_worker_answers(self, which: int) -> None:
        """Do what a good worker does."""
        self.guest.worker_answers(which)

    @rule(which=NUMBERS, dead=st.booleans())
    def a_program_signals_a_worker(self, which: int, dead: bool) -> None:  # noqa: FBT001 (drawn)
        """Stop or kill one."""
        self.guest.signalled(which, dead=dead)

    @rule(later=st.sampled_from([0.0, 0.1, 40.0]))
    def the_loop_turns(self, later: float) -> None:
        """Let the loop do its work, now or after a while."""
        self.guest.turns(later_seconds=later)


TestBesieged = Besieged.TestCase
TestBesieged.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)


def test_every_request_is_answered_once_however_its_worker_ends() -> None:
    """The twin: a lawful host and workers that answer, die, hang up or hang; nothing is left waiting."""
    with Guesting() as guest:
        for number in range(1, 121, 2):
            guest.hears(frames.encode(frames.OPEN, number, PAYLOADS[0]))
        for turn in range(400):
            match turn % 4:
                case 0:
                    guest.worker_answers(turn)
                case 1:
                    guest.signalled(turn, dead=True)
                case 2:
                    guest.worker_says(turn, b"\xff" * 20)
                case _:
                    guest.turns(later_seconds=40.0 if turn % 20 == 19 else 0.0)
            guest.host_reads()

    assert not guest.lost
    assert guest.answered == set(range(1, 121, 2))


def test_a_worker_that_dies_with_its_answer_while_others_wait_is_not_lent_again() -> None:
    """PID 1 reads the answer, lends the worker at once to the next in the queue, and finds it dead."""
    with Guesting() as guest:
        for number in range(1, 41, 2):
            guest.hears(frames.encode(frames.OPEN, number, PAYLOADS[0]))
        for turn in range(200):
            guest.worker_answers(0, dies=True)
            guest.turns(later_seconds=0.0 if turn % 2 else 40.0)
            guest.host_reads()

    assert guest.answered == set(range(1, 41, 2))
