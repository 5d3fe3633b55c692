from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import frames
from sandbox.guest.frames import ProtocolError
from sandbox.guest.objects import encode_object
from sandbox.link_state import (
    MAX_STREAMS,
    BeatAnswered,
    BodyReceived,
    CreditReceived,
    ErrorsReceived,
    Failed,
    Finished,
    Greeted,
    LinkState,
)

HELLO = frames.encode(frames.HELLO, 0, encode_object({"version": 1, "nonce": "n", "facts": {}}))


def greeted() -> LinkState:
    state = LinkState()
    state.hello(nonce="n", lease_seconds=10, wall_seconds=60)
    assert state.feed(HELLO) == [Greeted("n", {})]
    return state


def opened(state: LinkState) -> int:
    return state.open("files.stat", {"path": "a"})[0]


def test_a_call_goes_through_its_whole_life() -> None:
    state = greeted()
    stream = opened(state)
    answer = (
        frames.encode(frames.BODY, stream, b"out")
        + frames.encode(frames.ERRORS, stream, b"err")
        + frames.encode_credit(stream, 5)
        + frames.encode(frames.RESULT, stream, b"{}")
    )

    events = state.feed(answer)

    assert events == [
        BodyReceived(stream, b"out"),
        ErrorsReceived(stream, b"err"),
        CreditReceived(stream),
        Finished(stream, {}),
    ]
    assert not state.is_open(stream)


def test_the_host_opens_odd_streams_and_never_one_twice() -> None:
    state = greeted()

    assert [opened(state) for _ in range(3)] == [1, 3, 5]


def test_a_failure_carries_its_code_and_closes_the_stream() -> None:
    state = greeted()
    stream = opened(state)

    events = state.feed(frames.encode(frames.FAIL, stream, b'{"code":"not-found","message":"no"}'))

    assert events == [Failed(stream, "not-found", "no")]
    assert state.cancel(stream) == b""


def test_a_beat_is_answered_once() -> None:
    state = greeted()
    state.beat()

    assert state.feed(frames.encode(frames.BEAT, 0)) == [BeatAnswered()]
    with pytest.raises(ProtocolError, match="answers none"):
        state.feed(frames.encode(frames.BEAT, 0))


