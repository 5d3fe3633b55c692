"""The link against guests that are scripted in this process: what a real one would never do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox.attachment import StdioReader
from sandbox.errors import (
    AnswerTooLargeError,
    GuestProtocolError,
    GuestUnresponsiveError,
    LinkClosedError,
    OperationFailedError,
)
from sandbox.guest import frames
from sandbox.guest.frames import Decoder, Frame
from sandbox.guest.objects import decode_object, encode_object
from sandbox.inflow import connected
from sandbox.link import MOST_UNSENT_BYTES, Link
from sandbox.link_end import closed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[["Fake"], Awaitable[None]]


class Fake:
    """The other end of the wire, for a script."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, framed: bool = False
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._framed = framed
        self._decoder = Decoder()
        self._waiting: list[Frame] = []

    async def next(self, *kinds: int) -> Frame:
        """Return the next frame of one of the kinds; beats are answered on the way."""
        while True:
            while not self._waiting:
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError
                self._waiting = self._decoder.feed(data)
            frame = self._waiting.pop(0)
            if frame.kind == frames.BEAT:
                self.send(frames.BEAT, 0)
            elif not kinds or frame.kind in kinds:
                return frame

    def send(self, kind: int, stream: int, payload: bytes = b"") -> None:
        """Send a frame."""
        self.raw(frames.encode(kind, stream, payload))

    def raw(self, data: bytes) -> None:
        """Send bytes, in the engine's frame where there is one: stdout's number, three zeroes, the length."""
        head = b"\1\0\0\0" + len(data).to_bytes(4) if self._framed else b""
        self._writer.write(head + data)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def closed(self) -> None:
        """Hang up, and wait for it."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def greet(self) -> None:
        """Answer the HELLO."""
        hello = await self.next(frames.HELLO)
        nonce = decode_object(hello.payload)["nonce"]
        self.send(
            frames.HELLO, 0, encode_object({"version": 2, "nonce": nonce, "seal": False, "facts": {"pid": 1}})
        )


@contextlib.asynccontextmanager
async def linked(
    script: Script,
    *,
    beat_seconds: float = 1.0,
    silence_seconds: float = 10.0,
    unsent_bytes: int = MOST_UNSENT_BYTES,
    framed: bool = False,
) -> AsyncIterator[Link]:
    """Connect a link to a script over a pair of sockets, as it is connected to an engine.

    Args:
        script: what the guest does.
        beat_seconds: as the link has it.
        silence_seconds: as the link has it.
        unsent_bytes: as the link has it.
        framed: whether what the guest says is wrapped as an engine wraps it.
    """
    ours, theirs = socket.socketpair()
    fake = Fake(*await asyncio.open_connection(sock=theirs), framed=framed)
    loop = asyncio.get_running_loop()
    acting = asyncio.create_task(_act(script, fake))
    try:
        reader, writer = await connected(lambda made: loop.create_connection(made, sock=ours))
        async with Link(
            StdioReader(reader) if framed else reader,
            writer,
            beat_seconds=beat_seconds,
            silence_seconds=silence_seconds,
            unsent_bytes=unsent_bytes,
        ) as link:
            yield link
    finally:
        acting.cancel()
        await asyncio.wait([acting])
        await fake.closed()


async def _act(script: Script, fake: Fake) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        await script(fake)
    fake.close()


async def greet_and_wait(fake: Fake) -> None:
    await fake.greet()
    await fake.next(frames.HELLO)


async def test_the_facts_of_the_hello_come_back() -> None:
    async with linked(greet_and_wait) as link:
        assert await link.hello("fresh", wall_seconds=60) == {"pid": 1}


async def test_a_recorded_hello_with_another_nonce_is_refused() -> None:
    async def script(fake: Fake) -> None:
        await fake.next(frames.HELLO)
        fake.send(frames.HELLO, 0, encode_object({"version": 2, "nonce": "old", "seal": False, "facts": {}}))
        await fake.next()

    async with linked(script) as link:
        with pytest.raises(GuestProtocolError, match="another nonce"):
            await link.hello("fresh", wall_seconds=60)


async def test_a_guest_that_never_greets_is_given_up() -> None:
    async def script(fake: Fake) -> None:
        await fake.next(frames.OPEN)

    async with linked(script) as link:
        with pytest.raises(GuestUnresponsiveError):
            await link.hello("fresh", wall_seconds=60, within_seconds=0.2)


async def test_a_guest_that_stops_beating_is_unresponsive() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        await asyncio.sleep(60)

    async with linked(script, beat_seconds=0.05, silence_seconds=0.3) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(GuestUnresponsiveError):
            await link.call("files.stat", {"path": "a"})


async def test_a_guest_that_beats_may_take_its_time() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await fake.next(frames.HELLO)
        fake.send(frames.RESULT, opened.stream, b'{"done":true}')
        await fake.next(frames.HELLO)

    async with linked(script, beat_seconds=0.05, silence_seconds=0.5) as link:
        await link.hello("fresh", wall_seconds=60)

        assert (await link.call("files.stat", {"path": "a"})).result == {"done": True}


@pytest.mark.parametrize("chatter", [b"", b"x"], ids=["a silent operation", "one that answers bit by bit"])
async def test_an_operation_that_never_ends_is_waited_for_as_long_as_it_may_take(chatter: bytes) -> None:
    """The guest beats all the time, so that it is the operation that is late; the next one is answered."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        late = await fake.next(frames.OPEN)
        while True:
            if chatter:
                fake.send(frames.BODY, late.stream, chatter)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    cancelled = await fake.next(frames.CANCEL)
                    break
        fake.send(frames.FAIL, cancelled.stream, b'{"code":"cancelled","message":"as asked"}')
        opened = await fake.next(frames.OPEN)
        fake.send(frames.RESULT, opened.stream, b'{"done":true}')
        await fake.next(frames.HELLO)

    async with linked(script, beat_seconds=0.05) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(GuestUnresponsiveError, match=r"did not answer `files.read` in time"):
            await link.call("files.read", {"path": "a"}, answer_seconds=0.2)

        assert not link.is_lost
        assert (await link.call("files.stat", {"path": "a"}, answer_seconds=60)).result == {"done": True}


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff" * 20,
        frames.encode(frames.OPEN, 2, b"{}"),
        frames.encode(frames.BODY, 99, b"x"),
        frames.encode(frames.BEAT, 0) * 50,
    ],
    ids=["noise", "a stream of its own", "a stream of nobody's", "beats that answer none"],
)
async def test_a_guest_that_breaks_the_rules_loses_the_link(hostile: bytes) -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        fake.raw(hostile)
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(GuestProtocolError):
            await link.call("files.stat", {"path": "a"})
        with pytest.raises(GuestProtocolError):
            await link.call("files.stat", {"path": "a"})


