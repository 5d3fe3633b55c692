from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame, ProtocolError
from sandbox.guest.objects import MAX_DEPTH, decode_object, encode_object

BARE_PATH = f"import sys; sys.path.append({str(Path(frames.__file__).parents[2])!r})\n"
KINDS = sorted(set(frames.NAMES) - {frames.SEAL})


@st.composite
def lawful(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(KINDS))
    stream = 0 if kind in (frames.HELLO, frames.BEAT) else draw(st.integers(1, frames.MAX_STREAM))
    smallest = {frames.CREDIT: 4, frames.BEAT: 0, frames.END: 0, frames.CANCEL: 0}.get(kind, 2)
    largest = smallest if kind in (frames.CREDIT, frames.BEAT, frames.END, frames.CANCEL) else 300
    return Frame(kind, stream, draw(st.binary(min_size=smallest, max_size=largest)))


@given(st.lists(lawful(), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(frames.encode(frame.kind, frame.stream, frame.payload) for frame in sent)
    decoder = Decoder()
    received: list[Frame] = []

    at = turn = 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        received += decoder.feed(data[at : at + step])
        at += step
        turn += 1

    assert received == sent
    assert decoder.held_bytes == 0


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_hostile_bytes_raise_nothing_but_a_protocol_error(pieces: list[bytes]) -> None:
    decoder = Decoder()

    for piece in pieces:
        try:
            decoder.feed(piece)
        except ProtocolError:
            with pytest.raises(ProtocolError, match="after a protocol error"):
                decoder.feed(b"")
            assert decoder.held_bytes == 0
            return
        assert decoder.held_bytes <= frames.MAX_PAYLOAD_BYTES + frames.HEADER.size


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((frames.MAX_PAYLOAD_BYTES + 1, frames.BODY, 1), "at most 262144"),
        ((0xFFFFFFFF, frames.OPEN, 1), "at most 262144"),
        ((0, 0, 1), "type `0` does not exist"),
        ((0, 12, 1), "type `12` does not exist"),
        ((0, frames.BODY, 1), "at least 1"),
        ((1, frames.BEAT, 0), "at most 0"),
        ((3, frames.CREDIT, 1), "at least 4"),
        ((5, frames.CREDIT, 1), "at most 4"),
        ((2, frames.HELLO, 1), "only HELLO, BEAT and SEAL"),
        ((1, frames.BODY, 0), "only HELLO, BEAT and SEAL"),
    ],
)
def test_a_header_that_no_frame_may_have_is_refused_before_its_payload(
    header: tuple[int, int, int], reason: str
) -> None:
    decoder = Decoder()

    with pytest.raises(ProtocolError, match=reason):
        decoder.feed(frames.HEADER.pack(*header))


def test_the_largest_payload_passes_and_one_more_byte_does_not() -> None:
    largest = bytes(frames.MAX_PAYLOAD_BYTES)

    assert Decoder().feed(frames.encode(frames.BODY, 1, largest)) == [Frame(frames.BODY, 1, largest)]
    with pytest.raises(ProtocolError, match="262145"):
        frames.encode(frames.BODY, 1, largest + b"x")


def test_credit_of_nothing_is_refused() -> None:
    with pytest.raises(ProtocolError, match="`0` bytes"):
        frames.credit_of(Frame(frames.CREDIT, 1, bytes(4)))
    assert frames.credit_of(Frame(frames.CREDIT, 1, b"\0\0\1\0")) == 256


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), TREES, max_size=5))
def test_an_object_comes_back_as_it_was(value: dict[str, object]) -> None:
    assert decode_object(encode_object(value)) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" {}",
        b"{} ",
        b"[]",
        b"1",
        b"{",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 40 + b"}",
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b"{'a':1}",
        b'{"a":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b'{"a":' * 100_000,
    ],
    ids=lambda payload: payload[:20],
)
def test_what_is_not_one_strict_object_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_object(payload)


BARE = """
import sys
from sandbox.guest.frames import ProtocolError
from sandbox.guest.objects import decode_object
refused = 0
for payload in (b"{", b"[1", b'{"a"', b'{"a":', b'{"a":1,}', b'{"a' + bytes([34, 58, 34])):
    try: decode_object(payload)
    except ProtocolError: refused += 1
print(refused, "json" in sys.modules)
"""


def test_what_is_not_json_is_refused_where_the_json_package_is_not_loaded_too() -> None:
    """As in the guest: there the C scanner of Python 3.11 answers a syntax error with a SystemError."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BARE_PATH + BARE], capture_output=True, check=True, text=True
    )

    assert done.stdout == "6 False\n"


def test_brackets_in_a_text_are_no_depth() -> None:
    value = {"a": "[" * 1000 + '"\\', "b": [[1]]}

    assert decode_object(encode_object(value)) == value  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_hostile_payloads_raise_nothing_but_a_protocol_error(payload: bytes) -> None:
    try:
        value = decode_object(payload)
    except ProtocolError:
        return
    assert isinstance(value, dict)
    encode_object(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", b"x", {1}])
def test_what_json_has_no_form_for_is_not_sent(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_object({"a": value})  # type: ignore[dict-item]
