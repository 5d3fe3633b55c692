"""How long a thread waited for a processor: time in which the disk may have answered long ago."""

import os
import threading

_THREADS_OWN = "/proc/thread-self/schedstat"
_LONGEST = 96


class RunQueue:
    """Tells how long the thread that made it has waited for a processor; 0 where the kernel counts nothing.

    Linux counts nanoseconds: the second number in ``schedstat`` (Documentation/scheduler/sched-stats.rst).
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        try:
            self._descriptor = os.open(_THREADS_OWN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def now(self) -> bytes:
        """Return where the count stands, for `seconds_since`; nothing in a thread that did not make this."""
        if self._descriptor < 0 or threading.get_ident() != self._thread:
            return b""
        try:
            return os.pread(self._descriptor, _LONGEST, 0)
        except OSError:
            return b""

    def seconds_since(self, before: bytes) -> float:
        """Return the seconds that the thread has waited for a processor since then.

        Args:
            before: What `now` returned.
        """
        after = self.now()
        if not before or not after:
            return 0.0
        return (int(after.split()[1]) - int(before.split()[1])) / 1e9

    def close(self) -> None:
        """Close the descriptor; from now on nothing is counted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
