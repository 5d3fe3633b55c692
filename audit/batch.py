"""Lines that wait to be written, and how soon each must be: one batch is one write and one sync."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from audit.errors import LedgerError
from audit.host import Receipt
from audit.openings import Opening

LAZY_SECONDS = 0.1
LARGEST_BATCH_BYTES = 256 * 1024


class Urgency(Enum):
    """How soon a line must be durable."""

    SYNC = "sync"
    LAZY = "lazy"
    CLOSING = "closing"


_LAZY = Urgency.LAZY  # asking an enumeration for a member takes time, at every entry


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A line that waits to be written.

    Attributes:
        rest: The encoded line without place and predecessor.
        openings: What must be durable before it.
        urgency: How soon.
        answer: What came of it; None until it is written, or never will be.
        asker: Who is to be told when there is an answer, opaque to the writer; None when nobody waits.
    """

    rest: bytes
    openings: list[Opening]
    urgency: Urgency
    answer: Receipt | LedgerError | None = None
    asker: object = None


class Batch:
    """What waits, in order; put in by one thread, taken out by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._lines: list[Waiting] = []
        self._size = 0
        self._urgent = False
        self._since = 0.0
        self._stopping = False
        self._looks_at = 0.0
        """Of the monotonic clock: when whoever waits looks again by itself; 0 while nobody waits."""

    def put(self, line: Waiting, *, wake: bool) -> None:
        """Add a line.

        Args:
            line: The line.
            wake: Whether to wake whoever waits; False when the caller is about to take it out itself.
        """
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
            self._lines.append(line)
            self._size += len(line.rest)
            self._urgent = self._urgent or line.urgency is not _LAZY
            if wake and (self._looks_at > self._since + LAZY_SECONDS or self._is_due()):
                self._changed.notify()

    def wake(self) -> None:
        """Wake whoever waits: for what was put in, which has no more time, or for another time to look."""
        with self._changed:
            self._urgent = bool(self._lines)
            self._changed.notify()

    def stop(self) -> None:
        """Ask for what is left to be taken, and for nothing to be waited for any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def wait(self, until: Callable[[], float | None]) -> bool:
        """Wait until something is due, or until a time of the monotonic clock; tell whether to end.

        Args:
            until: Says when to return at the latest, None for as long as it takes; asked again at each wake.
        """
        with self._changed:
            while not self._stopping and not self._is_due():
                limits = [limit for limit in (until(), self._due_at()) if limit is not None]
                self._looks_at = min(limits, default=math.inf)
                left = self._looks_at - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left if limits else None)
            self._looks_at = 0.0
            return self._stopping

    def take(self, *, lazy_too: bool = True) -> list[Waiting]:
        """Return what waits, in order, and keep nothing of it; nothing when only lazy lines wait and may.

        Args:
            lazy_too: Whether lines that could wait a little longer are taken as well.
        """
        with self._lock:
            if not lazy_too and not self._is_due():
                return []
            lines, self._lines = self._lines, []
            self._size, self._urgent = 0, False
            return lines

    def _due_at(self) -> float | None:
        """Return when what waits has had its time, or would have had it where it was taken early.

        Whoever puts lines in and takes them again and again so wakes nobody: there is one who looks in time.
        """
        due = self._since + LAZY_SECONDS
        return due if self._lines or time.monotonic() < due else None

    def _is_due(self) -> bool:
        if not self._lines:
            return False
        late = time.monotonic() >= self._since + LAZY_SECONDS
        return self._urgent or self._size >= LARGEST_BATCH_BYTES or late
