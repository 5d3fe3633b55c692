"""A session in the forms that others read, piece by piece, so that a large log takes no more memory."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from audit.chain import Entry
from audit.errors import AuditError, BrokenLedgerError
from audit.jsonlines import json_line
from audit.markdown import markdown
from audit.ocsf import ocsf
from audit.otlp import otlp
from audit.query import whole
from audit.reader import BrokenEntry, SessionReader
from audit.rows import csv_lines, json_lines
from audit.schema import OVERFLOW
from audit.verify import verify_session


class View(StrEnum):
    """A form that shows a session to others; only the bundle is a copy that proves itself."""

    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    OCSF = "ocsf"
    OTLP = "otlp"


class _Watched:
    """Passes a session's entries on, whole, and keeps the last that does not hold, if there is one."""

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        self.broken: BrokenEntry | None = None

    def __iter__(self) -> Iterator[Entry | BrokenEntry]:
        for read in self._reader.entries():
            entry = self._whole(read)
            if isinstance(entry, BrokenEntry):
                self.broken = entry
            yield entry

    def _whole(self, entry: Entry | BrokenEntry) -> Entry | BrokenEntry:
        """Fetch a body that was too long for its line: nobody leaves an export by writing at length."""
        if isinstance(entry, BrokenEntry) or entry.body.keys() != {OVERFLOW}:
            return entry
        try:
            return whole(entry, self._reader.openings)
        except AuditError as error:
            return BrokenEntry(entry.seq, str(error), b"")


def viewed(state: Path, session_id: str, view: View, *, version: str) -> Iterator[bytes]:
    """Yield a session in one of the forms, every entry verified on the way.

    Args:
        state: The state folder.
        session_id: A whole id.
        view: The form.
        version: The version of pairlock that exports.

    Raises:
        UnknownSessionError: When the session has no log.
        BrokenLedgerError: After everything has been yielded, when an entry does not hold; it is shown.
    """
    entries = _Watched(SessionReader(state, session_id))
    yield from _pieces(state, session_id, view, entries, version)
    if entries.broken is not None:
        raise BrokenLedgerError(
            f"entry {entries.broken.seq} does not hold: {entries.broken.why}", seq=entries.broken.seq
        )


def _pieces(state: Path, session_id: str, view: View, entries: _Watched, version: str) -> Iterator[bytes]:
    match view:
        case View.CSV:
            yield from (line.encode("utf-8", "replace") for line in csv_lines(entries))
        case View.JSON:
            yield from json_lines(entries)
        case View.MARKDOWN:
            verification = verify_session(state, session_id)
            yield from (line.encode("utf-8", "replace") for line in markdown(verification, entries))
        case View.OCSF:
            yield from (json_line(event) for event in ocsf(session_id, entries, version=version))
        case View.OTLP:
            yield from otlp(session_id, entries, version=version)
        case _:
            assert_never(view)
