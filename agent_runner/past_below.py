"""Read what a session has come to and, for there is one pot, what those below it have, from their ledgers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.fold import read_past
from agent_runner.used import Used
from audit.errors import BrokenLedgerError, UnknownSessionError
from audit.index import read_index
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.past import Past
    from audit.index import HostIndex


def read_whole(state: Path, session: str, *, conversation: bool = True) -> Past:
    """Return what a session has come to.

    Args:
        state: The state folder.
        session: The session's id.
        conversation: As in `read_past`.

    Raises:
        audit.errors.BrokenLedgerError: When its ledger does not hold; the message says whose, and where.
    """
    try:
        return read_past(state, session, conversation=conversation)
    except BrokenLedgerError as error:
        place = "" if error.seq is None else f" at entry {error.seq}"
        raise BrokenLedgerError(
            f"the ledger of session `{session}` does not hold{place}: {error.message}",
            path=error.path,
            seq=error.seq,
            hint=error.hint
            or f"`pairlock audit verify {session}` says more; its changes: `pairlock diff {session}`",
        ) from error


def with_below(
    past: Past, state: Path, *, index: HostIndex | None = None, ended: dict[str, Past] | None = None
) -> Past:
    """Return a past that knows what sessions below it used, from their own ledgers: there is one pot.

    Args:
        past: The session's own.
        state: The state folder.
        index: The host's log, where it was read already.
        ended: What is known of sessions that have ended with all that is below them; more of them are added.

    Raises:
        RefusedError: When one of them was pruned, or is gone: nobody knows what it used.
        audit.errors.BrokenLedgerError: When one of them does not hold.
    """
    index = read_index(StateFiles(state)) if index is None else index
    ended = {} if ended is None else ended
    known = index.sessions
    below, allowed = Used(), past.allowed
    for child in past.children:
        if child not in known:
            continue  # the runner ended, or lineage refused it, before it was registered
        if known[child].pruned is not None:
            raise _unknown_use(child)
        try:
            used = _whole_of(child, state, index, ended)
        except InvalidInputError:
            continue  # it ended before it began
        except UnknownSessionError as error:
            raise _unknown_use(child) from error
        below = below.beside(used.used).beside(used.below).beside(_crossed(used))
        allowed = allowed + used.allowed
        past.traffic.add_below(used.traffic, child)
    return replace(past, below=below, allowed=allowed)


def _whole_of(session: str, state: Path, index: HostIndex, ended: dict[str, Past]) -> Past:
    """Return what a session and those below it have come to; read once where all of them have ended."""
    end = index.session(session).closed_at_size
    kept = ended.get(session)
    if kept is not None and kept.entries == end:
        return kept
    read = with_below(read_whole(state, session, conversation=False), state, index=index, ended=ended)
    below = [child for child in read.children if child in index.sessions]
    if read.entries == end and all(child in ended for child in below):
        ended[session] = replace(read, messages=())
    return read


def _unknown_use(child: str) -> RefusedError:
    return RefusedError(
        f"session `{child}`, which this one delegated to, was pruned or is gone, so what it used is unknown",
        hint="start another session; this one's ledger and changes are as they were",
    )


def _crossed(past: Past) -> Used:
    total = past.traffic.total()
    return Used(sent_bytes=total.sent_bytes, received_bytes=total.received_bytes, requests=total.requests)
