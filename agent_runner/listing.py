"""List sessions and show entries, for people: everything that an agent wrote is escaped, nothing is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.errors import AuditError
from audit.escape import escape_line
from audit.index import read_index
from audit.lock import is_held
from audit.reader import BrokenEntry, SessionReader
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

    from audit.chain import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One session in a list."""

    session: str
    started: str
    """UTC, to the second."""
    grant: str
    workspace: str | None
    status: str
    """The recorded end; `running`, or `interrupted` where none is recorded."""

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
                status=_status(state, session),
            )
        )
    return rows


def _status(state: Path, session: str) -> str:
    files = StateFiles(state).session(session)
    if is_held(files.lock):
        return "running"
    try:
        last = _last_entry(SessionReader(state, session))
    except AuditError:
        return "missing"
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


def entry_lines(reader: SessionReader, entry: Entry) -> Iterator[str]:
    """Yield the lines of one entry: number, time, type, and every field that says something."""
    body = reader.body(entry)
    fields = body if isinstance(body, Mapping) else {}
    yield f"{entry.seq:>5}  {entry.at[11:23]}  {entry.type}  {_headline(entry.type, fields)}".rstrip()
    for reason in fields.get("reasons") or ():
        yield f"       {escape_line(_reason(reason))}"


def _headline(kind: str, fields: Mapping[str, object]) -> str:
    match kind:
        case "action.intended":
            argv = fields.get("argv")
            words = " ".join(_word(word) for word in argv) if isinstance(argv, list) else ""
            return f"{fields.get('verdict')}  {escape_line(words)}"
        case "action.finished":
            code = fields.get("exit_code")
            shown = f", exit {code}" if code else ""
            return f"{fields.get('outcome')}{shown}, {fields.get('duration_ms')} ms"
        case "sandbox.attested":
            evidence = fields.get("evidence")
            count = len(evidence) if isinstance(evidence, list) else 0
            return f"{fields.get('verdict')}, {count} checks"
        case _:
            return escape_line(" ".join(_pairs(fields)))


def _pairs(fields: Mapping[str, object]) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, str | int) and value != "" and name not in ("vkey", "note", "session"):
            yield f"{name}={value}"


def _word(word: object) -> str:
    text = str(word)
    return text if text and all(c.isalnum() or c in "-_./:=@,+%^" for c in text) else repr(text)


def _reason(reason: object) -> str:
    if not isinstance(reason, Mapping):
        return str(reason)
    rule = reason.get("rule")
    where = f" ({rule['origin']}:{rule['line']}:{rule['column']})" if isinstance(rule, Mapping) else ""
    return f"{reason.get('code')}: {reason.get('message')}{where}"
