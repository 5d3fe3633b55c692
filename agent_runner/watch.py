"""Look at a running session's stage from the host, and end the session when it passes a bound.

The kernel bounds no overlay's upper folder, which lies on the ledger's disk; and a file that `hide` matches,
made while the session runs, shows through. Both are looked for several times a second.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from agent_runner.errors import RefusedError, RunnerError
from sandbox import stage
from sandbox.stage.base import load_record
from sandbox.stage.newcomers import NewcomerWatch
from sandbox.stage.quota import LOOK_EVERY_SECONDS, Exceeded, StageLimits, UpperWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from policies.policy import FilesBlock
    from sandbox.stage import StagePlan

T = TypeVar("T")
RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Free space of the state disk that is kept for ledgers."""


class StageExceededError(RunnerError):
    """Raised when a session wrote more than its policy allows, or filled the disk; it has been ended.

    Args:
        exceeded: Which bound, and by how much.
    """

    def __init__(self, exceeded: Exceeded) -> None:
        super().__init__(
            exceeded.message,
            hint="raise `files: limits:`, or free some room for the state folder",
        )
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

    async def until_passed(self) -> None:
        """Look until a bound is passed.

        Raises:
            StageExceededError: When it wrote too much.
            HiddenFileAppearedError: When a hidden file appeared.
        """
        while True:
            if self.upper is not None:
                for exceeded in await asyncio.to_thread(self.upper.exceeded):
                    raise StageExceededError(exceeded)
            if self.newcomers is not None and (paths := await asyncio.to_thread(self.newcomers.look)):
                raise HiddenFileAppearedError(paths)
            pause = self.newcomers.pause_seconds if self.newcomers is not None else LOOK_EVERY_SECONDS
            await asyncio.sleep(LOOK_EVERY_SECONDS if self.upper is not None else pause)


def watch_of(plan: StagePlan | None, files: FilesBlock | None) -> StageWatch:
    """Return the watch that a stage needs: none of it for a copy, which is bounded and sees nothing new."""
    if plan is None or files is None:
        return StageWatch(upper=None, newcomers=None)
    upper = newcomers = None
    if isinstance(plan, stage.Overlay):
        limits = StageLimits(
            written_bytes=int(files.limits.written_bytes),
            written_files=int(files.limits.written_files),
            reserve_bytes=RESERVE_BYTES,
        )
        upper = UpperWatch(plan.upper, limits)
    live = isinstance(plan, stage.Overlay | stage.ReadOnly) and plan.lower[-1] == plan.facts.workspace.path
    if live:
        newcomers = NewcomerWatch.start(
            plan.facts.workspace.path,
            hide=stage.HiddenBy(files),
            absent=plan.facts.absent,
            record=load_record(plan.facts.folder.record),
        )
    return StageWatch(upper=upper, newcomers=newcomers)


async def watched(
    work: Coroutine[None, None, T], watch: StageWatch, *, stop: Callable[[], Awaitable[None]]
) -> T:
    """Do some work while the stage is watched; when a bound is passed, stop the sandbox, then the work.

    Args:
        work: What the session does.
        watch: What is looked at.
        stop: Kills the container.

    Raises:
        StageExceededError: As in `StageWatch.until_passed`.
        HiddenFileAppearedError: The same.
    """
    doing, looking = asyncio.ensure_future(work), asyncio.ensure_future(watch.until_passed())
    try:
        await asyncio.wait({doing, looking}, return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            await stop()
            looking.result()
        return await doing
    finally:
        for task in (doing, looking):
            task.cancel()
        await asyncio.gather(doing, looking, return_exceptions=True)
