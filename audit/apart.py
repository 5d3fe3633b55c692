"""Let work be done ahead in processes of their own, its results taken in order; none outlives who asked.

Each is a fork, so that nothing is read or sent twice: only where this process has no other thread.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from audit.errors import LostHelperError

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

T = TypeVar("T")
_PR_SET_PDEATHSIG = 1
_MOST = 8
_DONE = None


def helpers() -> int:
    """Return how many processes may work at once: one for each core; 1 where this one has to do it itself."""
    alone = sys.platform == "linux" and threading.active_count() == 1
    return min(_MOST, len(os.sched_getaffinity(0))) if alone else 1


class Apart(Generic[T]):
    """Tasks, done in processes that are a few tasks ahead; use it with `with`.

    Args:
        tasks: Each yields its results, which are pickled; a task that raises counts as lost.
        processes: How many are at work at once.
    """

    def __init__(self, tasks: Sequence[Callable[[], Iterator[T]]], *, processes: int) -> None:
        self._tasks = tasks
        self._processes = processes
        self._started = 0
        self._at_work: dict[int, tuple[ForkProcess, Connection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for process, _ in self._at_work.values():
            process.kill()
        for number in list(self._at_work):
            self._end(number)

    def results(self, number: int) -> Iterator[T]:
        """Yield what a task yields, as it comes.

        Raises:
            LostHelperError: When its process ended before it was done, or one could not be started.
        """
        for task in self._tasks[self._started : number + self._processes]:
            self._start(task)
        _, pipe = self._at_work[number]
        try:
            while (result := pipe.recv()) is not _DONE:
                yield result
        except (EOFError, OSError) as error:
            raise LostHelperError("a process that was to help has ended") from error
        self._end(number)

    def _start(self, task: Callable[[], Iterator[T]]) -> None:
        try:
            self._at_work[self._started] = _begun(task)
        except OSError as error:
            raise LostHelperError("a process that was to help cannot be started") from error
        self._started += 1

    def _end(self, number: int) -> None:
        """End a task's process, and keep nothing of it: a log may have thousands of files."""
        process, pipe = self._at_work.pop(number)
        pipe.close()
        process.kill()
        process.join()
        process.close()


def _begun(task: Callable[[], Iterator[T]]) -> tuple["ForkProcess", Connection]:
    """Start a task's process, and return it with the pipe from which its results come.

    Raises:
        OSError: When there may be no further process or descriptor.
    """
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, theirs, os.getpid()), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process.start()
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return process, ours


def _work(task: Callable[[], Iterator[T]], pipe: Connection, parent: int) -> None:
    """Do a task in this process, which ends with its parent, whatever ends that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked is told, and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    try:
        for result in task():
            pipe.send(result)
        pipe.send(_DONE)
    except Exception:  # noqa: BLE001 - it is not for a helper to tell: who asked sees that the results end
        return  # too early, and does the work again
