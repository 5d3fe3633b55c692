"""Read a session's entries while verifying them: nothing is handed out that was not held against its chain.

A broken entry is handed out as what it is, with the reason, and ends the reading; it is never hidden.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.bookmark import Bookmark
from audit.chain import Entry, leaf_hash, read
from audit.errors import AuditError, BadEventError, BrokenLedgerError, UnknownSessionError
from audit.escape import escape_line
from audit.fields import Commitment, Event
from audit.index import HostIndex, read_index
from audit.openings import Gone, Openings
from audit.recover import kept_segments, no_ledger, walk_of
from audit.schema import OVERFLOW, commitment_of, event_of, moved_body
from audit.segments import Lines
from audit.state import SHORTEST_PREFIX, StateFiles
from audit.walk import BrokenWalkError, Walk

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """An entry that does not hold, and behind which nothing is known.

    Attributes:
        seq: Its place.
        why: What is wrong.
        raw: The line, as it stands; at most 4 KiB of it.
    """

    seq: int
    why: str
    raw: bytes


def distrust(index: HostIndex, size: int) -> list[BrokenEntry]:
    """Return what to show behind a session's last entry: that nothing vouches for it, if that is so.

    Args:
        index: The host's log, read.
        size: The session's entries.
    """
    if index.broken is None:
        return []
    return [BrokenEntry(size, f"the host's log does not hold: {index.broken}", b"")]


def cut_off(size: int, known: int) -> BrokenEntry:
    """Return what to show behind a session's last entry where the host's log knows of more.

    Args:
        size: The session's entries.
        known: How many the host's log knows.
    """
    return BrokenEntry(size, f"the log ends here, the host's log knows {known} entries", b"")


def require_whole(index: HostIndex) -> None:
    """Check that the host's log, which names the sessions, holds: else it may leave one out.

    Raises:
        BrokenLedgerError: When it does not.
    """
    if index.broken is not None:
        raise BrokenLedgerError(f"the host's log does not hold: {index.broken}", seq=index.broken.seq)


class SessionReader:
    """Reads one session.

    Args:
        state: The state folder.
        session_id: A whole id.
        index: The host's log, where it has been read already.

    Raises:
        UnknownSessionError: When the session has no log.
    """

    def __init__(self, state: Path, session_id: str, *, index: HostIndex | None = None) -> None:
        self._state = StateFiles(state)
        self.session_id = session_id
        self.files = self._state.session(session_id)
        self._index = index or read_index(self._state)
        self._record = self._index.session(session_id)
        if not kept_segments(self.files, self._record):
            raise no_ledger(session_id, self._record)
        self._openings: Openings | None = None

    @property
    def openings(self) -> Openings:
        """Return what stands behind the session's commitments, read on first use."""
        if self._openings is None:
            self._openings = Openings(self.files)
        return self._openings

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yield the entries in order, each held against the chain, the seals and the host's log before.

        Behind the last stands a broken one where the host's log itself does not hold. Where one does not hold
        and the host's log has grown since it was read, the session may have been taken up again or pruned
        meanwhile: a second look, with what is known now, goes on behind what was yielded, if that is there.
        """
        mark = Bookmark()
        end = yield from self._look(mark)
        if end is not None and (newer := read_index(self._state)).size > self._index.size:
            record = newer.session(self.session_id)
            if mark.look_again(record.pruned):
                self._index, self._record, self._openings = newer, record, None
                end = yield from self._look(mark)
        if end is not None:
            yield end

    def _look(self, mark: Bookmark) -> Generator[Entry | BrokenEntry, None, BrokenEntry | None]:
        """Yield the entries behind a place, which moves along; return what the look ended at."""
        try:
            for entry in self._entries():
                if isinstance(entry, BrokenEntry):
                    return entry
                if mark.is_behind(entry.seq, entry.leaf):
                    mark.move(entry.seq, entry.leaf)
                    yield entry
            mark.require_held()
        except BrokenWalkError as error:
            return BrokenEntry(error.first, str(error), b"")
        return None

    def _entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yield the entries as they hold by what was read of the host's log, and what does not."""
        walk = walk_of(self.session_id, self._record, collect=False)
        try:
            lines = Lines([path for _, path in kept_segments(self.files, self._record)])
            for block in lines.blocks():
                for start in range(0, len(block), _AT_ONCE):
                    broken = yield from self._held(walk, block[start : start + _AT_ONCE])
                    if broken:
                        return
        except BrokenLedgerError as error:
            yield BrokenEntry(walk.chain.size, str(error), b"")
            return
        if lines.torn.size and walk.has_ended():
            yield BrokenEntry(walk.chain.size, str(walk.behind_the_end()), b"")
        elif walk.chain.size < self._record.size:
            yield cut_off(walk.chain.size, self._record.size)
        else:
            yield from distrust(self._index, walk.chain.size)

    def _held(self, walk: Walk, lines: list[bytes]) -> Generator[Entry | BrokenEntry, None, bool]:
        """Yield the entries of some lines, as far as they hold; tell whether one did not."""
        before = walk.chain.size
        problem: BrokenWalkError | None = None
        try:
            walk.feed(lines)
        except BrokenWalkError as error:
            problem = error
        good = lines[: walk.chain.size - before]
        try:
            for line in good:
                yield read(line, leaf_hash(line))
        except AuditError as error:
            yield BrokenEntry(before, str(error), b"")
            return True
        if problem is not None:
            bad = lines[len(good)] if len(good) < len(lines) else b""
            yield BrokenEntry(problem.first, str(problem), bad[:4096])
        return problem is not None

    def events(self) -> Iterator[tuple[Entry, Event]]:
        """Yield the entries with their events, whole bodies included: what a fold over the session reads.

        Raises:
            BrokenLedgerError: At the first entry that does not hold.
            BadEventError: At an entry of an unknown type.
        """
        for entry in self.entries():
            if isinstance(entry, BrokenEntry):
                raise BrokenLedgerError(entry.why, path=self.files.events, seq=entry.seq)
            yield entry, self.event(entry)

    def event(self, entry: Entry) -> Event:
        """Return the event of an entry, fetching its body where that was too long for the line.

        Raises:
            BadEventError: When the type is unknown, or the body does not fit or is gone.
        """
        return event_of(entry, body=self.body(entry))

    def body(self, entry: Entry) -> object:
        """Return the fields of an entry, wherever they are kept.

        Raises:
            BadEventError: When they are gone, or are not what a writer writes.
        """
        if entry.body.keys() != {OVERFLOW}:
            return entry.body
        value = self.value(commitment_of(entry))
        if isinstance(value, Gone):
            raise BadEventError(f"the body of entry {entry.seq} was withheld or is gone")
        return moved_body(entry, value)

    def value(self, commitment: Commitment) -> bytes | Gone:
        """Return what stands behind a commitment, checked against it.

        Raises:
            BrokenLedgerError: When it is not what was committed to.
        """
        return self.openings.value(commitment)

    def text(self, commitment: Commitment) -> str:
        """Return the text behind a commitment.

        Raises:
            BrokenLedgerError: When it is gone, was changed or is no text: a session with a deleted opening is
            not resumed.
        """
        value = self.value(commitment)
        if isinstance(value, Gone):
            raise BrokenLedgerError(f"the value behind commitment `{commitment.digest[:16]}` is gone")
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BrokenLedgerError(
                f"the value behind commitment `{commitment.digest[:16]}` is no text"
            ) from error


