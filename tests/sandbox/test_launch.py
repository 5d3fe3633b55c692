"""What a launch does while the engine is at work, and what is told of one that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox import launch
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineRefusedError, SandboxError
from sandbox.link import Link
from tests.sandbox.live import LIMITS, Ground, still_there

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.session import Sandbox

pytestmark = pytest.mark.engine


class Starting(DockerEngine):
    """The real engine, with something after each start; `refused` in place of it when that is set."""

    answered: asyncio.Event
    made: str = ""
    refused: str = ""

    async def start(self, container_id: str) -> None:
        """Start a container, and report that only once the guest has answered."""
        if self.refused:
            raise EngineRefusedError(self.refused)
        await super().start(container_id)
        async with asyncio.timeout(60):
            await self.answered.wait()

    async def note(self, container_id: str) -> None:
        """Keep the container's id."""
        self.made = container_id


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Starting]:
    connected = await Starting.connect()
    assert isinstance(connected, Starting)
    connected.answered = asyncio.Event()
    hello = Link.hello

    async def told(link: Link, nonce: str, **bounds: float) -> object:
        facts = await hello(link, nonce, **bounds)
        connected.answered.set()
        return facts

    monkeypatch.setattr(Link, "hello", told)
    yield connected
    await connected.close()


async def first_answer(engine: Starting, ground: Ground, *, entrypoint: tuple[str, ...] | None = None) -> str:
    """Launch a sandbox, and return what its first operation says of the folder it is in."""
    spec = await ground.spec(Grant.NONE)
    if entrypoint is not None:
        spec = replace(spec, entrypoint=entrypoint)
    opening = launch.open_sandbox(engine, spec, limits=LIMITS, local=True, made=engine.note)
    sandbox: Sandbox
    async with opening as sandbox:
        return str((await sandbox.call("files.stat", {"path": "."})).result["kind"])


async def test_the_guest_is_greeted_while_the_engine_still_starts_it(
    engine: Starting, ground: Ground
) -> None:
    """An engine that reports a start only after the guest's answer would wait for ever otherwise."""
    assert await first_answer(engine, ground) == "folder"


async def test_a_start_that_fails_is_what_is_told(engine: Starting, ground: Ground) -> None:
    engine.refused = "no room for it"

    with pytest.raises(EngineRefusedError, match="no room for it"):
        await first_answer(engine, ground)

    assert not await still_there(engine.made)


async def test_a_guest_that_ends_before_it_answers_is_told_with_its_last_words(
    engine: Starting, ground: Ground
) -> None:
    engine.answered.set()
    spec = await ground.spec(Grant.NONE)

    with pytest.raises(SandboxError, match="the guest did not come up: pairlock guest: usage"):
        await first_answer(engine, ground, entrypoint=spec.entrypoint[:-1])

    assert not await still_there(engine.made)
