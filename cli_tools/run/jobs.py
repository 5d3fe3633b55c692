"""Keep the programs that run in the background of one session: a few at once, and what they said last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cli_tools.errors import ActionError
from sandbox.errors import OperationFailedError, SandboxError, SandboxLostError
from sandbox.running import ProcessResult, process_result

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sandbox.link_call import Consumer
    from sandbox.running import Running

MOST_RUNNING: Final = 8
MOST_KEPT: Final = 32
"""Jobs that are remembered; of those that ended, the oldest are forgotten first."""
KEPT_BYTES: Final = 1 << 20
"""Of each job's output; its beginning is dropped when it grows beyond."""
START_SECONDS: Final = 0.2
"""How long a start is watched, so that a program that is not there is told at once."""
STOP_SECONDS: Final = 15.0

Told = Callable[["Job"], "Awaitable[None]"]


class Job:
    """One program in the background.

    Args:
        number: Its number in the session, from 1.
        action: The action that starts it.
        argv: What it is.
        told: Told once of its end, or that it had not ended when the session did.
        monotonic: A clock in seconds.
    """

    def __init__(
        self, number: int, action: str, argv: tuple[str, ...], told: Told, monotonic: Callable[[], float]
    ) -> None:
        self.number = number
        self.action = action
        self.argv = argv
        self.allowed_seconds = 0.0
        """Until it is ended; 0 before it was started."""
        self.result: ProcessResult | None = None
        self.error: SandboxError | None = None
        self.was_stopped = False
        self._told: Told | None = told
        self._kept = bytearray()
        self._dropped = 0
        self._monotonic = monotonic
        self._started = monotonic()
        self._ended: float | None = None
        self._running: Running | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, running: Running) -> None:
        """Start the program."""
        self._running = running
        self.allowed_seconds = running.allowed_seconds
        self._task = asyncio.create_task(self._to_its_end(running))
        # A ledger that cannot be written fails the session's next entry; nobody waits for this one.
        self._task.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def is_running(self) -> bool:
        """Say whether it has not ended."""
        return self._ended is None

    @property
    def seconds(self) -> float:
        """Return how long it has run, or ran."""
        return (self._ended or self._monotonic()) - self._started

    @property
    def total_bytes(self) -> int:
        """Return how much it has said so far."""
        return self._dropped + len(self._kept)

    def said(self, start: int) -> tuple[int, bytes]:
        """Return its output from a byte on, and the byte that it really begins with."""
        first = min(max(start, self._dropped), self.total_bytes)
        return first, bytes(self._kept[first - self._dropped :])

    async def take(self, piece: bytes) -> None:
        """Keep a piece of its output."""
        self._kept += piece
        if (surplus := len(self._kept) - KEPT_BYTES) > 0:
            del self._kept[:surplus]
            self._dropped += surplus

    async def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer than this."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def stop(self) -> None:
        """End it, with everything that it started."""
        if self.request_stop():
            await self.wait(STOP_SECONDS)

    def request_stop(self) -> bool:
        """Have it ended without waiting, and say whether there was anything to end."""
        if self._running is None or not self.is_running:
            return False
        self.was_stopped = True
        self._running.stop()
        return True

    async def _to_its_end(self, running: Running) -> None:
        try:
            self.result = process_result(await running.to_its_end())
        except SandboxError as error:  # of a sandbox that is lost, whoever looks next tells
            self.error = error
        finally:
            self._ended = self._monotonic()
            await self.tell()

    async def tell(self) -> None:
        """Tell of it as it is, once in its life."""
        told, self._told = self._told, None
        if told is not None:
            await told(self)


class Jobs:
    """The jobs of one session.

    Args:
        told: Told of each one's end.
        monotonic: A clock in seconds.
    """

    def __init__(self, told: Told, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._monotonic = monotonic
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._is_closed = False

    @property
    def all(self) -> tuple[Job, ...]:
        """Return those that are remembered, the oldest first.

        Raises:
            SandboxLostError: When one of them ended because the guest is gone, or broke a rule.
        """
        for job in self._jobs.values():
            if isinstance(job.error, SandboxLostError):
                raise job.error
        return tuple(self._jobs.values())

    def find(self, number: int) -> Job:
        """Return one.

        Raises:
            ActionError: When there is none of this number.
        """
        job = next((job for job in self.all if job.number == number), None)
        if job is None:
            known = ", ".join(map(str, self._jobs)) or "none"
            raise ActionError("not-found", f"no job {number} runs or ran", hint=f"there are: {known}")
        return job

    async def start(self, action: str, argv: tuple[str, ...], running: Callable[[Consumer], Running]) -> Job:
        """Start a program, and return once it runs.

        Args:
            action: The action that starts it.
            argv: What it is.
            running: Makes it ready to run, given who takes its output.

        Raises:
            ActionError: When too many run, the session is at its end, or it cannot be started.
        """
        if self._is_closed:
            raise ActionError("busy", "the session is at its end, and starts no more programs")
        if sum(job.is_running for job in self.all) >= MOST_RUNNING:
            raise ActionError(
                "busy", f"{MOST_RUNNING} programs run in the background already", hint="`run stop` ends one"
            )
        # INVARIANT: counted and numbered before anything is waited for, so that starts at once neither
        # are more than may run nor share a number, and `stop_all` finds each.
        job = Job(self._last + 1, action, argv, self._told, self._monotonic)
        job.start(running(job.take))
        self._last = job.number
        self._jobs[job.number] = job
        try:
            await job.wait(START_SECONDS)
        except asyncio.CancelledError:  # whoever started it has gone, and nobody was told its number
            job.request_stop()
            raise
        if job.error is not None:
            self._jobs.pop(job.number, None)
            if isinstance(job.error, OperationFailedError):
                raise ActionError(job.error.code, job.error.reason) from job.error
            raise job.error
        self._forget()
        return job

    async def stop_all(self) -> None:
        """Start no more; end those that run, with everything that they started, and have each end told."""
        # INVARIANT: closed before anything is waited for: a program that is told to end may start others.
        self._is_closed = True
        jobs = tuple(self._jobs.values())
        await asyncio.gather(*(job.stop() for job in jobs))
        for job in jobs:
            await job.tell()

    def _forget(self) -> None:
        ended = [known.number for known in self.all if not known.is_running]
        for number in ended[: max(0, len(self._jobs) - MOST_KEPT)]:
            del self._jobs[number]
