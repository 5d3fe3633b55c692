"""Sealed links: what is forged, repeated, left out or changed is found, and no key is left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame, ProtocolError
from sandbox.guest.objects import encode_object
from sandbox.guest.seal import FROM_GUEST, FROM_HOST, Seal, fresh_key
from sandbox.link_events import BeatAnswered, Finished, Greeted
from sandbox.link_state import LinkState

KEY = bytes(range(32))
ANNOUNCED = frames.encode(
    frames.HELLO, 0, encode_object({"version": frames.VERSION, "nonce": "n", "seal": True, "facts": {}})
)
SEALED = frames.encode(frames.SEAL, 0, KEY)


def greeting() -> LinkState:
    state = LinkState()
    state.hello(nonce="n", lease_seconds=10, wall_seconds=60)
    return state


def sealed() -> tuple[LinkState, Seal]:
    """Return the host's side of a sealed link, and the guest's seal."""
    state = greeting()
    assert state.feed(ANNOUNCED + SEALED) == [Greeted("n", {})]
    return state, Seal(KEY, FROM_GUEST)


def three_frames(seal: Seal | None) -> list[bytes]:
    """Return the frames of a short conversation on stream 1."""
    sent = [(frames.BODY, 1, b"out"), (frames.ERRORS, 1, b"err"), (frames.RESULT, 1, b"{}")]
    return [frames.encode(kind, stream, payload, seal=seal) for kind, stream, payload in sent]


def test_the_guest_is_greeted_only_when_the_key_has_come() -> None:
    state = greeting()

    assert state.feed(ANNOUNCED) == []
    assert not state.is_sealed
    assert state.feed(SEALED) == [Greeted("n", {})]
    assert state.is_sealed


def test_what_both_sides_seal_both_sides_read() -> None:
    state, guests = sealed()
    number, opening = state.open("files.stat", {"path": "a"})
    beat = state.beat()
    decoder = Decoder()
    decoder.seal(Seal(KEY, FROM_HOST))

    heard = decoder.feed(opening + beat)
    events = state.feed(
        frames.encode(frames.BEAT, 0, seal=guests) + frames.encode(frames.RESULT, number, b"{}", seal=guests)
    )

    assert [frame.kind for frame in heard] == [frames.OPEN, frames.BEAT]
    assert events == [BeatAnswered(), Finished(number, {})]


FORGERIES = {
    "without a tag": lambda _: b"".join(three_frames(None)),
    "a tag of zeros": lambda _: frames.HEADER.pack(2, frames.RESULT, 1) + bytes(8) + b"{}",
    "another key": lambda _: three_frames(Seal(bytes(32), FROM_GUEST))[2],
    "the host's own direction": lambda _: three_frames(Seal(KEY, FROM_HOST))[2],
    "a frame twice": lambda ours: ours[0] * 2,
    "a frame left out": lambda ours: ours[1],
    "two frames in another order": lambda ours: ours[1] + ours[0],
    "another stream": lambda ours: ours[0][:8] + b"\3" + ours[0][9:],
    "another type": lambda ours: ours[0][:4] + bytes([frames.ERRORS]) + ours[0][5:],
    "another payload": lambda ours: ours[0][:-1] + b"x",
    "another tag": lambda ours: ours[0][:9] + bytes([ours[0][9] ^ 1]) + ours[0][10:],
    "a byte in between": lambda ours: ours[0] + b"\0" + ours[1] + ours[2],
    "a byte taken out": lambda ours: ours[0][1:] + ours[1] + ours[2],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_frame_is_found(forge: object) -> None:
    assert callable(forge)
    state, guests = sealed()
    for _ in range(2):
        state.open("files.stat", {"path": "a"})

    with pytest.raises(ProtocolError):
        state.feed(forge(three_frames(guests)))


def test_the_same_frames_unforged_are_taken() -> None:
    state, guests = sealed()
    state.open("files.stat", {"path": "a"})

    assert state.feed(b"".join(three_frames(guests)))[-1] == Finished(1, {})


@given(st.data())
def test_no_single_changed_bit_goes_unseen(data: st.DataObject) -> None:
    state, guests = sealed()
    state.open("files.stat", {"path": "a"})
    whole = bytearray(b"".join(three_frames(guests)))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8

    try:
        events = state.feed(bytes(whole))
    except ProtocolError:
        return
    assert not any(isinstance(event, Finished) for event in events)  # a length that grew: it still waits


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (SEALED, "did not announce"),
        (ANNOUNCED + frames.encode(frames.BEAT, 0), "before HELLO"),
        (ANNOUNCED + ANNOUNCED, "not asked for"),
        (ANNOUNCED + SEALED + SEALED, "bytes behind"),
        (ANNOUNCED + SEALED + b"\0", "bytes behind"),
    ],
    ids=["no hello", "no key", "two hellos", "two keys", "bytes that no seal covers"],
)
def test_a_seal_comes_once_and_first(first: bytes, reason: str) -> None:
    state = greeting()

    with pytest.raises(ProtocolError, match=reason):
        state.feed(first)


def test_a_second_key_is_no_frame_of_a_sealed_link() -> None:
    state, guests = sealed()

    with pytest.raises(ProtocolError, match="did not announce"):
        state.feed(frames.encode(frames.SEAL, 0, KEY, seal=guests))


@given(st.lists(st.integers(1, 30), min_size=1))
def test_sealed_frames_survive_any_cutting_of_the_stream(cuts: list[int]) -> None:
    state, guests = sealed()
    state.open("files.stat", {"path": "a"})
    whole = b"".join(three_frames(guests))
    events = []

    at = turn = 0
    while at < len(whole):
        step = cuts[turn % len(cuts)]
        events += state.feed(whole[at : at + step])
        at, turn = at + step, turn + 1

    assert events[-1] == Finished(1, {})
    assert state.held_bytes == 0


def test_the_largest_frame_is_held_with_its_tag_and_no_more() -> None:
    decoder, seal = Decoder(), Seal(KEY, FROM_GUEST)
    decoder.seal(seal)
    largest = bytes(frames.MAX_PAYLOAD_BYTES)
    whole = frames.encode(frames.BODY, 1, largest, seal=Seal(KEY, FROM_GUEST))

    assert decoder.feed(whole[:-1]) == []
    assert decoder.held_bytes == frames.MAX_PAYLOAD_BYTES + frames.HEADER.size + frames.TAG_BYTES - 1
    assert decoder.feed(whole[-1:]) == [Frame(frames.BODY, 1, largest)]


def test_keys_are_fresh() -> None:
    assert len({bytes(fresh_key()) for _ in range(20)}) == 20


FORGETTING = """
import os
from sandbox.guest.wire import Wire

def copies(mask):
    # The key itself must not be in this code: it is told apart from its complement, which is kept instead.
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if " rw" not in line:
                continue
            memory.seek(start)
            try:
                held = memory.read(end - start)
            except OSError:
                continue
            at = 0
            while (at := held.find(mask[0] ^ 0xFF, at)) >= 0 and at + 32 <= len(held):
                found += all(held[at + i] ^ 0xFF == mask[i] for i in range(32))
                at += 1
            del held
    return found

there, sink = os.pipe()
source, here = os.pipe()
wire = Wire(source, sink)
wire.seal()
frame = bytearray(41)
os.readv(there, [frame])
mask = bytes(byte ^ 0xFF for byte in frame[9:])
frame[:] = bytes(41)
before = copies(mask)
wire.forget()
print(before > 0, copies(mask))
"""


def test_a_worker_that_forgot_the_key_holds_no_copy_of_it() -> None:
    """It looks through its own memory: the key is in the seals before, and nowhere after."""
    done = subprocess.run([sys.executable, "-c", FORGETTING], capture_output=True, check=True, text=True)

    assert done.stdout == "True 0\n"
