"""List sessions and show entries, for people: everything that an agent wrote is escaped, nothing is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_runner.resumable import resuming
from agent_runner.reviewed import reviewed_sessions
from audit.chain import Entry
from audit.ending import last_entry, last_of_whole
from audit.errors import AuditError
from audit.escape import escape_line
from audit.hostile import unmark
from audit.index import read_index
from audit.lock import is_held
from audit.reader import BrokenEntry
from audit.state import StateFiles
from audit.summary import reasons, told

if TYPE_CHECKING:
    from pathlib import Path

    from audit.index import HostIndex
    from audit.reader import SessionReader

    LastOf = Callable[[Path, str, HostIndex], Entry | BrokenEntry | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One session in a list."""

    session: str
    started: str
    """UTC, to the second."""
    grant: str
    workspace: str | None
    status: str
    """The recorded end; `running`; `interrupted` where none is recorded; `pruned` where all was deleted on
    purpose; `missing` where it is gone; `broken` where its end, or all that was read, does not hold."""

    waits_for: str = ""
    """What a running session waits for that does not come from itself."""
    resume: str = ""
    """The command that goes on with it; empty where none does."""

    def as_json(self) -> dict[str, str | None]:
        """Return the row as a JSON-ready mapping."""
        return {
            "session": self.session,
            "started": self.started,
            "grant": self.grant,
            "workspace": self.workspace,
            "status": self.status,
            "waits_for": self.waits_for,
            "resume": self.resume,
        }


class _Standing(NamedTuple):
    status: str
    unfinished: bool = False


def listed(state: Path) -> list[Row]:
    """Return every registered session, oldest first.

    Of each log only the last lines are read and held against the host's log: what stands before them is for
    `verify`, and for whatever reads a whole session.

    Raises:
        audit.errors.BrokenLedgerError: When the host's log does not verify.
    """
    files = StateFiles(state)
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    rows, statuses = [], _statuses(state, index.sessions, index, last_entry)
    reviewed = reviewed_sessions(state)
    for session, record in index.sessions.items():
        known = record.registered
        status, unfinished = statuses[session]
        rows.append(
            Row(
                session=session,
                started=record.registered_at[:19],
                grant=known.grant if known else "?",
                workspace=known.workspace if known else None,
                status=status,
                waits_for=_waits_for(state, session, index) if status == "running" else "",
                resume=""
                if session in reviewed
                else resuming(files.session(session), record, status, unfinished=unfinished),
            )
        )
    return rows


def status_of(state: Path, session: str, *, index: HostIndex | None = None) -> str:
    """Return how a session stands, its whole log verified: one of the words of `Row.status`.

    Args:
        state: The state folder.
        session: The whole id.
        index: The host's log, where it was read already.
    """
    return _statuses(state, [session], index or read_index(StateFiles(state)), last_of_whole)[session].status


def _statuses(
    state: Path, sessions: Iterable[str], index: HostIndex, last_of: LastOf
) -> dict[str, _Standing]:
    """Return how sessions stand; what is broken by what was read of the host's log is judged once more.

    It may have been taken up again since, with a key that was not yet known, behind an end that is none now.
    """
    found = {session: _status(state, session, index, last_of) for session in sessions}
    broken = [session for session, standing in found.items() if standing.status == "broken"]
    if broken and (newer := read_index(StateFiles(state))).broken is None and newer.size > index.size:
        found |= {session: _status(state, session, newer, last_of) for session in broken}
    return found


def _status(state: Path, session: str, index: HostIndex, last_of: LastOf) -> _Standing:
    record = index.session(session)
    if is_held(StateFiles(state).session(session).lock):
        return _Standing("running")
    try:
        last = last_of(state, session, index)
    except AuditError:
        all_pruned = record.pruned is not None and record.pruned.size >= record.size
        return _Standing("pruned" if all_pruned else "missing")
    if isinstance(last, BrokenEntry):
        return _Standing("broken")
    if last is None or last.type != "session.closed":
        return _Standing("interrupted")
    return _Standing(str(last.body.get("status", "?")), unfinished=last.body.get("unfinished") is True)


def _waits_for(state: Path, session: str, index: HostIndex) -> str:
    """Return what a running session waits for, by its last entry; empty where it is at work."""
    try:
        last = last_entry(state, session, index)
    except AuditError:
        return ""
    match last:
        case None | BrokenEntry():  # it writes meanwhile: for `verify` to judge
            return ""
        case Entry(type="model.failed", body={"will_retry": True}):
            return "its model's server"
        case Entry(type="approval.requested"):
            return "an answer"
        case _:
            return ""


HANGING: Final = 9
"""Columns by which what is folded of an entry's line stands in: two more than its reasons do."""


def entry_lines(reader: SessionReader, entry: Entry | BrokenEntry) -> Iterator[str]:
    """Yield the lines of one entry: number, time, type, verdict, what it is about; below it, each reason.

    Everything is escaped, the entry's own type and times among it: a forged log can hold anything there.
    """
    if isinstance(entry, BrokenEntry):
        yield f"{entry.seq:>5}  does not hold: {escape_line(entry.why)}"
        if entry.raw:
            yield f"       as it stands: {escape_line(entry.raw.decode('utf-8', 'backslashreplace'))}"
        return
    body = _body(reader, entry)
    verdict = body.get("verdict") if isinstance(body, Mapping) and entry.type in _DECIDED else None
    words = [f"{verdict}  "] if verdict else []
    line = f"{entry.seq:>5}  {entry.at[11:23]}  {entry.type:<17}  {''.join([*words, told(entry.type, body)])}"
    yield escape_line(line.rstrip())
    for reason in reasons(body):
        yield f"       {escape_line(reason)}"


def entry_fields(entry: Entry | BrokenEntry) -> dict[str, object]:
    """Return an entry as a JSON-ready mapping; one that does not hold says why, and how it stands."""
    if isinstance(entry, BrokenEntry):
        raw = entry.raw.decode("utf-8", "backslashreplace")
        return {"seq": entry.seq, "broken": entry.why, "raw": raw}
    return {"seq": entry.seq, "at": entry.at, "type": entry.type, "body": entry.body}


_DECIDED = frozenset({"action.intended", "egress.opened", "egress.requested"})


def _body(reader: SessionReader, entry: Entry) -> object:
    """Return an entry's fields, marks turned back; what was withheld stays a commitment."""
    try:
        return unmark(reader.body(entry))
    except AuditError:
        return unmark(entry.body)
