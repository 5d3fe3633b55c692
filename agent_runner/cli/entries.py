"""Print entries of a ledger as they come, for people or for programs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.folding import tell
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from audit.chain import Entry
    from audit.follow import Follower
    from audit.reader import BrokenEntry, SessionReader


def print_entry(
    reader: SessionReader, entry: Entry | BrokenEntry, *, as_json: bool, named: bool = False
) -> None:
    """Print one entry; one that does not hold is shown as what it is, and ends the reading.

    Args:
        reader: Whose entry it is.
        entry: The entry.
        as_json: One object on a line, for programs.
        named: Whether the object says of which session it is.
    """
    from agent_runner.listing import HANGING, entry_fields, entry_lines
    from audit.escape import escape_line
    from audit.reader import BrokenEntry

    if as_json:
        session = {"session": reader.session_id} if named else {}
        typer.echo(json.dumps(session | entry_fields(entry)))
    else:
        for line in entry_lines(reader, entry):
            tell(line, indent=HANGING)
    if isinstance(entry, BrokenEntry):
        say(f"pairlock: entry {entry.seq} of `{reader.session_id}` does not hold: {escape_line(entry.why)}")
        raise typer.Exit(Exit.LEDGER)


@asynccontextmanager
async def streamed(state: Path, session: str) -> AsyncIterator[None]:
    """Print a session's new entries as JSON, one object a line, while the block lasts and to the last one.

    Args:
        state: The state folder.
        session: The whole id, which need not be registered yet; what its log holds already is not printed.
    """
    from audit.follow import Follower
    from audit.state import StateFiles

    follower = None
    if StateFiles(state).session(session).events.exists():
        follower = Follower(state, session)
        follower.poll()
    over = asyncio.Event()
    printing = asyncio.create_task(_stream(state, session, over, follower))
    try:
        yield
    finally:
        over.set()
        await printing


async def _stream(state: Path, session: str, over: asyncio.Event, follower: Follower | None) -> None:
    from agent_runner.following import POLL_SECONDS
    from agent_runner.listing import entry_fields
    from audit.follow import Follower
    from audit.state import StateFiles

    ledger = StateFiles(state).session(session).events
    while True:
        is_last = over.is_set()
        if follower is None and ledger.exists():
            follower = Follower(state, session)
        try:
            for entry in _news(follower, is_last=is_last) if follower is not None else ():
                typer.echo(json.dumps(entry_fields(entry)))
        except OSError:  # nobody reads any more: the session goes on without
            return
        if is_last:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), POLL_SECONDS)


def _news(follower: Follower, *, is_last: bool) -> Iterable[Entry | BrokenEntry]:
    """Return what has come; where nobody writes any more, also that entries are missing, if that is so."""
    return follower.at_the_end() if is_last else follower.poll()
