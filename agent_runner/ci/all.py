"""Run tasks beside each other, as many at once as the machine holds, and end all of them in order."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.ci.one import failed, run_task, skipped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent_runner.ci.one import Bench
    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.reading import Task

_MEMORY: Final = Path("/proc/meminfo")


async def run_tasks(
    tasks: Sequence[Task],
    bench: Bench,
    *,
    jobs: int,
    fail_fast: bool,
    ended: Callable[[TaskResult], Awaitable[TaskResult]],
) -> tuple[TaskResult, ...]:
    """Run tasks; when this is cancelled, those that run are closed in order, and no other one is started.

    Args:
        tasks: The tasks.
        bench: Where they run.
        jobs: How many run at once.
        fail_fast: Whether none is started any more once one failed.
        ended: Told of each that was started, as soon as it has ended; returns its result.

    Returns:
        A result for each task, in their order.
    """
    places, stop = asyncio.Semaphore(jobs), asyncio.Event()

    async def one(task: Task) -> TaskResult:
        async with places:
            if stop.is_set():
                return skipped(task, "not started")
            result = await ended(await _guarded(task, bench))
            if fail_fast and result.code:
                stop.set()
            return result

    running = [asyncio.ensure_future(one(task)) for task in tasks]
    try:
        await asyncio.wait(running)
    except asyncio.CancelledError:
        stop.set()
        for each in running:
            each.cancel()
        await asyncio.wait(running)
    return tuple(
        skipped(task, "not started") if each.cancelled() else each.result()
        for task, each in zip(tasks, running, strict=True)
    )


async def _guarded(task: Task, bench: Bench) -> TaskResult:
    """Run one; a fault of ours in it is its own failure, and nobody else's."""
    try:
        return await run_task(task, bench)
    except Exception as error:  # noqa: BLE001 - the one place where a task's error ends
        return failed(task, *bench.explained(error))


def jobs_for(tasks: Sequence[Task], asked: int | None) -> int:
    """Return how many tasks may run at once.

    Args:
        tasks: The tasks.
        asked: What a person asked for; None for one for each processor.

    Returns:
        As many as were asked for, and no more than have the memory that their sandboxes may take.
    """
    most = max((_memory_bytes(task) for task in tasks), default=1)
    return max(1, min(asked or len(os.sched_getaffinity(0)), len(tasks), _available_bytes() // most))


def _memory_bytes(task: Task) -> int:
    policies = [task.policy, *([task.check_policy] if task.check_policy else [])]
    return max(policy.isolation.memory + policy.isolation.scratch for policy in policies)


def _available_bytes() -> int:
    lines = _MEMORY.read_text("ascii").splitlines() if _MEMORY.exists() else []
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(found) * 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
