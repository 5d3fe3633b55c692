"""What a program's worker says of it, with what PID 1 adds: one frame, or the loss of that one stream."""

from __future__ import annotations

import pytest

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame
from sandbox.guest.objects import decode_object, encode_object
from sandbox.guest.stream import LOST
from tests.fuzz.guesting import PAYLOADS, Guesting

PROGRAM = PAYLOADS[2]
ADDED: dict[str, object] = {"timed_out": False, "truncated_bytes": 0}
ROOM_BYTES = frames.MAX_PAYLOAD_BYTES - len(b'{"told":""}')
ADDED_BYTES = len(b',"timed_out":false,"truncated_bytes":0')


def answer(guest: Guesting, payload: bytes) -> Frame:
    """Have a program's worker answer with `payload`, and return what the host is told."""
    guest.hears(frames.encode(frames.OPEN, 1, PROGRAM))
    guest.turns()
    worker = next(worker for worker in guest.pool if worker.stream)
    end = guest.pool.ends[worker.process]
    guest._read(end)  # the request, and the pipes' other ends with it
    said, heard = memoryview(frames.encode(frames.RESULT, 1, payload)), Decoder()
    for _ in range(100):
        if said:
            said = said[end.send(said[:65_536]) :]
        guest.turns()
        for frame in heard.feed(guest._read(guest._host)):
            return frame
    raise AssertionError("the host was told nothing")


@pytest.mark.parametrize(
    ("told_bytes", "kind"),
    [
        (ROOM_BYTES - ADDED_BYTES, frames.RESULT),
        (ROOM_BYTES - ADDED_BYTES + 1, frames.FAIL),
        (ROOM_BYTES, frames.FAIL),
    ],
)
def test_a_result_that_outgrows_its_frame_costs_its_stream_and_not_the_guest(
    told_bytes: int, kind: int
) -> None:
    """A worker may be taken over, and PID 1 puts its own facts into what that worker said."""
    told = "x" * told_bytes

    with Guesting() as guest:
        heard = answer(guest, encode_object({"told": told}))
        goes_on = answer_to_the_next(guest)

    assert (heard.kind, heard.stream) == (kind, 1)
    expected = {"told": told, **ADDED} if kind == frames.RESULT else LOST
    assert decode_object(heard.payload) == expected
    assert goes_on


def answer_to_the_next(guest: Guesting) -> bool:
    """Tell whether the guest takes another request."""
    guest.hears(frames.encode(frames.OPEN, 3, PAYLOADS[0]))
    guest.turns()
    return not guest.lost and any(worker.stream == 3 for worker in guest.pool)
