"""Tell a page what has happened since it was made, as server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

import orjson

from agent_runner.aside import aside
from agent_runner.report.fold import SessionFold
from audit.errors import AuditError
from audit.escape import escape_line
from audit.follow import Follower
from audit.index import read_index
from audit.lock import is_held
from audit.reader import SessionReader
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from audit.chain import Entry
    from audit.reader import BrokenEntry

POLL_SECONDS: Final = 0.5
BEAT: Final = b": still here\n\n"
"""Said when there is nothing to tell, so that a page that has gone is noticed."""
POLLS_A_BEAT: Final = 10
AT_ONCE: Final = 20_000
"""Entries that are held at once while a page catches up with a long session."""


class LiveSession:
    """A session's fold, brought up to date each time it is asked.

    Args:
        state: The state folder.
        session: A whole id.
        after: How many entries the page has taken in already: what they tell is not told again.

    Raises:
        audit.errors.UnknownSessionError: When the session has no ledger.
    """

    def __init__(self, state: Path, session: str, *, after: int) -> None:
        self._state = state
        self._follower = Follower(state, session)
        self._after = after
        index = read_index(StateFiles(state))
        self._reader = SessionReader(state, session, index=index)
        self._index = index
        withheld = frozenset(index.session(session).withheld)
        self._fold = SessionFold(self._reader, withheld)

    def news(self) -> list[bytes]:
        """Return the events to send: steps that are new or have grown, and whether the session has ended."""
        running = is_held(self._reader.files.lock)
        come = self._follower.news() if running else self._follower.at_the_end()
        while entries := list(islice(come, AT_ONCE)):
            self._take(entries)
        told = []
        changed = self._fold.steps.take_changed()
        if changed:
            steps = [[place, step.as_json()] for place, step in changed]
            told.append(_event("steps", orjson.dumps(steps), number=self._fold.entries))
        if not running:
            told.append(_event("ended", b"{}"))
        return told

    def _take(self, entries: list[Entry | BrokenEntry]) -> None:
        # What stands behind commitments has grown too, and a reader knows only what it found at first.
        self._fold.read_with(SessionReader(self._state, self._reader.session_id, index=self._index))
        for entry in entries:
            if self._fold.entries == self._after:
                self._fold.steps.take_changed()
            self._fold.take(entry)
        if self._fold.entries <= self._after:
            self._fold.steps.take_changed()


async def session_events(live: LiveSession) -> AsyncIterator[bytes]:
    """Yield what happens in a session, until it has ended or cannot be read any more."""
    yield BEAT
    quiet = 0
    while True:
        try:
            told = await aside(live.news)
        except (AuditError, OSError) as error:
            yield _event("stopped", orjson.dumps(escape_line(str(error))))
            return
        for event in told:
            yield event
        if told and told[-1].startswith(b"event: ended"):
            return
        quiet = 0 if told else quiet + 1
        if quiet % POLLS_A_BEAT == POLLS_A_BEAT - 1:
            yield BEAT
        await asyncio.sleep(POLL_SECONDS)


async def state_events(state: Path, *, known: str) -> AsyncIterator[bytes]:
    """Yield an event when a session begins, ends or goes on.

    Args:
        state: The state folder.
        known: Which sessions were there and running when the asking page was made, as `running_now` says it.
    """
    yield BEAT
    polls = 0
    while await aside(running_now, state) == known:
        polls += 1
        if polls % POLLS_A_BEAT == 0:
            yield BEAT
        await asyncio.sleep(2 * POLL_SECONDS)
    yield _event("changed", b"{}")


def running_now(state: Path) -> str:
    """Return a digest of which sessions there are, and which of them are running."""
    files = StateFiles(state)
    told = sorted((session, is_held(files.session(session).lock)) for session in files.session_ids())
    return sha256(repr(told).encode()).hexdigest()[:16]


def _event(name: str, data: bytes, *, number: int | None = None) -> bytes:
    """Return an event; its data is JSON on one line, so that nothing in it can begin another."""
    place = f"id: {number}\n".encode() if number is not None else b""
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), place, data)
