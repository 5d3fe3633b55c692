"""A terminal without a person, and sessions whose programs find a model on their loopback."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agent_runner.gateway.command import Ran, run_command
from agent_runner.gateway.terminal import record
from tests.agent_runner.stand import PYTHON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent_runner.backends.backend import Backend
    from tests.agent_runner.stand import Stand

EXEC: Final = "version: 1\nname: x\ngrant: [exec]\n"


@dataclass
class Screen:
    """Keep what a command shows, and tell it what a test says; `terminal.Terminal`."""

    shape: str = "pipes"
    told: list[bytes] = field(default_factory=list)
    then: dict[bytes, list[bytes]] = field(default_factory=dict)
    """What is told once something was shown."""
    shown: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Begin with what is told first."""
        for each in self.told:
            self.tell(each)
        yield

    def tell(self, told: bytes) -> None:
        """Tell it something now."""
        self._queue.put_nowait(told)

    async def records(self) -> AsyncIterator[bytes]:
        """Yield what is told."""
        while True:
            yield await self._queue.get()

    async def show(self, data: bytes, *, errors: bool) -> None:
        """Keep it."""
        (self.errors if errors else self.shown).extend(data)
        for seen in [each for each in self.then if each in self.shown]:
            for told in self.then.pop(seen):
                self.tell(told)


async def ran(
    stand: Stand,
    backend: Backend,
    *argv: str,
    screen: Screen | None = None,
    policy: str = EXEC,
    **changes: Any,
) -> tuple[Ran, Screen]:
    """Run a command in a session on the stand."""
    screen = screen or Screen(told=[record(b"e")])
    request = stand.request(backend, policy, task="a command", **changes)
    return await run_command(request, argv, screen), screen


async def asked(stand: Stand, backend: Backend, code: str, **changes: Any) -> tuple[Ran, Screen]:
    """Run a Python program that may ask the model with `post(path, body, **headers)`."""
    return await ran(stand, backend, PYTHON, "-c", _POST + textwrap.dedent(code), **changes)


_POST: Final = """
import json, os, sys, http.client
def post(path, body, method="POST", **headers):
    line = http.client.HTTPConnection("127.0.0.1", 3128, timeout=60)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"content-type": "application/json"}
    line.request(method, path, raw if method == "POST" else None, {**kind, **named})
    answer = line.getresponse()
    return answer.status, answer.read().decode()
"""