def resolve_id(
    index: HostIndex,
    given: str,
    *,
    owner_uid: int,
    folder: str | None = None,
    is_passed_over: Callable[[str], bool] = lambda _: False,
) -> str:
    """Return the whole id that a person's short form means.

    Args:
        index: The host's log, read.
        given: An id, a prefix of at least 4 characters, `last`, or `last:FOLDER`.
        owner_uid: Whose sessions `last` chooses from.
        folder: The resolved folder, where `given` is `last:FOLDER` and the caller has resolved it.
        is_passed_over: Tells which sessions `last` does not choose, as those that another one started.

    Raises:
        UnknownSessionError: When nothing, or more than one session, answers to it.
        BrokenLedgerError: When nothing does, and the host's log does not hold.
    """
    if given == "last" or given.startswith("last:"):
        wanted = folder if folder is not None else given.removeprefix("last").removeprefix(":") or None
        return _newest(index, owner_uid, wanted, is_passed_over)
    if given in index.sessions:
        return given
    long_enough = len(given) >= SHORTEST_PREFIX
    found = [session for session in index.sessions if long_enough and session.startswith(given)]
    if len(found) == 1:
        return found[0]
    shown = escape_line(given, width=20)
    if found:
        raise UnknownSessionError(
            f"`{shown}` is the beginning of {len(found)} sessions", hint="give more characters"
        )
    require_whole(index)
    raise UnknownSessionError(f"no session `{shown}`", hint="at least 4 characters of an id, or `last`")


def _newest(
    index: HostIndex, owner_uid: int, folder: str | None, is_passed_over: Callable[[str], bool]
) -> str:
    for session, record in reversed(index.sessions.items()):
        known = record.registered
        if known is None or known.owner_uid != owner_uid:
            continue
        if (folder is None or known.workspace == folder) and not is_passed_over(session):
            return session
    require_whole(index)
    raise UnknownSessionError("no session yet" if folder is None else "no session on that folder yet")
