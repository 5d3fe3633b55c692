"""How a session's log ends, told from its last lines alone: for lists of many sessions, not for judging one.

The last lines are held against each other and against what the host's log knows of the end. INVARIANT: what
stands before them is not looked at, and whoever tells of an end says nothing of the rest; `verify` does.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from audit.chain import LONGEST_LINE, Entry, leaf_hash, opening, read
from audit.errors import BrokenLedgerError, MalformedLineError
from audit.index import HostIndex
from audit.reader import BrokenEntry, SessionReader
from audit.recover import kept_segments, no_ledger
from audit.segments import opened
from audit.state import StateFiles
from audit.walk import BEHIND_THE_END

_LOOKED_AT = 4 * LONGEST_LINE
"""Bytes at a file's end: an end and the seal behind it, however long."""


def last_entry(state: Path, session_id: str, index: HostIndex) -> Entry | BrokenEntry | None:
    """Return the last entry that is no seal; None where there is none; what is odd about the end where it is.

    Args:
        state: The state folder.
        session_id: A whole id.
        index: The host's log, read.

    Raises:
        UnknownSessionError: When the session has no log.
    """
    files, record = StateFiles(state).session(session_id), index.session(session_id)
    segments = kept_segments(files, record)
    if not segments:
        raise no_ledger(session_id, record)
    try:
        lines, torn = _last_lines(segments[-1][1])
        entries = _linked(lines)
    except (BrokenLedgerError, MalformedLineError) as error:
        return BrokenEntry(record.size, str(error), b"")
    told = [entry for entry in entries if entry.type != "log.sealed"]
    size = entries[-1].seq + 1 if entries else 0
    if not told or (told[-1].type == "session.closed" and record.closed_at_size != size):
        return last_of_whole(state, session_id, index)  # the host's log vouches for no such end
    if size < record.size:
        return BrokenEntry(size, f"the log ends here, the host's log knows {record.size} entries", b"")
    if record.closed_at_size is not None and (size > record.closed_at_size or torn):
        return BrokenEntry(record.closed_at_size, BEHIND_THE_END, b"")
    for entry in entries:
        if record.heads.get(entry.seq + 1, entry.leaf) != entry.leaf:
            return BrokenEntry(entry.seq, "it is not what the host's log has sealed", b"")
    return told[-1]


def _last_lines(path: Path) -> tuple[list[bytes], bool]:
    """Return a file's last whole lines, and whether bytes stand behind them."""
    with opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _LOOKED_AT)
        file.seek(start)
        raw = file.read(_LOOKED_AT)
    first, *rest = raw.split(b"\n")
    lines = [first, *rest] if start == 0 else rest  # else it begins within a line
    return lines[:-1], bool(lines and lines[-1])


def _linked(lines: Sequence[bytes]) -> list[Entry]:
    """Return the entries of lines, each of which follows the one before.

    Raises:
        MalformedLineError: When one does not, or is not what a writer writes.
    """
    entries: list[Entry] = []
    for line in lines:
        entry = read(line, leaf_hash(line))
        if entries and not line.startswith(opening(entries[-1].seq + 1, entries[-1].leaf)):
            raise MalformedLineError(f"entry {entry.seq} does not follow the entry before it", seq=entry.seq)
        entries.append(entry)
    return entries


def last_of_whole(state: Path, session_id: str, index: HostIndex) -> Entry | BrokenEntry | None:
    """Return the same, every line of the log being verified on the way.

    Args:
        state: The state folder.
        session_id: A whole id.
        index: The host's log, read.

    Raises:
        UnknownSessionError: When the session has no log.
    """
    last: Entry | BrokenEntry | None = None
    for entry in SessionReader(state, session_id, index=index).entries():
        if isinstance(entry, BrokenEntry):
            return entry
        last = last if entry.type == "log.sealed" else entry
    return last
