"""How long a thread waited for a processor: time in which the disk may have answered long ago."""

import math
import os
import threading

_THREADS_OWN = "/proc/thread-self/schedstat"
_LONGEST = 96
_FRESH_SECONDS = 0.005


class RunQueue:
    """Tells how long the thread that made it has waited for a processor; 0 where the kernel counts nothing.

    Linux counts nanoseconds: the second number in ``schedstat`` (Documentation/scheduler/sched-stats.rst).
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._marked: int | None = None
        self._marked_at = -math.inf
        try:
            self._descriptor = os.open(_THREADS_OWN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def mark(self, now: float) -> None:
        """Note where the count stands, unless that was done a moment ago: it takes as long as a write.

        Args:
            now: The time of the monotonic clock, in seconds.
        """
        if not 0 <= now - self._marked_at < _FRESH_SECONDS:
            self._marked, self._marked_at = self._counted(), now

    def seconds_since(self, moment: float) -> float:
        """Return the seconds that the thread has surely waited for a processor since then, at most 5 ms less.

        Args:
            moment: A time that was given to `mark`.
        """
        before, after = self._marked, self._counted()
        if before is None or after is None or moment < self._marked_at:
            return 0.0
        earlier = moment - self._marked_at  # all of it may have been such time
        return max(0.0, (after - before) / 1e9 - earlier)

    def _counted(self) -> int | None:
        """Return the count, in nanoseconds; None where there is none, or in another thread."""
        if self._descriptor < 0 or threading.get_ident() != self._thread:
            return None
        try:
            return int(os.pread(self._descriptor, _LONGEST, 0).split()[1])
        except (OSError, IndexError, ValueError):
            return None

    def close(self) -> None:
        """Close the descriptor; from now on nothing is counted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