async def test_a_guest_that_dies_fails_every_call() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        await fake.next(frames.OPEN)
        fake.close()

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        calls = [link.call("files.stat", {"path": name}) for name in "ab"]

        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [LinkClosedError, LinkClosedError]


async def test_a_call_that_is_cancelled_cancels_the_operation_and_no_other() -> None:
    seen: list[tuple[int, int]] = []

    async def script(fake: Fake) -> None:
        await fake.greet()
        while True:
            frame = await fake.next(frames.OPEN, frames.CANCEL)
            seen.append((frame.kind, frame.stream))
            if frame.kind == frames.CANCEL:
                fake.send(frames.FAIL, frame.stream, b'{"code":"cancelled","message":"as asked"}')
            elif b"quick" in frame.payload:
                fake.send(frames.RESULT, frame.stream, b"{}")

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await link.call("files.stat", {"path": "slow"})

        assert (await link.call("files.stat", {"path": "quick"})).result == {}

    assert seen == [(frames.OPEN, 1), (frames.CANCEL, 1), (frames.OPEN, 3)]


async def test_a_failure_is_told_by_its_code() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        fake.send(frames.FAIL, opened.stream, b'{"code":"not-found","message":"`a` is not there"}')
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(OperationFailedError) as failed:
            await link.call("files.stat", {"path": "a"})

    assert (failed.value.operation, failed.value.code) == ("files.stat", "not-found")


async def endless(fake: Fake) -> None:
    """Send body for as long as there is credit."""
    await fake.greet()
    opened = await fake.next(frames.OPEN)
    credit, sent = frames.INITIAL_CREDIT_BYTES, 0
    while True:
        while credit:
            count = min(credit, 65536)
            fake.send(frames.BODY, opened.stream, bytes(count))
            credit -= count
            sent += count
        frame = await fake.next(frames.CREDIT, frames.CANCEL)
        if frame.kind == frames.CANCEL:
            fake.send(frames.FAIL, opened.stream, b'{"code":"cancelled","message":"as asked"}')
            return
        credit += frames.credit_of(frame)


async def test_an_endless_answer_is_cut_at_the_callers_bound() -> None:
    async with linked(endless) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(AnswerTooLargeError) as refused:
            await link.call("files.read", {"path": "a"}, limit_bytes=3_000_000)

    assert refused.value.limit_bytes == 3_000_000
    assert link.received_bytes > 3_000_000  # what was refused counts as output of the session


