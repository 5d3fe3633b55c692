from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import frames
from sandbox.guest.frames import ProtocolError
from sandbox.guest.objects import encode_object
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

HELLO = frames.encode(
    frames.HELLO, 0, encode_object({"version": 2, "nonce": "n", "seal": False, "facts": {}})
)


def greeted() -> LinkState:
    state = LinkState()
    state.hello(nonce="n", lease_seconds=10, wall_seconds=60)
    assert state.feed(HELLO) == [Greeted("n", {})]
    return state


def opened(state: LinkState) -> int:
    return state.open("files.stat", {"path": "a"})[0]


CONNECT = encode_object({"op": "egress.connect"})


def accepting() -> LinkState:
    state = greeted()
    state.accept()
    return state


def connected(state: LinkState, stream: int = 2) -> int:
    assert state.feed(frames.encode(frames.OPEN, stream, CONNECT)) == [Opened(stream)]
    return stream


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
    empty = dict.fromkeys((frames.BEAT, frames.END, frames.CANCEL), b"")
    payload = {frames.CREDIT: bytes(4), frames.SEAL: bytes(32), **empty}.get(kind, b"{}")

    with pytest.raises(ProtocolError, match=r"before HELLO|did not announce"):
        state.feed(frames.encode(kind, 0 if kind in (frames.BEAT, frames.SEAL) else 1, payload))


def test_a_hello_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        LinkState().feed(HELLO)


