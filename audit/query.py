"""Ask the ledgers: what fulfils a filter, in one session or in all, verified while read, without an index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from audit.bookmark import Bookmark
from audit.chain import Entry, read
from audit.errors import AuditError, MalformedLineError
from audit.filters import Filter, Term, lacks_tag, matches, parse_filter, with_secret
from audit.index import HostIndex, read_index
from audit.openings import Gone, Openings
from audit.reader import BrokenEntry, cut_off, distrust, require_whole
from audit.recover import kept_segments
from audit.schema import OVERFLOW, commitment_of, moved_body
from audit.search import Search, seen
from audit.skim import Seen
from audit.state import SessionFiles, StateFiles
from audit.walk import BrokenWalkError

__all__ = [
    "Filter",
    "Found",
    "Term",
    "matches",
    "parse_filter",
    "query",
    "query_session",
    "whole",
    "with_secret",
]


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that a query has found.

    Attributes:
        session: The session's id.
        entry: The entry; or what is broken, behind which nothing was read.
    """

    session: str
    entry: Entry | BrokenEntry


def query_session(
    state: Path, session_id: str, wanted: Filter, *, index: HostIndex | None = None
) -> Iterator[Entry | BrokenEntry]:
    """Yield the entries of one session that fulfil the filter, the whole log being verified on the way.

    The chain and every seal are checked over all lines; the spelling of those that are yielded. An entry
    that does not hold is yielded as broken, and ends the reading; one that holds and whose body cannot be
    read is yielded as broken as well, and the reading goes on.

    Args:
        state: The state folder.
        session_id: A whole id.
        wanted: The filter.
        index: The host's log, where it has been read already.
    """
    files = StateFiles(state)
    mark = Bookmark()
    look = _Look(files, index or read_index(files), session_id, wanted, mark)
    yield from look.entries()
    if look.end is not None:
        newer = read_index(files)
        if newer.size > look.index.size and mark.look_again(newer.session(session_id).pruned):
            look = _Look(files, newer, session_id, wanted, mark)
            yield from look.entries()
    if look.end is not None:
        yield look.end


class _Look:
    """One look through a session; `end` then says what it ended at, where that is not the log's end.

    Where the host's log has grown since it was read, the session may have been taken up again meanwhile, with
    a key that was not yet known: a second look, with what is known now, goes on behind `mark`.
    """

    def __init__(
        self, files: StateFiles, index: HostIndex, session_id: str, wanted: Filter, mark: Bookmark
    ) -> None:
        self.index = index
        self.end: BrokenEntry | None = None
        self._mark = mark
        self._files = files.session(session_id)
        self._search = Search(session_id, index.session(session_id), wanted)

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yield what fulfils the filter, and what holds and cannot be read."""
        skim, record = self._search.skim(), self._search.record
        segments = kept_segments(self._files, record)
        try:
            yield from self._fitting(seen(self._search, skim, [path for _, path in segments]))
        except BrokenWalkError as error:
            self.end = BrokenEntry(error.first, str(error), b"")
            return
        except MalformedLineError as error:
            self.end = BrokenEntry(skim.size if error.seq is None else error.seq, str(error), b"")
            return
        except AuditError as error:
            self.end = BrokenEntry(skim.size, str(error), b"")
            return
        if segments and skim.size < record.size:
            self.end = cut_off(skim.size, record.size)
        else:
            yield from distrust(self.index, skim.size)

    def _fitting(self, lines: Iterator[Seen]) -> Iterator[Entry | BrokenEntry]:
        wanted, bodies = self._search.wanted, _Bodies(self._files)
        for one in lines:
            if not self._mark.is_behind(one[0], one[2]):
                continue
            entry = bodies.entry(*one)
            if isinstance(entry, BrokenEntry) or (not lacks_tag(wanted, entry) and matches(wanted, entry)):
                self._mark.move(one[0], one[2])
                yield entry
        self._mark.require_held()


class _Bodies:
    """Reads lines that were seen, and fetches the bodies that were moved out of them.

    Args:
        files: The session's files; the openings are read on first use.
    """

    def __init__(self, files: SessionFiles) -> None:
        self._files = files
        self._openings: Openings | None = None

    def entry(self, seq: int, line: bytes, leaf: bytes) -> Entry | BrokenEntry:
        """Return the entry of a line, with its body; broken where that cannot be read.

        Raises:
            MalformedLineError: When the line is not what a writer writes.
            BrokenLedgerError: When the openings cannot be read.
        """
        try:
            entry = read(line, leaf)
        except MalformedLineError as error:
            raise MalformedLineError(str(error), seq=seq) from error
        if entry.body.keys() != {OVERFLOW}:
            return entry
        self._openings = self._openings or Openings(self._files)
        try:
            return whole(entry, self._openings)
        except AuditError as error:
            return BrokenEntry(seq, str(error), b"")


def whole(entry: Entry, openings: Openings) -> Entry:
    """Return an entry with its body in place, fetched from the openings; as it is when that is gone.

    Raises:
        BadEventError: When the body is not what a writer writes.
        BrokenLedgerError: When it is not what was committed to.
    """
    value = openings.value(commitment_of(entry))
    return entry if isinstance(value, Gone) else replace(entry, body=moved_body(entry, value))


def query(
    state: Path, wanted: Filter, *, session_ids: list[str] | None = None, index: HostIndex | None = None
) -> Iterator[Found]:
    """Yield what fulfils the filter in all sessions, or in some, oldest session first.

    Args:
        state: The state folder.
        wanted: The filter.
        session_ids: Whole ids; None asks all.
        index: The host's log, where it has been read already.

    Raises:
        BrokenLedgerError: After everything was yielded, when the host's log, which names the sessions, does
            not hold.
    """
    index = index or read_index(StateFiles(state))
    for session_id in list(index.sessions) if session_ids is None else session_ids:
        for entry in query_session(state, session_id, wanted, index=index):
            yield Found(session_id, entry)
    require_whole(index)
