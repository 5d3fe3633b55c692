"""Be a process that was started with two descriptors: locked down before it reads a message, quiet after.

`process` starts such a one: `child`, and `agent_runner.gateway.parser`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Final

from sandbox.egress.confine import LockdownError
from sandbox.egress.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, socket.socket], Awaitable[None]]

UNLOCKED: Final = 4
LOST: Final = 3


def run_locked(arguments: list[str], serve: Serve, *, lock: Callable[[], None], name: str) -> int:
    """Lock this process down and serve; return its exit code.

    Args:
        arguments: The descriptors of its pipe and of where connections come from.
        serve: What it does, until its pipe closes: it is handed the pipe's two ends and the other descriptor.
        lock: Locks it down for good; when that fails, nothing is served.
        name: What it is called on stderr.
    """
    pipe, streams = (socket.socket(fileno=int(number)) for number in arguments)
    try:
        lock()
    except (OSError, LockdownError) as error:
        print(f"{name}: cannot lock itself down: {error}", file=sys.stderr)  # noqa: T201 - its only way to say so
        return UNLOCKED
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(serve, pipe, streams))
    except (WireError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - its only way to say so
        return LOST
    return 0


async def _serve(serve: Serve, pipe: socket.socket, streams: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(_say_nothing)
    reader, writer = await asyncio.open_connection(sock=pipe)
    await serve(reader, writer, streams)


def _say_nothing(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Leave out what a loop says of tasks and callbacks that failed: an agent could make it say much."""
