"""List sessions and show entries, for people: everything that an agent wrote is escaped, nothing is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit.errors import AuditError
from audit.escape import escape_line
from audit.hostile import unmark
from audit.index import read_index
from audit.lock import is_held
from audit.reader import BrokenEntry, SessionReader
from audit.state import StateFiles
from audit.summary import reasons, told

if TYPE_CHECKING:
    from pathlib import Path

    from audit.chain import Entry
    from audit.index import HostIndex


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
    purpose; `missing` where it is gone; `broken` where it does not verify."""

    def as_json(self) -> dict[str, str | None]:
        """Return the row as a JSON-ready mapping."""
        return {
            "session": self.session,
            "started": self.started,
            "grant": self.grant,
            "workspace": self.workspace,
            "status": self.status,
        }


def listed(state: Path) -> list[Row]:
    """Return every registered session, oldest first.

    Raises:
        audit.errors.BrokenLedgerError: When the host's log does not verify.
    """
    files = StateFiles(state)
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    rows = []
    for session, record in index.sessions.items():
        known = record.registered
        rows.append(
            Row(
                session=session,
                started=record.registered_at[:19],
                grant=known.grant if known else "?",
                workspace=known.workspace if known else None,
                status=status_of(state, session, index=index),
            )
        )
    return rows


def status_of(state: Path, session: str, *, index: HostIndex | None = None) -> str:
    """Return how a session stands: one of the words of `Row.status`.

    Args:
        state: The state folder.
        session: The whole id.
        index: The host's log, where it was read already.
    """
    files = StateFiles(state).session(session)
    index = index or read_index(StateFiles(state))
    record = index.session(session)
    if is_held(files.lock):
        return "running"
    try:
        last = _last_entry(SessionReader(state, session, index=index))
    except AuditError:
        return "pruned" if record.pruned is not None and record.pruned.size >= record.size else "missing"
    if isinstance(last, BrokenEntry):
        return "broken"
    return (
        str(last.body.get("status", "?"))
        if last is not None and last.type == "session.closed"
        else "interrupted"
    )


def _last_entry(reader: SessionReader) -> Entry | BrokenEntry | None:
    """Return the last entry that tells something: not a seal of the journal's own."""
    last: Entry | BrokenEntry | None = None
    for entry in reader.entries():
        if isinstance(entry, BrokenEntry):
            return entry
        if entry.type != "log.sealed":
            last = entry
    return last


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


_DECIDED = frozenset({"action.intended", "egress.opened", "egress.requested"})


def _body(reader: SessionReader, entry: Entry) -> object:
    """Return an entry's fields, marks turned back; what was withheld stays a commitment."""
    try:
        return unmark(reader.body(entry))
    except AuditError:
        return unmark(entry.body)
