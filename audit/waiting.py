"""Wait for a lock on a file, and not for ever: flock(2) has no limit of time, so a thread does the waiting.

Asking again and again would be unfair to whoever asks seldom: the kernel wakes all who wait at each release.
"""

import fcntl
import os
import threading


class LockWaiter:
    """Waits for a lock on an open file in a thread of its own.

    Args:
        descriptor: The open file, closed here unless the lock is held in the end.
        how: ``LOCK_EX`` or ``LOCK_SH``.
    """

    def __init__(self, descriptor: int, how: int) -> None:
        self._descriptor = descriptor
        self._how = how
        self._guard = threading.Lock()
        self._ended = False
        self._given_up = False
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-lock", daemon=True)

    def wait(self, seconds: float) -> bool:
        """Wait for the lock, and tell whether it is held.

        Args:
            seconds: For how long at the most.

        Raises:
            OSError: When the file cannot be locked.
            RuntimeError: When no thread can be started.
        """
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._descriptor)
            raise
        held = False
        try:
            self._thread.join(seconds)
            held = self._ended and self._problem is None
        finally:
            if not held:
                self._give_up()
        if self._ended and self._problem is not None:
            raise self._problem
        return held

    def _run(self) -> None:
        try:
            fcntl.flock(self._descriptor, self._how)
        except OSError as error:
            self._problem = error
        with self._guard:
            self._ended = True
            if self._given_up:
                let_go(self._descriptor)

    def _give_up(self) -> None:
        """Let go of the lock, now or, if it comes later, then."""
        with self._guard:
            self._given_up = True
            if self._ended:
                let_go(self._descriptor)


def let_go(descriptor: int) -> None:
    """Unlock and close a file; closing alone would leave the lock to a fork that has the same open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
