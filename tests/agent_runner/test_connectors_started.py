"""Connectors of a session that fail to start, are given up, or are lost: real gates, stood-in places."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from agent_runner import connectors as connectors_module
from agent_runner.connectors import SessionConnectors
from agent_runner.connectors_container import ConnectorContainer
from agent_runner.connectors_gated import GatedConnector
from agent_runner.connectors_ordered import Ordered
from cli_tools.connector import within
from cli_tools.errors import ActionError
from sandbox.egress.gate import EgressGate
from sandbox.egress.owner import no_credentials
from sandbox.egress.rules import RuleSet
from sandbox.errors import SandboxError, SandboxLostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.egress.events import Event
    from sandbox.session import Sandbox

CONTAINER = ConnectorContainer(image="pairlock/starter")
ORDERS = {
    "desk": Ordered(name="desk", base_url="", account="", rules=(), ca_file=None, container=CONTAINER),
    "plain": Ordered(name="plain", base_url="https://a.example", account="", rules=(), ca_file=None),
}


class PlaceLink:
    """The link of a place: lost once it was closed."""

    is_lost = False

    async def close(self) -> None:
        """Be lost."""
        self.is_lost = True


@dataclass
class Place:
    """Where a connector's program would run; what is asked of it here is only whether it is there."""

    link: PlaceLink = field(default_factory=PlaceLink)


@dataclass
class Made:
    """Connectors, and what making their containers does."""

    connectors: SessionConnectors
    pids: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    failing: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a container is being made."""
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, making one takes for ever."""

    @property
    def running(self) -> list[int]:
        """Return the egress processes that live."""
        return [pid for pid in self.pids if Path(f"/proc/{pid}").exists()]


@asynccontextmanager
async def made() -> AsyncIterator[Made]:
    """Open connectors as a session does, with real gates."""

    async def forget(event: Event) -> None:
        """Keep nothing."""

    @asynccontextmanager
    async def start(order: Ordered) -> AsyncIterator[EgressGate]:
        rules = RuleSet(rules=order.rules)
        async with EgressGate.start(rules, journal=forget, credentials=no_credentials) as gate:
            kept.pids.append(gate.pid)
            yield gate

    def contain(
        order: Ordered, container: ConnectorContainer, gate: EgressGate
    ) -> AbstractAsyncContextManager[Sandbox]:
        assert (order.container, gate.is_lost) == (container, False)
        return place()

    @asynccontextmanager
    async def place() -> AsyncIterator[Sandbox]:
        kept.begun.set()
        await kept.waits.wait()
        if kept.failing:
            kept.failing -= 1
            raise SandboxError("no such image")
        kept.places.append(Place())
        yield cast("Sandbox", kept.places[-1])

    async with AsyncExitStack() as stack:
        kept = Made(SessionConnectors(ORDERS, stack, start, contain))
        kept.waits.set()
        try:
            yield kept
        finally:
            await kept.connectors.close()


async def test_a_start_that_fails_leaves_no_egress_process_and_the_next_may_succeed() -> None:
    """B46: a failure is told each time, and what failed is not kept for the next."""
    async with made() as kept:
        kept.failing = 3
        for _ in range(3):
            with pytest.raises(ActionError, match="connector `desk` cannot be started: no such image"):
                await kept.connectors.contained("desk")
        after_failures = kept.running
        one, two = await asyncio.gather(*(kept.connectors.contained("desk") for _ in range(2)))
        after_success = kept.running

    assert after_failures == []
    assert one is two
    assert len(after_success) == 1
    assert kept.running == []


async def test_a_start_goes_on_when_its_caller_goes_and_the_next_caller_has_it() -> None:
    """Half a start is not thrown away, and not made a second time."""
    async with made() as kept:
        kept.waits.clear()
        given_up = asyncio.create_task(kept.connectors.contained("desk"))
        await kept.begun.wait()
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        kept.waits.set()
        await kept.connectors.contained("desk")

    assert len(kept.pids) == 1
    assert kept.running == []


async def test_a_start_that_is_under_way_at_the_sessions_end_leaves_nothing() -> None:
    async with made() as kept:
        kept.waits.clear()
        waiting = asyncio.create_task(kept.connectors.contained("desk"))
        await kept.begun.wait()

    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert kept.running == []


async def test_an_action_whose_connectors_container_is_lost_fails_alone_and_the_next_has_another() -> None:
    async with made() as kept:
        with pytest.raises(ActionError) as told:
            async with within(kept.connectors, "desk"):
                raise SandboxLostError("the container ended")
        async with within(kept.connectors, "desk") as another:
            running = kept.running

    assert (told.value.code, told.value.message) == (
        "upstream",
        "connector `desk` was lost: the container ended",
    )
    assert another is cast("Sandbox", kept.places[1])
    assert running == kept.pids[1:]


async def test_starts_are_bounded_whether_they_fail_or_what_they_started_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connectors_module, "MOST_STARTS", 2)
    async with made() as kept:
        for _ in range(2):
            await kept.connectors.open("plain")
            os.kill(kept.pids[-1], signal.SIGKILL)
            gate = kept.connectors._starting["plain"].result().gate
            for _ in range(1200):
                if gate.is_lost:
                    break
                await asyncio.sleep(0.05)
        with pytest.raises(ActionError, match="connector `plain` was started 2 times"):
            await kept.connectors.open("plain")
        twin = await kept.connectors.contained("desk")

    assert twin is cast("Sandbox", kept.places[0])


async def test_a_connector_that_is_a_program_is_not_opened_as_a_server() -> None:
    async with made() as kept:
        with pytest.raises(ActionError, match="connector `desk` is not configured"):
            await kept.connectors.open("desk")
        twin = await kept.connectors.open("plain")

    assert isinstance(twin, GatedConnector)