@pytest.mark.parametrize(
    "hello",
    [
        {"version": 1, "nonce": "n", "seal": False, "facts": {}},
        {"version": 2, "seal": False, "facts": {}},
        {"version": 2, "nonce": "n", "seal": False},
        {"version": 2, "nonce": "n", "facts": {}},
        {"version": 2, "nonce": "n", "seal": 1, "facts": {}},
    ],
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


def test_a_connection_of_the_guest_goes_through_its_whole_life() -> None:
    state = accepting()
    stream = connected(state)

    events = state.feed(
        frames.encode(frames.BODY, stream, b"in")
        + frames.encode_credit(stream, 5)
        + frames.encode(frames.END, stream)
    )
    sent = state.body(stream, b"out") + state.end(stream) + state.answer(stream)

    assert events == [ConnectionBody(stream, b"in"), ConnectionCredit(stream), Ended(stream)]
    assert sent == (
        frames.encode(frames.BODY, stream, b"out")
        + frames.encode(frames.END, stream)
        + frames.encode(frames.RESULT, stream, b"{}")
    )
    assert not state.is_open(stream)
    assert state.answer(stream) == state.refuse(stream, "failed", "x") == b""


def test_a_connection_that_the_guest_cancels_is_open_until_it_is_answered() -> None:
    state = accepting()
    stream = connected(state)

    assert state.feed(frames.encode(frames.CANCEL, stream)) == [Cancelled(stream)]
    assert state.is_open(stream)
    assert state.refuse(stream, "cancelled", "x")
    assert not state.is_open(stream)


@pytest.mark.parametrize("kind", [frames.BODY, frames.END, frames.CREDIT, frames.CANCEL])
def test_what_crosses_the_answer_on_its_way_says_nothing(kind: int) -> None:
    state = accepting()
    stream = connected(state)
    state.answer(stream)
    payload = {frames.BODY: b"x", frames.CREDIT: bytes([0, 0, 0, 1])}.get(kind, b"")

    assert state.feed(frames.encode(kind, stream, payload)) == []


def test_connections_and_operations_do_not_count_against_each_other() -> None:
    state = accepting()
    for number in range(frames.MAX_CONNECTIONS):
        connected(state, 2 * number + 2)
    for _ in range(MAX_STREAMS):
        opened(state)

    with pytest.raises(ValueError, match="fewer than 256"):
        opened(state)
    with pytest.raises(ProtocolError, match="more than 200"):
        connected(state, 2 * frames.MAX_CONNECTIONS + 2)


def test_a_connection_that_was_answered_makes_room_for_another() -> None:
    state = accepting()
    for number in range(frames.MAX_CONNECTIONS):
        connected(state, 2 * number + 2)

    state.answer(2)

    connected(state, 2 * frames.MAX_CONNECTIONS + 2)


HALF = frames.CONNECTION_CREDIT_BYTES // 2
HOSTILE_CONNECTIONS = {
    "an odd number": frames.encode(frames.OPEN, 3, CONNECT),
    "the host's stream": frames.encode(frames.OPEN, 1, CONNECT),
    "a number twice": frames.encode(frames.OPEN, 2, CONNECT),
    "a number that falls": frames.encode(frames.OPEN, 8, CONNECT) + frames.encode(frames.OPEN, 4, CONNECT),
    "another operation": frames.encode(frames.OPEN, 4, b'{"op":"files.read"}'),
    "no operation": frames.encode(frames.OPEN, 4, b"{}"),
    "an argument": frames.encode(frames.OPEN, 4, b'{"op":"egress.connect","host":"example.com"}'),
    "no object": frames.encode(frames.OPEN, 4, b"[]"),
    "a body before it is open": frames.encode(frames.BODY, 4, b"x"),
    "a cancel before it is open": frames.encode(frames.CANCEL, 4),
    "a body after the end": frames.encode(frames.END, 2) + frames.encode(frames.BODY, 2, b"x"),
    "two ends": frames.encode(frames.END, 2) * 2,
    "a body after the cancel": frames.encode(frames.CANCEL, 2) + frames.encode(frames.BODY, 2, b"x"),
    "two cancels": frames.encode(frames.CANCEL, 2) * 2,
    "errors": frames.encode(frames.ERRORS, 2, b"x"),
    "a result of its own": frames.encode(frames.RESULT, 2, b"{}"),
    "a failure of its own": frames.encode(frames.FAIL, 2, b'{"code":"x","message":"y"}'),
    "a body beyond its credit": frames.encode(frames.BODY, 2, bytes(HALF)) * 2
    + frames.encode(frames.BODY, 2, b"x"),
    "credit of nothing": frames.encode(frames.CREDIT, 2, bytes(4)),
    "credit beyond all use": frames.encode_credit(2, 0xFFFFFFFF),
}


@pytest.mark.parametrize("data", HOSTILE_CONNECTIONS.values(), ids=HOSTILE_CONNECTIONS.keys())
def test_a_guest_that_breaks_a_rule_of_its_own_streams_is_found_out(data: bytes) -> None:
    state = accepting()
    opened(state)
    connected(state)

    with pytest.raises(ProtocolError):
        state.feed(data)


@pytest.mark.parametrize("kind", sorted(set(frames.NAMES) - {frames.HELLO, frames.BEAT}))
def test_a_guest_may_say_nothing_on_even_streams_unless_the_host_said_so(kind: int) -> None:
    state = greeted()
    opened(state)
    payload = {
        frames.OPEN: CONNECT,
        frames.CREDIT: bytes([0, 0, 0, 1]),
        frames.END: b"",
        frames.CANCEL: b"",
    }.get(kind, b'{"code":"x","message":"y"}')

    with pytest.raises(ProtocolError):
        state.feed(frames.encode(kind, 2, payload))


@given(st.lists(st.sampled_from(["open", "body", "end", "credit", "cancel", "answer", "send"]), max_size=40))
def test_lawful_connections_are_told_in_order_and_never_a_protocol_error(steps: list[str]) -> None:
    state = accepting()
    newest, ended, cancelled, told = 0, False, False, []
    for step in steps:
        is_open = state.is_open(newest) and newest > 0
        if step == "open":
            newest, ended, cancelled = newest + 2, False, False
            if newest <= 2 * frames.MAX_CONNECTIONS:
                told += state.feed(frames.encode(frames.OPEN, newest, CONNECT))
        elif step == "answer":
            assert bool(state.answer(newest)) == is_open
        elif step == "send":
            assert (state.may_send(newest) > 0) == is_open
        elif newest and not cancelled and (not ended or step in ("credit", "cancel")):
            kind = {"body": frames.BODY, "end": frames.END, "credit": frames.CREDIT, "cancel": frames.CANCEL}
            payload = {"body": b"x", "credit": bytes([0, 0, 0, 1])}.get(step, b"")
            events = state.feed(frames.encode(kind[step], newest, payload))
            assert len(events) == is_open
            ended, cancelled = ended or step == "end", step == "cancel"

    opened_streams = range(2, min(newest, 2 * frames.MAX_CONNECTIONS) + 2, 2)
    assert told == [Opened(number) for number in opened_streams]


@st.composite
def almost_frames(draw: st.DrawFn) -> bytes:
    """Bytes that look like frames, so that the rules behind the header are reached."""
    kind = draw(st.integers(0, 12))
    stream = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 0xFFFFFFFE, 0xFFFFFFFF]))
    objects = st.sampled_from([b"{}", CONNECT, b'{"code":"x","message":"y"}', HELLO[9:], b"[]", b"\xff"])
    payload = draw(st.one_of(objects, st.binary(max_size=8)))
    length = draw(st.one_of(st.just(len(payload)), st.integers(0, 2**32 - 1)))
    return frames.HEADER.pack(length, kind, stream) + payload


@given(st.booleans(), st.lists(st.one_of(almost_frames(), st.binary(max_size=30)), max_size=12))
def test_whatever_a_guest_sends_it_is_events_or_a_protocol_error(
    may_connect: bool,  # noqa: FBT001 (drawn)
    pieces: list[bytes],
) -> None:
    state = accepting() if may_connect else greeted()
    if may_connect:
        connected(state)
    for _ in range(3):
        opened(state)
    state.beat()

    for piece in pieces:
        try:
            state.feed(piece)
        except ProtocolError:
            return
        assert state.held_bytes <= frames.MAX_PAYLOAD_BYTES + frames.HEADER.size
