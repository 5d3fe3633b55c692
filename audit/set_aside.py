"""Set digests aside in a temporary file, where there are too many for memory.

The file is SQLite's own, in the folder that ``SQLITE_TMPDIR`` or ``TMPDIR`` names, else in ``/var/tmp``; it
has no name from the start, and is gone with whoever used it.
"""

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from audit.errors import NoRoomError

_CACHE_KIB = 2 * 1024
_AT_ONCE = 1024
_SETTINGS = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA temp_store = FILE",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
    "BEGIN",  # and never an end of it: nothing here is to be kept
    "CREATE TABLE known (digest BLOB, number INTEGER)",
)
_IN_ORDER = "SELECT digest, max(number) FROM known GROUP BY digest ORDER BY digest"


class SetAside:
    """Digests with numbers in a file, for one thread at a time.

    Raises:
        NoRoomError: By every method: when the file cannot be written or read.
    """

    def __init__(self) -> None:
        self._is_sorted = False
        with _room():
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._file.close)
            for statement in _SETTINGS:
                self._file.execute(statement)

    def put(self, numbered: Iterable[tuple[bytes, int]]) -> None:
        """Remember digests, each with a number."""
        with _room():
            self._file.executemany("INSERT INTO known VALUES (?, ?)", numbered)

    def number_of(self, digest: bytes) -> int | None:
        """Return the largest number of a digest; None when it is not there."""
        with _room():
            self._sort()
            found = self._file.execute("SELECT max(number) FROM known WHERE digest = ?", (digest,)).fetchone()
        number: int | None = found[0]
        return number

    def in_order(self) -> Iterator[tuple[bytes, int]]:
        """Yield the digests, each once, with its largest number."""
        with _room():
            self._sort()
            rows = self._file.execute(_IN_ORDER)
        while True:
            with _room():
                some = rows.fetchmany(_AT_ONCE)
            if not some:
                return
            yield from some

    def _sort(self) -> None:
        """Make the index that readers need, once all is in: one sort is much faster than to keep an order."""
        if not self._is_sorted:
            self._file.execute("CREATE INDEX by_digest ON known (digest, number)")
            self._is_sorted = True


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise NoRoomError(
            f"what a long log commits to cannot be kept in a temporary file: {error}",
            hint="set `TMPDIR` to a folder with room",
        ) from error
