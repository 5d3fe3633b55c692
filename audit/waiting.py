"""Wait for a lock on a file, and not for ever: flock(2) has no limit of time, so a thread does the waiting.

Asking again and again would be unfair to whoever asks seldom: the kernel wakes all who wait at each release.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_BETWEEN_LOOKS_SECONDS: Final = 0.05


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
        with self._asked():
            self._thread.join(seconds)
        return self._is_held

    async def wait_unless(self, hopeless: Callable[[], bool]) -> bool:
        """Wait for the lock in a loop that goes on with other work, and tell whether it is held.

        Args:
            hopeless: Asked again and again; true ends the waiting.

        Raises:
            OSError: When the file cannot be locked.
            RuntimeError: When no thread can be started.
        """
        with self._asked():
            while not self._ended and not hopeless():  # noqa: ASYNC110  what ends it is a thread
                await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
        return self._is_held

    @property
    def _is_held(self) -> bool:
        return self._ended and not self._given_up and self._problem is None

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Ask for the lock; unless it is held in the end, nobody asks for it any more."""
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._descriptor)
            raise
        waited = False
        try:
            yield
            waited = True
        finally:
            if not (waited and self._is_held):
                self._give_up()
        if self._problem is not None:
            raise self._problem

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
