"""Look through a session's files for lines that may be wanted, every line being held against the chain.

Large logs are looked through by several processes, a file each, that begin where a file's first line claims
to stand. INVARIANT: what such a process says counts only if that is where the file before it was seen to end;
else, and when anything at all is odd, the file is looked through again, in its order, in this process.
"""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from audit.apart import Apart, helpers
from audit.bookmark import Bookmark
from audit.chain import read
from audit.errors import AuditError, LostHelperError
from audit.filters import Filter, lacks_tag, matches
from audit.recover import skim_of
from audit.schema import OVERFLOW
from audit.segments import Lines
from audit.session_record import SessionRecord
from audit.skim import Seen, Skim, Standing, marker_in

LARGE_BYTES = 32 * 1024 * 1024
"""A log of more, in several files, is looked through by several processes: to start them takes some 50 ms."""
_AT_ONCE = 256
_BEGINNING = re.compile(rb'\{"seq":([0-9]{1,15}),"prev":"([0-9a-f]{64})",')


@dataclass(frozen=True, slots=True)
class Search:
    """One look through one session.

    Attributes:
        session_id: A whole id.
        record: What the host's log knows of it.
        wanted: What is looked for.
    """

    session_id: str
    record: SessionRecord
    wanted: Filter

    def skim(self) -> Skim:
        """Return a skim that begins where the log does."""
        return skim_of(self.session_id, self.record)

    def through(self, lines: Lines, skim: Skim) -> Iterator[Seen]:
        """Yield the lines that may be wanted.

        Raises:
            BrokenWalkError: At the first line that does not hold, or where one is torn behind the sealed end.
        """
        pieces, kind = self.wanted.pieces(), self.wanted.kind()
        for block in lines.blocks():
            yield from skim.skim(block, pieces, kind=kind)
        if lines.torn.size and skim.has_ended():
            raise skim.behind_the_end()


def seen(
    search: Search, skim: Skim, paths: Sequence[Path], *, processes: int | None = None
) -> Generator[Seen, None, None]:
    """Yield the lines of a log that may be wanted, in their order.

    Args:
        search: What is looked for, and where.
        skim: A fresh skim of it, which stands at the end when all was yielded.
        paths: The log's files, oldest first.
        processes: How many may work at once; None for one for each core, if the log is large.

    Raises:
        BrokenLedgerError: At the first line that does not hold.
    """
    if processes is None:
        processes = helpers() if _are_large(paths) else 1
    done, mark = 0, Bookmark()
    if processes > 1 and len(paths) > 1 and search.record.vkeys:
        for found in ahead(search, skim, paths, processes):
            if found is None:
                done, mark = done + 1, Bookmark()
            else:
                mark.move(found[0], found[2])
                yield found
        mark.look_again()
    for found in search.through(Lines(paths[done:]), skim):
        if mark.is_behind(found[0], found[2]):
            yield found
    mark.require_held()


def _are_large(paths: Sequence[Path]) -> bool:
    """Tell whether helpers are worth their start; where a file is odd, whoever reads it tells so."""
    try:
        return sum(path.lstat().st_size for path in paths) > LARGE_BYTES
    except OSError:
        return False


def ahead(search: Search, skim: Skim, paths: Sequence[Path], processes: int) -> Iterator[Seen | None]:
    """Yield what helpers find, and None where a file is done; stop without a word when one is of no help."""
    tasks: list[Callable[[], Iterator[Standing | list[Seen]]]] = [
        partial(_in_file, search, path, is_last=path == paths[-1]) for path in paths
    ]
    tasks[0] = partial(_in_file, search, paths[0], start=skim.standing(), is_last=False)
    with Apart(tasks, processes=processes) as apart:
        try:
            for number in range(len(tasks)):
                results = apart.results(number)
                if next(results, None) != skim.standing():
                    return
                end = skim.standing()
                for result in results:
                    if isinstance(result, Standing):
                        end = result
                    else:
                        yield from result
                skim.go_on_from(end)
                yield None
        except LostHelperError:
            return


def _in_file(
    search: Search, path: Path, *, is_last: bool, start: Standing | None = None
) -> Iterator[Standing | list[Seen]]:
    """Yield where a file claims to begin, the lines that are wanted, and where it ends.

    Raises:
        AuditError: When something is odd, of which this process is not the one to tell.
    """
    skim, lines, found = search.skim(), Lines([path]), list[Seen]()
    skim.go_on_from(start or _claimed(skim, path))
    yield skim.standing()
    for one in search.through(lines, skim):
        if _is_wanted(search.wanted, one):
            found.append(one)
        if len(found) == _AT_ONCE:
            yield found
            found = []
    if lines.torn.size and not is_last:
        raise AuditError("the file ends in the middle of a line")
    yield found
    yield skim.standing()


def _is_wanted(wanted: Filter, one: Seen) -> bool:
    """Tell whether a line is of interest to whoever asks: it fits, or its body has to be looked for."""
    _, line, leaf = one
    entry = read(line, leaf)
    return entry.body.keys() == {OVERFLOW} or (not lacks_tag(wanted, entry) and matches(wanted, entry))


def _claimed(skim: Skim, path: Path) -> Standing:
    """Return where a file's first line claims to stand, and in which epoch of the session's keys.

    Raises:
        AuditError: When that cannot be told.
    """
    head: re.Match[bytes] | None = None
    for line in Lines([path]):
        head = head or _BEGINNING.match(line)
        marker = marker_in(line)
        if head is None or marker is not None:
            break
    else:
        marker = None
    match _fields_of(marker or b"null"):
        case {"type": "log.sealed", "body": {"epoch": int(epoch)}}:
            pass
        case {"type": "session.recovered", "body": {"epoch": int(later)}}:
            epoch = later - 1
        case _:
            head = None
    if head is None:
        raise AuditError("the file does not say where it begins")
    return skim.claimed(int(head[1]), bytes.fromhex(head[2].decode()), epoch)


def _fields_of(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise AuditError("the file's first seal is not JSON") from error
