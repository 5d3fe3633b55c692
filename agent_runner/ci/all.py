"""Run cases beside each other, as many at once as the machine holds, and end all of them in order."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent_runner.ci.handing import Order, read_result, result_path, write_result
from agent_runner.ci.one import failed, faults_of, skipped
from agent_runner.ci.outcome import FAILED, INTERRUPTED, LEDGER
from agent_runner.ci.process import run_process, tidied
from agent_runner.errors import RunnerError
from agent_runner.ids import new_session_id
from audit.errors import AuditError
from audit.escape import escape_line
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.plan import Begun
    from agent_runner.ci.process import Ended
    from agent_runner.ci.reading import Task
    from agent_runner.ci.telling import Onlooker

T = TypeVar("T")
_MEMORY: Final = Path("/proc/meminfo")
RUNNER_BYTES: Final = 96 * 1024 * 1024
"""What the process of a task takes beside its sandbox: about 75 MB, measured while it renders a report."""
_FINAL: Final = frozenset({0, 2, 3, LEDGER, INTERRUPTED})
"""Exit codes after which another try would come to the same, or must not be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How cases are run."""

    state: Path
    begun: Begun
    onlooker: Onlooker
    jobs: int
    """How many run at once."""
    fail_fast: bool = False
    """Whether none is started any more once one failed."""
    repeat: int = 1
    """How many repetitions the cases were made with."""
    record: Path | None = None
    """Where the model's side is recorded."""
    replay: Path | None = None
    """Where recordings are that answer in a model's place."""
    live: bool = False
    """Whether a model goes on where a replay departs."""


async def run_cases(cases: Sequence[Task], run: Run) -> tuple[TaskResult, ...]:
    """Run cases; when this is cancelled, those that run are closed in order, and no other one is started.

    Returns:
        A result for each case, in their order; what an earlier run came to is taken as it is.
    """
    if not cases:  # a shard may hold none
        return ()
    places, stop = asyncio.Semaphore(run.jobs), asyncio.Event()

    async def one(case: Task) -> TaskResult:
        before = run.begun.done.get(case.name)
        if before is not None and not _again(before, case):
            return before
        async with places:
            if stop.is_set():
                return skipped(case, "not started")
            run.onlooker.began(case.name)
            result = await _guarded(case, run, before)
            run.onlooker.ended(result)
            if run.fail_fast and result.code:
                stop.set()
            return result

    under_way = [asyncio.ensure_future(one(case)) for case in cases]
    try:
        await asyncio.wait(under_way)
    except asyncio.CancelledError:
        stop.set()
        for each in under_way:
            each.cancel()
        await asyncio.wait(under_way)
    return tuple(
        skipped(case, "not started") if each.cancelled() else each.result()
        for case, each in zip(cases, under_way, strict=True)
    )


async def _guarded(case: Task, run: Run, before: TaskResult | None) -> TaskResult:
    """Run one; a fault of ours in it, or a machine that starts no process, is its own failure alone."""
    try:
        return await _tried(case, run, before)
    except Exception as error:  # noqa: BLE001 - the one place where a case's error ends
        return failed(case, FAILED, f"it could not be run: {escape_line(str(error), width=200)}")


async def _tried(case: Task, run: Run, before: TaskResult | None) -> TaskResult:
    """Try a case until it passes, or no try is left; what came of each try is kept."""
    result = before
    while result is None or (_again(result, case) and not _is_cancelled()):
        attempt = 1
        if result is not None:
            run.begun.kept.set_aside(case.name, result.attempts)
            attempt = result.attempts + 1
            run.onlooker.said(case.name, f"attempt {attempt} of {case.file.retries + 1}")
        result = await _attempted(case, run, attempt)
    return result


def _again(result: TaskResult, case: Task) -> bool:
    """Tell whether another try may come to something else, and is left; what departed would depart again."""
    return result.code not in _FINAL and not result.departure and result.attempts <= case.file.retries


def _is_cancelled() -> bool:
    """Tell whether somebody interrupted the run: what waited for the end of a process took it to itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _completed(work: Coroutine[Any, Any, T]) -> T:
    """Wait for what is soon done, whoever is in a hurry: what came of a case is not lost."""
    under_way = asyncio.ensure_future(work)
    while not under_way.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(under_way)
    return under_way.result()


async def _attempted(case: Task, run: Run, attempt: int) -> TaskResult:
    folder = run.begun.kept.folder
    order = Order(
        file=case.origin,
        case=case.name,
        digest=case.closure.digest,
        repeat=run.repeat,
        attempt=attempt,
        session=new_session_id(),
        state=str(run.state),
        results=str(folder),
        record=str(run.record or ""),
        replay=str(run.replay or ""),
        live=run.live,
    )
    result_path(folder, case.name).unlink(missing_ok=True)  # of an attempt that was interrupted
    ended = await run_process(order, run.onlooker, lock=run.begun.lock)
    result = await _completed(asyncio.to_thread(read_result, folder, case.name))
    return result if result is not None else await _completed(_killed(case, run, order, ended))


async def _killed(case: Task, run: Run, order: Order, ended: Ended) -> TaskResult:
    """Return the result of a case whose process left none, and keep what its ledger tells."""
    why = await tidied(run.state, ended.sessions)
    code, reason = (INTERRUPTED, "interrupted") if ended.interrupted else ended.failure
    reason = f"{reason}; not cleaned up: {why}" if why else reason
    result = replace(failed(case, code, reason), attempts=order.attempt)
    kept = await asyncio.to_thread(_kept, result, run, order.session if ended.sessions else "")
    await asyncio.to_thread(write_result, run.begun.kept.folder, kept)
    return kept


def _kept(result: TaskResult, run: Run, session: str) -> TaskResult:
    """Keep what a killed process left of a session: it may have been killed before there was any of it."""
    if session and StateFiles(run.state).session(session).events.exists():
        faults = faults_of(run.state, (session,))
        code = LEDGER if faults else result.code
        with suppress(AuditError, RunnerError, OSError):
            begun = replace(result, session=session, faults=faults, code=code)
            run.begun.kept.task(begun, run.state)
            return begun
    run.begun.kept.task(result, run.state)
    return result


def jobs_for(cases: Sequence[Task], asked: int | None) -> int:
    """Return how many cases may run at once.

    Args:
        cases: The cases.
        asked: What a person asked for; None for one for each processor.

    Returns:
        As many as were asked for, and no more than have the memory that their sandboxes and runners may take.
    """
    most = max((_memory_bytes(case) for case in cases), default=1)
    return max(1, min(asked or len(os.sched_getaffinity(0)), len(cases), _available_bytes() // most))


def _memory_bytes(case: Task) -> int:
    policies = [case.policy, *([case.check_policy] if case.check_policy else [])]
    return RUNNER_BYTES + max(policy.isolation.memory + policy.isolation.scratch for policy in policies)


def _available_bytes() -> int:
    lines = _MEMORY.read_text("ascii").splitlines() if _MEMORY.exists() else []
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(found) * 1024 if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