async def test_a_consumer_that_does_not_take_holds_the_guest_back() -> None:
    taken = 0
    stuck = asyncio.Event()

    async def consume(data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        if taken >= 1_000_000:
            await stuck.wait()

    async with linked(endless) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await link.call("files.read", {"path": "a"}, on_body=consume, limit_bytes=1 << 40)

    assert 1_000_000 <= taken < 1_000_000 + frames.INITIAL_CREDIT_BYTES


async def test_a_body_source_that_fails_is_why_the_call_fails() -> None:
    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        await fake.next(frames.CANCEL)
        fake.send(frames.FAIL, opened.stream, b'{"code":"cancelled","message":"as asked"}')
        await fake.next(frames.HELLO)

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise FileNotFoundError

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(FileNotFoundError):
            await link.call("files.write", {"path": "a"}, body=broken())


async def test_a_body_waits_for_the_guests_credit() -> None:
    body = bytes(range(256)) * 4096
    received = bytearray()

    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        while (frame := await fake.next(frames.BODY, frames.END)).kind == frames.BODY:
            received.extend(frame.payload)
            fake.raw(frames.encode_credit(opened.stream, len(frame.payload)))
        fake.send(frames.RESULT, opened.stream, b"{}")
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        await link.call("files.write", {"path": "a"}, body=body)

    assert bytes(received) == body


async def test_leaving_does_not_wait_for_a_guest_that_reads_no_more() -> None:
    """It gave credit for more than the socket holds; the container is removed only after the link."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        fake.raw(frames.encode_credit(opened.stream, 1 << 20))
        await asyncio.sleep(600)

    async with asyncio.timeout(60):
        async with linked(script) as link:
            await link.hello("fresh", wall_seconds=60)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await link.call("files.write", {"path": "a"}, body=bytes(1 << 20))


async def test_a_wire_that_was_cut_off_is_closed_for_all_who_wait() -> None:
    """The link closes it, then the attachment: both come to their end, and nobody is cancelled."""
    ours, theirs = socket.socketpair()
    with theirs:
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(bytes(4 << 20))

        await closed(writer, within_seconds=0.1)
        await closed(writer)

        assert writer.transport.is_closing()
        await writer.wait_closed()


async def flood(fake: Fake) -> None:
    """Open connections and cancel them, for ever, and read no answer."""
    await fake.greet()
    for number in itertools.count(2, 2):
        fake.send(frames.OPEN, number, encode_object({"op": frames.CONNECT}))
        fake.send(frames.CANCEL, number)
        if number % 100 == 0:  # no more at once than may be open
            await asyncio.sleep(0.001)


async def test_a_guest_that_asks_for_ever_and_takes_no_answer_loses_the_link() -> None:
    """Each of its requests is answered; what it does not take is kept on the host, within a bound."""

    async def serve(received: AsyncIterator[bytes], send: object, end: object) -> None:
        del send, end
        async for _ in received:
            pass

    async with asyncio.timeout(60), linked(flood, silence_seconds=600, unsent_bytes=100_000) as link:
        link.accept(serve)
        await link.hello("fresh", wall_seconds=60)
        with pytest.raises(GuestUnresponsiveError, match="has not taken `100000` bytes"):
            await link.call("files.stat", {"path": "a"})
        kept = link._writer.transport.get_write_buffer_size()

    assert 100_000 < kept < 1_000_000


async def test_what_was_sent_before_the_end_is_still_delivered() -> None:
    """Only who does not read is cut off."""
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    reader, other = await asyncio.open_connection(sock=theirs)
    writer.write(bytes(4 << 20))

    _, received = await asyncio.gather(closed(writer, within_seconds=60), reader.read())
    await closed(other)

    assert len(received) == 4 << 20


async def test_more_calls_than_streams_wait_their_turn() -> None:
    most = running = 0

    async def script(fake: Fake) -> None:
        nonlocal most, running
        await fake.greet()
        held: list[int] = []
        while True:
            frame = await fake.next(frames.OPEN)
            held.append(frame.stream)
            running += 1
            most = max(most, running)
            if len(held) == 100:
                await asyncio.sleep(0)
                for stream in held:
                    running -= 1
                    fake.send(frames.RESULT, stream, b"{}")
                held.clear()

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        answers = await asyncio.gather(*(link.call("files.stat", {"path": "a"}) for _ in range(1000)))

    assert len(answers) == 1000
    assert most <= 256
