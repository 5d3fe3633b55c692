"""Answer whoever was let in: the list of sessions, a session's page, what comes later. It only reads."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from agent_runner.aside import aside
from agent_runner.errors import RunnerError
from agent_runner.listing import listed
from agent_runner.report.gather import gather_report
from agent_runner.report.kin import related, served
from agent_runner.report.page import content_policy, render, render_list
from agent_runner.report.serving.answer import Answer, page, text
from agent_runner.report.serving.live import LiveSession, running_now, session_events, state_events
from audit.errors import AuditError, UnknownSessionError
from audit.escape import escape_line
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent_runner.report.gather import Pins
    from agent_runner.report.serving.doorman import Door, Request

_SESSION: Final = re.compile(r"session/([0-9a-z]{12})(/events)?")


class Desk:
    """What the server knows and says.

    Args:
        state: The state folder.
        pins: What ledgers are held against.
        door: Where the server listens.
    """

    def __init__(self, state: Path, pins: Pins, door: Door) -> None:
        self._state = state
        self._pins = pins
        self._door = door
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request that was let in."""
        path = request.path.removeprefix(self._door.home)
        try:
            return await self._answer(path, request)
        except UnknownSessionError as error:
            return text(HTTPStatus.NOT_FOUND, escape_line(str(error)))
        except (AuditError, RunnerError, OSError) as error:
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, escape_line(str(error)))

    async def _answer(self, path: str, request: Request) -> Answer:
        if path == "":
            return await self._made(self._list)
        if path == "events":
            known = re.search(r"\?known=([0-9a-f]{16})$", request.target)
            return _events(state_events(self._state, known=known[1] if known else ""))
        found = _SESSION.fullmatch(path)
        if found is None:
            return text(HTTPStatus.NOT_FOUND, "nothing is here")
        session, events = found.groups()
        if events:
            live = await aside(LiveSession, self._state, session, after=_after(request))
            return _events(session_events(live))
        return await self._made(self._session, session)

    async def _made(self, make: Callable[..., Answer], *what: str) -> Answer:
        """Make a page in a thread, one at a time: reading a long ledger takes seconds."""
        async with self._one_at_a_time:
            return await aside(make, *what)

    def _list(self) -> Answer:
        live = f"{self._door.home}events?known={running_now(self._state)}"
        made = render_list(listed(self._state), home=self._door.home, live=live)
        return page(made, content_policy("list.js", "report.css", live=True))

    def _session(self, session: str) -> Answer:
        report = gather_report(self._state, session, self._pins)
        live = f"{self._door.home}session/{session}/events" if report.running else ""
        known = set(StateFiles(self._state).session_ids())
        kin = served(related(report.fold), known, home=self._door.home)
        made = render(report, live=live, home=self._door.home, kin=kin)
        return page(made, content_policy("report.js", "report.css", live=bool(live)))


def _events(stream: AsyncIterator[bytes]) -> Answer:
    return Answer(kind="text/event-stream", stream=stream)


def _after(request: Request) -> int:
    """Return how many entries the asking page has taken in already; 0 where it does not say."""
    told = [
        *request.values("last-event-id"),
        *re.findall(r"\?after=(\d{1,15})", request.target),
    ]
    return int(told[0]) if told and re.fullmatch(r"\d{1,15}", told[0]) else 0
