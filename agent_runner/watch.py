"""Look at a running session's stage from the host, and end the session when it passes a bound.

The kernel bounds no overlay's upper folder, which lies on the ledger's disk; and a file that `hide` matches,
made while the session runs, shows through. Both are looked for several times a second, and the disk's free
space, which costs one call, more often still: when it falls quickly, the stage is looked at at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent_runner.errors import RefusedError, RunnerError
from sandbox import stage
from sandbox.stage.clockwatch import ClockWatch
from sandbox.stage.newcomers import NewcomerWatch
from sandbox.stage.quota import (
    LOOK_EVERY_SECONDS,
    Exceeded,
    StageLimits,
    UpperWatch,
    free_room,
    judge_room,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from audit.errors import LedgerError
    from policies.files_block import FilesBlock
    from sandbox.stage import StagePlan

T = TypeVar("T")
RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Free space of the state disk that is kept for ledgers."""
ROOM_EVERY_SECONDS: Final = 0.05
"""How often the disk's free space is looked at."""
SUDDEN_SHARE: Final = 4
"""A session that may write so many bytes is looked at once this part of them is gone from the disk."""


class StageExceededError(RunnerError):
    """Raised when a session wrote more than its policy allows, or filled the disk; it has been ended.

    Args:
        exceeded: Which bound, and by how much.
    """

    def __init__(self, exceeded: Exceeded) -> None:
        super().__init__(exceeded.message, hint=exceeded.hint)
        self.exceeded = exceeded


class HiddenFileAppearedError(RefusedError):
    """Raised when a file that `hide` matches was made while the session ran; it has been ended.

    Args:
        paths: Which.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        super().__init__(
            f"`{paths[0]}`{more} appeared in the workspace, and the policy hides it",
            hint="start again: what is there at the start stays hidden",
        )
        self.paths = paths


@dataclass(frozen=True, slots=True)
class StageWatch:
    """Look at one stage; make one with `watch_of`."""

    upper: UpperWatch | None
    newcomers: NewcomerWatch | None
    disk: Path | None = None
    """A folder of the disk whose reserve is kept; None where nothing can be written to it."""
    limits: StageLimits | None = None
    clock: ClockWatch | None = None
    """Sees that the clock is set back; None where no file is asked later what it was."""

    async def until_passed(self) -> None:
        """Look until a bound is passed.

        Raises:
            StageExceededError: When it wrote too much.
            HiddenFileAppearedError: When a hidden file appeared.
        """
        looks = [asyncio.ensure_future(look) for look in (self._at_disk(), self._at_newcomers())]
        try:
            done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_EXCEPTION)
            for look in done:
                look.result()
            await asyncio.Event().wait()  # there is nothing to look at
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)

    async def _at_disk(self) -> None:
        if self.disk is None or self.limits is None:
            return
        clock = asyncio.get_running_loop().time
        sudden = self.limits.written_bytes // SUDDEN_SHARE
        looked_at, free_then = clock() - LOOK_EVERY_SECONDS, 0
        while True:
            if self.clock is not None:
                self.clock.look()
            _require_within(judge_room(self.disk, self.limits))
            free, _ = free_room(self.disk)
            if clock() - looked_at >= LOOK_EVERY_SECONDS or free_then - free > sudden:
                if self.upper is not None:
                    _require_within(await asyncio.to_thread(self.upper.exceeded))
                looked_at, free_then = clock(), free
            await asyncio.sleep(ROOM_EVERY_SECONDS)

    async def _at_newcomers(self) -> None:
        while self.newcomers is not None:
            if paths := await asyncio.to_thread(self.newcomers.look):
                raise HiddenFileAppearedError(paths)
            await asyncio.sleep(self.newcomers.pause_seconds)


def _require_within(exceeded: tuple[Exceeded, ...]) -> None:
    for passed in exceeded:
        raise StageExceededError(passed)


def watch_of(plan: StagePlan | None, files: FilesBlock | None) -> StageWatch:
    """Return the watch that a stage needs: none of it for a copy, which is bounded and sees nothing new."""
    if plan is None or files is None:
        return StageWatch(upper=None, newcomers=None)
    upper = newcomers = disk = clock = None
    limits = _limits_of(files)
    if isinstance(plan, stage.Overlay):
        upper = UpperWatch(plan.upper, limits)
    if isinstance(plan, stage.Overlay | stage.Direct):
        disk = plan.facts.folder.path
    live = isinstance(plan, stage.Overlay | stage.ReadOnly) and plan.lower[-1] == plan.facts.workspace.path
    if live:
        newcomers = NewcomerWatch.start(
            plan.facts.workspace.path,
            hide=stage.HiddenBy(files),
            absent=plan.facts.absent,
            folders=plan.facts.folders,
        )
        clock = ClockWatch(plan.facts.moment, plan.facts.folder.set_back)
    return StageWatch(upper=upper, newcomers=newcomers, disk=disk, limits=limits, clock=clock)


def require_within_limits(plan: StagePlan | None, files: FilesBlock | None) -> None:
    """Measure what a session that has ended leaves to review: it may have ended between two looks.

    Raises:
        StageExceededError: When it wrote more than its policy allows; what it wrote stays in the stage.
    """
    if files is None or not isinstance(plan, stage.Overlay | stage.Copy) or files.access != "stage":
        return
    limits = replace(_limits_of(files), reserve_bytes=0, reserve_inodes=0)
    _require_within(UpperWatch(plan.facts.folder.upper, limits).exceeded())


def _limits_of(files: FilesBlock) -> StageLimits:
    return StageLimits(
        written_bytes=int(files.limits.written_bytes),
        written_files=int(files.limits.written_files),
        reserve_bytes=RESERVE_BYTES,
    )


def bound_of(plan: StagePlan | None) -> str:
    """Say what keeps a session from filling the disk, for the ledger; empty where it can write nothing."""
    match plan:
        case stage.Overlay():
            return (
                f"what it writes is looked at every {LOOK_EVERY_SECONDS} s, and every {ROOM_EVERY_SECONDS} s "
                "while the disk fills: it can pass its limit by what the disk takes in that time; "
                "files removed and still held open are bounded by the disk's reserve of "
                f"{RESERVE_BYTES} bytes alone"
            )
        case stage.Direct():
            return f"nothing bounds what it writes but the disk's reserve of {RESERVE_BYTES} bytes"
        case stage.Copy(writable=True):
            return (
                "the kernel bounds what it writes: the copy lies in a memory file system of fixed size, and "
                "what changed in it is measured when it has come back"
            )
        case _:
            return ""


async def watched(
    work: Coroutine[None, None, T],
    watch: StageWatch,
    *,
    stop: Callable[[], Awaitable[None]],
    failed: asyncio.Future[LedgerError],
) -> T:
    """Do some work while stage and ledger are watched; when a bound is passed, stop sandbox and work.

    Args:
        work: What the session does.
        watch: What is looked at.
        stop: Kills the container.
        failed: Done when the ledger can no longer be written; it is not cancelled.

    Raises:
        StageExceededError: As in `StageWatch.until_passed`.
        HiddenFileAppearedError: The same.
        audit.errors.LedgerError: When the ledger can no longer be written.
    """
    doing, looking = asyncio.ensure_future(work), asyncio.ensure_future(watch.until_passed())
    ends: set[asyncio.Future[Any]] = {doing, looking, failed}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            await stop()
            looking.result()
        if failed.done():
            await stop()
            raise failed.result()
        return await doing
    finally:
        for task in (doing, looking):
            task.cancel()
        await asyncio.gather(doing, looking, return_exceptions=True)
