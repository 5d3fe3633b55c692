"""Follow a session's log while it is written: what is new and holds, each time it is asked."""

from collections.abc import Iterator
from pathlib import Path

from audit.chain import LONGEST_LINE, Entry, read
from audit.errors import AuditError, BrokenLedgerError
from audit.index import read_index
from audit.reader import BrokenEntry, cut_off, distrust
from audit.recover import bound_of, kept_segments, no_ledger, walk_of
from audit.segments import opened
from audit.state import StateFiles
from audit.walk import BrokenWalkError

_AT_ONCE = 1024 * 1024
_RECOVERED = b'"type":"session.recovered"'


class Follower:
    """Reads on where it left off; the caller decides how often to ask.

    Args:
        state: The state folder.
        session_id: A whole id.

    Raises:
        UnknownSessionError: When the session has no log.
    """

    def __init__(self, state: Path, session_id: str) -> None:
        self._state = StateFiles(state)
        self._files = self._state.session(session_id)
        self._session_id = session_id
        self._index = read_index(self._state)
        record = self._index.session(session_id)
        segments = kept_segments(self._files, record)
        if not segments:
            raise no_ledger(session_id, record)
        self._segment, self._offset = segments[0][0], 0
        self._walk = walk_of(session_id, record, collect=False)
        self._torn = False
        self._stopped = False

    def poll(self) -> list[Entry | BrokenEntry]:
        """Return what has come since the last time; after a broken entry nothing more comes."""
        return list(self.news())

    def news(self) -> Iterator[Entry | BrokenEntry]:
        """Yield what has come since the last time, about a megabyte of lines being held at once.

        What is not taken from it is not told again: take all of it.
        """
        while not self._stopped:
            # Asked first: what follows is the file's last.
            is_newest = not self._files.segment(self._segment + 1).exists()
            try:
                lines = self._new_lines()
                if not lines and is_newest:
                    break
                if not lines:
                    self._next_segment()
            except BrokenLedgerError as error:
                self._stopped = True
                yield BrokenEntry(self._walk.chain.size, str(error), b"")
                return
            yield from self._taken(lines)
        if not self._stopped:
            distrusted = self._behind_the_end() or distrust(self._index, self._walk.chain.size)
            self._stopped = bool(distrusted)
            yield from distrusted

    def at_the_end(self) -> Iterator[Entry | BrokenEntry]:
        """Yield what has come since the last time, and behind it that entries are missing, if that is so.

        Ask this where nobody writes any more: it reads the host's log first, which never knows of an entry
        that the session's file does not hold yet.
        """
        self._look_again()
        known = self._index.session(self._session_id).size
        yield from self.news()
        if not self._stopped and self._walk.chain.size < known:
            self._stopped = True
            yield cut_off(self._walk.chain.size, known)

    def _taken(self, lines: list[bytes]) -> Iterator[Entry | BrokenEntry]:
        for line in lines:
            yield self._take(line)
            if self._stopped:
                return

    def _new_lines(self) -> list[bytes]:
        """Return the whole lines among the next megabyte.

        Raises:
            BrokenLedgerError: When the file cannot be read, or holds a line without an end.
        """
        with opened(self._files.segment(self._segment)) as file:
            file.seek(self._offset)
            raw = file.read(_AT_ONCE)
        whole, newline, rest = raw.rpartition(b"\n")
        if not newline and len(rest) > 2 * LONGEST_LINE:
            name = self._files.segment(self._segment).name
            raise BrokenLedgerError(f"`{name}` holds a line without an end")
        self._torn = bool(rest) and len(raw) < _AT_ONCE
        self._offset += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []

    def _behind_the_end(self) -> list[BrokenEntry]:
        """Return what to show of bytes behind the sealed end, which are no line that is being written."""
        walk = self._walk
        if not self._torn or walk.last_kind != "session.closed":
            return []
        self._look_again()
        return [BrokenEntry(walk.chain.size, str(walk.behind_the_end()), b"")] if walk.has_ended() else []

    def _look_again(self) -> None:
        """Read what the host's log says of the session by now."""
        self._index = read_index(self._state)
        self._walk.bound = bound_of(self._session_id, self._index.session(self._session_id))

    def _next_segment(self) -> None:
        """Go on with the next file.

        Raises:
            BrokenLedgerError: When the one before does not end with a line.
        """
        if self._torn:
            name = self._files.segment(self._segment).name
            raise BrokenLedgerError(f"`{name}` ends in the middle of a line")
        self._segment, self._offset = self._segment + 1, 0

    def _take(self, line: bytes) -> Entry | BrokenEntry:
        if self._may_have_been_taken_up(line):
            self._look_again()
        try:
            self._walk.feed([line])
            return read(line, self._walk.chain.head)
        except BrokenWalkError as error:
            self._stopped = True
            return BrokenEntry(error.first, str(error), line[:4096])
        except AuditError as error:
            self._stopped = True
            return BrokenEntry(self._walk.chain.size - 1, str(error), line[:4096])

    def _may_have_been_taken_up(self, line: bytes) -> bool:
        """Tell whether what the host's log says of the session may be newer than what is known of it here."""
        walk = self._walk
        over = walk.last_kind == "session.closed" or walk.chain.size >= walk.bound.last_size()
        return over or _RECOVERED in line
