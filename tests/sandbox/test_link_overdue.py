"""Operations that a guest does not answer in time: given up here, cancelled there, streams free again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import GuestUnresponsiveError
from sandbox.guest import frames
from sandbox.link_events import BodyReceived, Finished
from sandbox.link_state import MAX_STREAMS, LinkState
from sandbox.link_stream import Stream
from tests.sandbox.test_link import Fake, linked

if TYPE_CHECKING:
    from collections.abc import Callable

CANCELLED = b'{"code":"cancelled","message":"as asked"}'
AT_ONCE = 16


def in_silence(fake: Fake, stream: int) -> None:
    """Say nothing."""


def bit_by_bit(fake: Fake, stream: int) -> None:
    """Begin an answer."""
    fake.send(frames.BODY, stream, b"early")


@pytest.mark.parametrize("begin", [in_silence, bit_by_bit])
@pytest.mark.parametrize("answer", [(frames.FAIL, CANCELLED), (frames.RESULT, b"{}")], ids=["FAIL", "RESULT"])
@pytest.mark.parametrize(
    "body_bytes", [0, 2 * frames.INITIAL_CREDIT_BYTES], ids=["fed", "waiting for credit"]
)
async def test_all_that_is_overdue_in_one_beat_is_cancelled_and_leaves_nothing(
    begin: Callable[[Fake, int], None], answer: tuple[int, bytes], body_bytes: int
) -> None:
    """What the guest still sends of them falls to the ground; the next operation is answered."""
    taken: list[bytes] = []

    async def take(data: bytes) -> None:
        taken.append(data)

    async def script(fake: Fake) -> None:
        await fake.greet()
        for _ in range(AT_ONCE):
            begin(fake, (await fake.next(frames.OPEN)).stream)
        late = {(await fake.next(frames.CANCEL)).stream for _ in range(AT_ONCE)}
        assert len(late) == AT_ONCE
        for stream in late:
            fake.send(frames.BODY, stream, b"late")
            fake.send(answer[0], stream, answer[1])
        opened = await fake.next(frames.OPEN)
        fake.send(frames.RESULT, opened.stream, b'{"done":true}')
        await fake.next(frames.HELLO)

    async with asyncio.timeout(60), linked(script, beat_seconds=0.5) as link:
        await link.hello("fresh", wall_seconds=60)
        calls = [
            link.call("files.write", {"path": "a"}, body=bytes(body_bytes), on_body=take, answer_seconds=0.1)
            for _ in range(AT_ONCE)
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        after = await link.call("files.stat", {"path": "a"})

        assert {type(outcome) for outcome in outcomes} == {GuestUnresponsiveError}
        assert after.result == {"done": True}
        assert link.state.open_streams == 0
    assert b"late" not in b"".join(taken)


async def test_as_many_as_ever_run_at_once_after_all_were_overdue() -> None:
    """Each that is overdue and cancelled gives its stream back."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        while True:
            frame = await fake.next(frames.OPEN, frames.CANCEL)
            if frame.kind == frames.CANCEL:
                fake.send(frames.FAIL, frame.stream, CANCELLED)
            elif b"soon" in frame.payload:
                fake.send(frames.RESULT, frame.stream, b"{}")

    async with asyncio.timeout(60), linked(script, beat_seconds=0.05) as link:
        await link.hello("fresh", wall_seconds=60)
        late = [link.call("files.stat", {"path": "a"}, answer_seconds=0.1) for _ in range(MAX_STREAMS)]
        outcomes = await asyncio.gather(*late, return_exceptions=True)

        await asyncio.gather(*(link.call("files.stat", {"path": "soon"}) for _ in range(MAX_STREAMS)))

    assert {type(outcome) for outcome in outcomes} == {GuestUnresponsiveError}


async def test_the_wait_for_a_free_stream_is_within_the_bound_of_the_answer() -> None:
    """A guest that holds every stream and beats would make the next caller wait for ever."""
    given_up = asyncio.Event()

    async def script(fake: Fake) -> None:
        await fake.greet()
        held = [(await fake.next(frames.OPEN)).stream for _ in range(MAX_STREAMS)]
        await given_up.wait()
        for stream in held:
            fake.send(frames.RESULT, stream, b"{}")
        opened = await fake.next(frames.OPEN)
        fake.send(frames.RESULT, opened.stream, b'{"done":true}')
        await fake.next(frames.HELLO)

    async with asyncio.timeout(60), linked(script, beat_seconds=0.05) as link:
        await link.hello("fresh", wall_seconds=60)
        async with asyncio.TaskGroup() as holding:
            for _ in range(MAX_STREAMS):
                holding.create_task(link.call("files.stat", {"path": "a"}))
            await asyncio.sleep(0)
            with pytest.raises(GuestUnresponsiveError, match=r"did not answer `files.read` in time"):
                await link.call("files.read", {"path": "a"}, answer_seconds=0.2)
            assert link.state.open_streams == MAX_STREAMS
            given_up.set()

        assert (await link.call("files.stat", {"path": "a"}, answer_seconds=60)).result == {"done": True}


class Wire:
    """A link's other side, of which nothing is read."""

    def __init__(self) -> None:
        self.state = LinkState()
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written.append(data)

    async def drain(self) -> None:
        """Take everything at once."""


async def test_an_answer_in_the_turn_in_which_it_became_overdue_is_none() -> None:
    """Its body was dropped a moment before: half an answer would pass for a whole one."""
    wire = Wire()
    number, _ = wire.state.open("files.read", {"path": "a"})
    stream = Stream(wire, number, "files.read")
    stream.answer_by = 1.0
    stream.deliver(BodyReceived(number, b"first half"))

    stream.require_answer(1.0)
    stream.deliver(BodyReceived(number, b"second half"))
    stream.deliver(Finished(number, {}))

    assert wire.written == [wire.state.cancel(number)]
    assert await stream.next() is None
    with pytest.raises(GuestUnresponsiveError):
        await stream.result()


async def test_twin_an_answer_in_the_turn_before_is_one() -> None:
    wire = Wire()
    number, _ = wire.state.open("files.read", {"path": "a"})
    stream = Stream(wire, number, "files.read")
    stream.answer_by = 1.0
    stream.deliver(BodyReceived(number, b"all"))
    stream.deliver(Finished(number, {}))

    stream.require_answer(1.0)

    assert wire.written == []
    assert await stream.next() == BodyReceived(number, b"all")
    assert await stream.result() == {}
