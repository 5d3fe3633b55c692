"""What a program came to, as told by a guest that may be anybody: numbers within bounds, or the end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.errors import GuestProtocolError
from sandbox.guest import frames
from sandbox.guest.objects import encode_object
from sandbox.limits import Limits
from sandbox.session import ProcessResult, Sandbox
from tests.sandbox.specs import spec_for
from tests.sandbox.test_link import Fake, linked

if TYPE_CHECKING:
    from sandbox.guest.objects import Object, Value
    from sandbox.link import Link

EXITED: Object = {"exit_code": 0, "signal": None, "timed_out": False, "truncated_bytes": 0}
NO_SUCH_NUMBERS: dict[str, list[Value]] = {
    "exit_code": ["x", "0", 1.5, -1, 256, True, [], {}, 10**18],
    "signal": ["9", 9.0, -9, 65, True, [9]],
    "truncated_bytes": ["many", 0.5, -1, 2**53 + 1, False],
}


def sandbox_on(link: Link) -> Sandbox:
    """Return a sandbox whose guest is at the other end of a link."""
    return Sandbox(
        spec=spec_for(Grant.EXEC),
        container_id="",
        limits=Limits(),
        evidence=(),
        link=link,
        started_seconds=0.0,
    )


async def spawned(answer: Object) -> ProcessResult:
    """Run a program in a guest that answers this."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = await fake.next(frames.OPEN)
        fake.send(frames.RESULT, opened.stream, encode_object(answer))
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        sandbox = sandbox_on(link)
        return await sandbox.spawn(("true",))


@pytest.mark.parametrize(
    ("changed", "code", "truncated_bytes", "note"),
    [
        ({}, 0, 0, ""),
        ({"exit_code": 255}, 255, 0, ""),
        ({"exit_code": None, "signal": 9}, 137, 0, "ended by signal 9"),
        ({"exit_code": None, "signal": 64}, 192, 0, "ended by signal 64"),
        ({"truncated_bytes": 2**53}, 0, 2**53, ""),
    ],
)
async def test_what_a_program_came_to_is_told_as_a_shell_tells_it(
    changed: Object, code: int, truncated_bytes: int, note: str
) -> None:
    result = await spawned(EXITED | changed)

    assert result == ProcessResult(
        exit_code=code, output=b"", errors=b"", truncated_bytes=truncated_bytes, timed_out=False, note=note
    )


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in NO_SUCH_NUMBERS.items() for value in values]
)
async def test_a_guest_that_tells_no_such_number_is_lost(name: str, value: Value) -> None:
    """It is not what was started: the session ends as for any broken rule, and not as a fault of ours."""
    with pytest.raises(GuestProtocolError, match=f"for `{name}`, expected a number of 0 to"):
        await spawned(EXITED | {name: value})


async def test_operations_beside_each_other_are_busy_once() -> None:
    """Time in which two run at once is one time: their sum would be longer than the session."""

    async def script(fake: Fake) -> None:
        await fake.greet()
        opened = [await fake.next(frames.OPEN) for _ in range(2)]
        await asyncio.sleep(0.2)
        for one in opened:
            fake.send(frames.RESULT, one.stream, encode_object(EXITED))
        await fake.next(frames.HELLO)

    async with linked(script) as link:
        await link.hello("fresh", wall_seconds=60)
        sandbox = sandbox_on(link)
        begun = time.monotonic()
        await asyncio.gather(sandbox.spawn(("true",)), sandbox.spawn(("true",)))
        elapsed = time.monotonic() - begun

    assert 0.2 <= sandbox.busy_seconds <= elapsed
