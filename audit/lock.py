"""Hold the right to write or to read undisturbed, and tell whether somebody holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audit.errors import LedgerError, LedgerLockedError
from audit.holders import held_too_long, holders_of, is_stopped
from audit.waiting import LockWaiter, let_go

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Who only looks is not kept waiting by a pipe that somebody put in the file's place."""
_TRIES = 6
_BETWEEN_TRIES_SECONDS = 0.01
PATIENCE_SECONDS = 30.0
"""How long anybody waits for those who append to the host's log, or read it: far longer than they take."""
WORK_SECONDS = 600.0
"""How long anybody waits for those who build an image or fetch one while they hold a lock."""


class WriterLock:
    """An exclusive lock on a file, held until it is released or the process ends.

    Args:
        path: The file; made when it is not there.

    Raises:
        LedgerLockedError: When another process, or another journal of this one, holds it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"cannot open `{path.name}`: {(error.strerror or '').lower()}") from error
        try:
            _lock(self._descriptor)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise LedgerLockedError(
                f"session `{path.parent.name}` has a writer already", hint="only its runner writes its ledger"
            ) from error

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file for a writer; what holds it for a moment only is somebody who looks whether it is held.

    Raises:
        BlockingIOError: When it is held for longer than a look takes.
    """
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_BETWEEN_TRIES_SECONDS)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Tell whether a writer holds the lock at this moment.

    Raises:
        LedgerError: When that cannot be told: the file is there and cannot be opened.
    """
    try:
        descriptor = os.open(path, _READING)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _untold(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise _untold(path, error) from error
    finally:
        os.close(descriptor)
    return False


def _untold(path: Path, error: OSError) -> LedgerError:
    why = (error.strerror or "it cannot be opened").lower()
    return LedgerError(f"cannot tell whether `{path.parent.name}/{path.name}` is held: {why}")


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Keep every other writer and reader waiting while something is appended.

    Args:
        path: The file that is locked; made when it is not there.

    Raises:
        LedgerLockedError: When others hold it for longer than anybody is kept waiting.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    take(descriptor, path.name)
    try:
        yield
    finally:
        let_go(descriptor)


@contextmanager
def held_still(path: Path) -> Iterator[None]:
    """Keep writers from appending while several files are read that belong together.

    A state that cannot be locked, for example a bundle, has no writer, and is read as it stands.

    Args:
        path: The file that writers lock.

    Raises:
        LedgerLockedError: When a writer holds it for longer than anybody is kept waiting.
    """
    try:
        descriptor = os.open(path, _READING)
    except OSError:
        yield
        return
    take(descriptor, path.name, fcntl.LOCK_SH)
    try:
        yield
    finally:
        let_go(descriptor)


def take(descriptor: int, name: str, how: int = fcntl.LOCK_EX) -> None:
    """Lock an open file, or have it closed and say why not.

    Args:
        descriptor: The open file.
        name: What it is called where somebody is told that it is held.
        how: ``LOCK_EX`` or ``LOCK_SH``.

    Raises:
        LedgerLockedError: When others hold it for longer than anybody is kept waiting.
        LedgerError: When it cannot be waited for.
        OSError: When it cannot be locked.
    """
    found = os.fstat(descriptor)
    if _free(descriptor, how):
        return
    with _told(name):
        held = LockWaiter(descriptor, how).wait(PATIENCE_SECONDS)
    if not held:
        raise held_too_long(name, found, PATIENCE_SECONDS)


async def take_after_work(descriptor: int, name: str) -> None:
    """Lock an open file that others hold while they work, for minutes: `take` for these.

    Whoever holds it and is stopped does no work, and is waited for no longer than by `take`.

    Args:
        descriptor: The open file.
        name: What it is called where somebody is told that it is held.

    Raises:
        LedgerLockedError: When others hold it for longer than any such work takes.
        LedgerError: When it cannot be waited for.
        OSError: When it cannot be locked.
    """
    found, began = os.fstat(descriptor), time.monotonic()
    if _free(descriptor, fcntl.LOCK_EX):
        return

    def hopeless() -> bool:
        waited = time.monotonic() - began
        return waited >= PATIENCE_SECONDS and (
            waited >= WORK_SECONDS or any(map(is_stopped, holders_of(found)))
        )

    with _told(name):
        held = await LockWaiter(descriptor, fcntl.LOCK_EX).wait_unless(hopeless)
    if not held:
        raise held_too_long(name, found, time.monotonic() - began)


def _free(descriptor: int, how: int) -> bool:
    """Lock an open file that nobody holds, and tell whether it was so."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        os.close(descriptor)
        raise
    return True


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise LedgerError(f"cannot wait for `{name}`: {str(error).lower()}") from error