HOSTILE = {
    "a second hello": HELLO,
    "a stream that was never opened": frames.encode(frames.BODY, 3, b"x"),
    "a stream of its own": frames.encode(frames.OPEN, 2, b"{}"),
    "an OPEN on the host's stream": frames.encode(frames.OPEN, 1, b"{}"),
    "a CANCEL": frames.encode(frames.CANCEL, 1),
    "an END": frames.encode(frames.END, 1),
    "credit of nothing": frames.encode(frames.CREDIT, 1, bytes(4)),
    "credit beyond all use": frames.encode_credit(1, 0xFFFFFFFF),
    "a body after the result": frames.encode(frames.RESULT, 1, b"{}") + frames.encode(frames.BODY, 1, b"x"),
    "two results": frames.encode(frames.RESULT, 1, b"{}") * 2,
    "a body beyond its credit": frames.encode(frames.BODY, 1, bytes(200_000)) * 2,
    "errors beyond the credit that body used": (
        frames.encode(frames.BODY, 1, bytes(262_144)) + frames.encode(frames.ERRORS, 1, b"x")
    ),
    "a result that is no object": frames.encode(frames.RESULT, 1, b"[]"),
    "a failure without a code": frames.encode(frames.FAIL, 1, b'{"message":"x"}'),
    "a failure with a code of many words": frames.encode(frames.FAIL, 1, b'{"code":"a b","message":"x"}'),
    "a failure with an endless message": frames.encode(
        frames.FAIL, 1, encode_object({"code": "a", "message": "x" * 10_000})
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_guest_that_breaks_a_rule_is_found_out(data: bytes) -> None:
    state = greeted()
    opened(state)

    with pytest.raises(ProtocolError):
        state.feed(data)


@pytest.mark.parametrize("kind", [kind for kind in frames.NAMES if kind != frames.HELLO])
def test_nothing_may_come_before_the_hello(kind: int) -> None:
    state = LinkState()
    state.hello(nonce="n", lease_seconds=10, wall_seconds=60)
    opened(state)
    payload = {frames.CREDIT: bytes(4), frames.BEAT: b"", frames.END: b"", frames.CANCEL: b""}.get(
        kind, b"{}"
    )

    with pytest.raises(ProtocolError, match="before HELLO"):
        state.feed(frames.encode(kind, 0 if kind == frames.BEAT else 1, payload))


def test_a_hello_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        LinkState().feed(HELLO)


@pytest.mark.parametrize(
    "hello",
    [{"version": 2, "nonce": "n", "facts": {}}, {"version": 1, "facts": {}}, {"version": 1, "nonce": "n"}],
)
def test_a_hello_that_says_too_little_is_refused(hello: dict[str, object]) -> None:
    state = LinkState()
    state.hello(nonce="n", lease_seconds=10, wall_seconds=60)

    with pytest.raises(ProtocolError):
        state.feed(frames.encode(frames.HELLO, 0, encode_object(hello)))  # type: ignore[arg-type]


def test_credit_given_is_credit_that_may_be_used() -> None:
    state = greeted()
    stream = opened(state)
    full = frames.encode(frames.BODY, stream, bytes(frames.INITIAL_CREDIT_BYTES))
    state.feed(full)

    state.grant(stream, 10)

    assert state.feed(frames.encode(frames.BODY, stream, bytes(10))) == [BodyReceived(stream, bytes(10))]
    with pytest.raises(ProtocolError, match="credit was for 0"):
        state.feed(frames.encode(frames.BODY, stream, b"x"))


def test_the_host_sends_no_more_than_its_credit() -> None:
    state = greeted()
    stream = opened(state)
    state.body(stream, bytes(frames.INITIAL_CREDIT_BYTES))

    with pytest.raises(ValueError, match="credit allows 0"):
        state.body(stream, b"x")
    state.feed(frames.encode_credit(stream, 1))
    assert state.body(stream, b"x")


def test_more_streams_than_the_guest_takes_are_not_opened() -> None:
    state = greeted()
    for _ in range(MAX_STREAMS):
        opened(state)

    with pytest.raises(ValueError, match="fewer than 256"):
        opened(state)


def test_arguments_that_do_not_fit_into_a_frame_are_not_sent() -> None:
    with pytest.raises(ValueError, match="at most 262144"):
        greeted().open("files.stat", {"path": "x" * 300_000})


@st.composite
def almost_frames(draw: st.DrawFn) -> bytes:
    """Bytes that look like frames, so that the rules behind the header are reached."""
    kind = draw(st.integers(0, 12))
    stream = draw(st.sampled_from([0, 1, 2, 3, 5, 7, 0xFFFFFFFF]))
    objects = st.sampled_from([b"{}", b'{"code":"x","message":"y"}', HELLO[9:], b"[]", b"\xff"])
    payload = draw(st.one_of(objects, st.binary(max_size=8)))
    length = draw(st.one_of(st.just(len(payload)), st.integers(0, 2**32 - 1)))
    return frames.HEADER.pack(length, kind, stream) + payload


@given(st.lists(st.one_of(almost_frames(), st.binary(max_size=30)), max_size=12))
def test_whatever_a_guest_sends_it_is_events_or_a_protocol_error(pieces: list[bytes]) -> None:
    state = greeted()
    for _ in range(3):
        opened(state)
    state.beat()

    for piece in pieces:
        try:
            state.feed(piece)
        except ProtocolError:
            return
        assert state.held_bytes <= frames.MAX_PAYLOAD_BYTES + frames.HEADER.size
