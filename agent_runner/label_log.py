"""Read from the host's log how labels changed, what of it reached running sessions, and what was applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from agent_runner.lineage_places import overlap
from audit.chain import read
from audit.errors import AuditError
from audit.event import LabelChanged, StageApplied
from audit.host_event import SessionRegistered, SessionReopened, SessionSealed
from audit.openings import Openings
from audit.query import whole
from audit.schema import OVERFLOW, event_of
from audit.segments import Lines
from audit.state import SessionFiles, StateFiles
from policies.capability import Capability
from sandbox.workspace import WorkspaceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from audit.chain import Entry
    from audit.fields import Event

_CHANGED = f'"type":"{LabelChanged.kind}"'.encode()
_APPLIED = f'"type":"{StageApplied.kind}"'.encode()
_BEGAN = frozenset({SessionRegistered.kind, SessionReopened.kind})


def label_changes(files: StateFiles) -> Iterator[tuple[int, LabelChanged | None]]:
    """Yield each change of a label with its entry's number; None for one whose body is gone.

    Raises:
        audit.errors.AuditError: When a line is none.
    """
    openings = Openings(SessionFiles(files.folder))
    for line in _lines(files):
        if _CHANGED in line:
            entry = read(line, b"")
            changed = _event(entry, openings)
            yield entry.seq, changed if isinstance(changed, LabelChanged) else None


def applied_by(state: Path) -> dict[str, list[str]]:
    """Return session -> the paths of its changes that were written to a workspace, in order.

    Raises:
        audit.errors.AuditError: When a line of the host's log is none.
    """
    files = StateFiles(state)
    openings, found = Openings(SessionFiles(files.folder)), dict[str, list[str]]()
    for line in _lines(files):
        if _APPLIED in line:
            applied = _event(read(line, b""), openings)
            if isinstance(applied, StageApplied):
                found.setdefault(applied.session, []).extend(applied.applied)
    return found


def applied_after(state: Path, log_bytes: int) -> frozenset[str]:
    """Return the sessions whose changes were written to a workspace after the log was that long.

    Args:
        state: The state folder.
        log_bytes: The length that the host's log had.

    Raises:
        audit.errors.AuditError: When a line of the host's log is none.
    """
    files = StateFiles(state)
    openings, found, place = Openings(SessionFiles(files.folder)), set[str](), 0
    for line in _lines(files):
        if place >= log_bytes and _APPLIED in line:
            applied = _event(read(line, b""), openings)
            if isinstance(applied, StageApplied):
                found.add(applied.session)
        place += len(line) + 1
    return frozenset(found)


def came_beside(state: Path, session: str, workspace: WorkspaceIdentity) -> frozenset[Capability]:
    """Return what labels in reach of a session's workspace came to hold while it ran; in doubt, everything.

    What was written there at once, it may have read, whoever reviewed it since.

    Args:
        state: The state folder.
        session: Whose. One that was killed counts as running until it is taken up again and ends.
        workspace: The folder that it works in.

    Raises:
        audit.errors.AuditError: When a line of the host's log is none.
    """
    return came_beside_each(state, (session,), workspace)[session]


def came_beside_each(
    state: Path, sessions: Iterable[str], workspace: WorkspaceIdentity
) -> dict[str, frozenset[Capability]]:
    """Return the same of several sessions that worked in one folder."""
    files = StateFiles(state)
    openings = Openings(SessionFiles(files.folder))
    came, running = dict.fromkeys(sessions, frozenset[Capability]()), set[str]()
    for line in _lines(files) if came else ():
        if _CHANGED in line and running:
            changed = _event(read(line, b""), openings)
            if not isinstance(changed, LabelChanged):
                after = frozenset(Capability)
            else:
                there = WorkspaceIdentity(device=0, inode=0, birth_ns=0, path=changed.workspace)
                reached = changed.identity == workspace.key or overlap(workspace, there)
                after = frozenset(map(Capability, changed.after)) if reached else frozenset()
            came |= {session: came[session] | after for session in running}
        elif b'"type":"session.' in line:
            _take_begin_or_end(orjson.loads(line), running, of=came.keys())
    return came


def _take_begin_or_end(entry: dict[str, object], running: set[str], *, of: AbstractSet[str]) -> None:
    """Keep who has a runner, as far as the host's log knows, after one of its entries."""
    body = entry["body"]
    session = body.get("session") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(session, str) or session not in of:
        return
    if entry["type"] in _BEGAN:
        running.add(session)
    elif entry["type"] == SessionSealed.kind and body.get("closed"):
        running.discard(session)


def _lines(files: StateFiles) -> Iterator[bytes]:
    if files.log.exists():
        yield from Lines([files.log])


def _event(entry: Entry, openings: Openings) -> Event | None:
    """Return what an entry tells; None where its body is gone."""
    try:
        return event_of(whole(entry, openings) if entry.body.keys() == {OVERFLOW} else entry)
    except AuditError:
        return None
