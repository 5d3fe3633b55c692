"""The whole link, with its tasks and waits, against a guest that sends anything: no call ever hangs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.guest import frames
from tests.fuzz.hosting import CONNECT, PAYLOADS
from tests.sandbox.test_link import Fake, linked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Send = Callable[[bytes], Awaitable[None]]
    End = Callable[[], None]

SHAPED = st.builds(
    lambda kind, stream, payload: frames.HEADER.pack(len(payload), kind, stream) + payload,
    st.integers(0, 12),
    st.integers(0, 7),
    st.sampled_from(PAYLOADS),
)
LAWFUL = st.sampled_from(
    [
        frames.encode(frames.BODY, 1, b"out"),
        frames.encode(frames.ERRORS, 3, b"err"),
        frames.encode(frames.BODY, 3, bytes(100_000)),
        frames.encode_credit(1, 100_000),
        frames.encode(frames.RESULT, 1, b"{}"),
        frames.encode(frames.FAIL, 3, b'{"code":"lost","message":"gone"}'),
        frames.encode(frames.OPEN, 2, CONNECT),
        frames.encode(frames.BODY, 2, b"in"),
        frames.encode(frames.END, 2),
        frames.encode(frames.CANCEL, 2),
    ]
)


async def echo(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Send everything back."""
    async for data in received:
        await send(data)
    end()


@pytest.mark.parametrize("framed", [False, True], ids=["as it is", "in an engine's frames"])
@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.one_of(LAWFUL, LAWFUL, SHAPED, st.binary(min_size=1, max_size=20)), max_size=12))
def test_every_call_ends_whatever_the_guest_sends(pieces: list[bytes], *, framed: bool) -> None:
    """With a result, or with an error of ours; and the link closes, whatever was still going on."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        await fake.next(frames.OPEN)
        await fake.next(frames.OPEN)
        for piece in pieces:
            fake.raw(piece)
            await asyncio.sleep(0)
        # Then it hangs up, as every guest does in the end.

    async def conversation() -> list[object]:
        async with asyncio.timeout(30), linked(script, framed=framed) as link:
            await link.hello("fresh", wall_seconds=60)
            link.accept(echo)
            calls = [
                link.call("files.write", {"path": "a"}, body=bytes(400_000)),
                link.call("files.read", {"path": "a"}),
            ]
            return [*await asyncio.gather(*calls, return_exceptions=True)]

    for outcome in asyncio.run(conversation()):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, SandboxError), outcome
