"""Run one task from its session to its last check, and keep what came of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.ci.command_checks import command_check, name_of_command
from agent_runner.ci.declared_checks import Found, declared_checks
from agent_runner.ci.outcome import FAILED, INTERRUPTED, CheckResult, TaskResult, code_of_task
from agent_runner.ci.placing import check_policy_in, place_of
from agent_runner.ci.replay import RecordedModel
from agent_runner.ci.result_tree import result_tree
from agent_runner.ci.task_outputs import kept_outputs, name_of_output
from agent_runner.fold import read_conversation
from agent_runner.looking import look_at
from agent_runner.models import choose_backend
from agent_runner.outage import Outage
from agent_runner.outputs import FOLDER as OUTPUTS
from agent_runner.session import run_session
from agent_runner.waiting import changes_waiting
from audit import event
from audit.errors import AuditError
from audit.reader import SessionReader
from audit.state import StateFiles
from audit.verify import verify_session
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Backend
    from agent_runner.ci.placing import Bench
    from agent_runner.ci.reading import Task
    from agent_runner.request import SessionRequest, SessionResult
    from audit.state import SessionFiles

OUTAGE_SECONDS: Final = 120.0
"""How long a model's server that went down is waited for: nobody is there to end it, and time costs."""
_CROSSED = (event.EgressOpened, event.EgressRequested)

_COMPARED = ("done", "failed", "model_failed")
"""How a replay ends that says something of its recording; another end stands for itself."""


async def run_task(task: Task, bench: Bench, backend: Backend, *, session: str) -> TaskResult:
    """Run one task to its end; whatever goes wrong in its session is told in the result.

    When this is cancelled, the session is closed in order, and the result says that it was interrupted.

    Args:
        task: The task.
        bench: Where it runs.
        backend: Who is asked; closed at the end.
        session: The id that the agent's session gets.
    """
    began = time.monotonic()
    blank = _blank(task)
    try:
        done = await _run(task, bench, blank, backend, session)
    except asyncio.CancelledError:
        done = replace(blank, agent_code=INTERRUPTED, code=INTERRUPTED, reason="interrupted")
    return replace(done, seconds=time.monotonic() - began)


def skipped(task: Task, why: str) -> TaskResult:
    """Return the result of a task that was never started."""
    return replace(_blank(task), reason=why, is_skipped=True, checks=_unmade(task, why))


def failed(task: Task, code: int, why: str) -> TaskResult:
    """Return the result of a task that something else than its session ended."""
    return replace(
        _blank(task), agent_code=code, code=code, reason=why, checks=_unmade(task, "the task failed")
    )


def backend_of(task: Task, *, tell: Callable[[str], None]) -> Backend:
    """Return who is asked.

    Raises:
        InvalidInputError: When the model is not to be had, or takes no seed; with its place in the file.
    """
    with task.places.told_at(*task.model_at):
        return choose_backend(task.model, notice=tell, seed=task.seed)


def request_of(task: Task, bench: Bench, backend: Backend, *, session: str) -> SessionRequest:
    """Return what a task's session is started with.

    Raises:
        InvalidInputError: When its folder cannot be a workspace.
    """
    return replace(
        place_of(task, bench).request(task.file.prompt, backend, bench.watcher),
        session=session,
        # A replay goes on as its recording does, and a configuration that it does not have changes nothing.
        model_reference="" if isinstance(backend, RecordedModel) else task.model or "default",
        outage=Outage(given_up_seconds=OUTAGE_SECONDS),
    )


async def _run(task: Task, bench: Bench, blank: TaskResult, backend: Backend, session: str) -> TaskResult:
    try:
        request = request_of(task, bench, backend, session=session)
        bench.began(session)
        result = await run_session(request)
    finally:
        await backend.close()
    bench.tell(f"session {result.session} {result.status}: {result.reason}")
    files = StateFiles(bench.state).session(result.session)
    told = replace(_told(blank, result), model=backend.model, cost_micros=_cost(bench.state, session))
    if isinstance(backend, RecordedModel) and result.status in _COMPARED:
        told = _compared(told, backend, bench.state)
    if told.agent_code:
        checks: tuple[CheckResult, ...] = _unmade(task, "the agent's session failed")
    else:
        checks = await _checked(task, bench, files, result)
    task_now = asyncio.current_task()
    interrupted = task_now is not None and task_now.cancelling() > 0
    agent = told.agent_code or (INTERRUPTED if interrupted else 0)
    faults = await asyncio.to_thread(faults_of, bench.state, (result.session, *(c.session for c in checks)))
    return replace(
        told,
        checks=checks,
        faults=faults,
        code=code_of_task(agent, checks, faults),
        changes=changes_waiting(bench.state, result.session) if result.plan is not None else 0,
    )


def _compared(told: TaskResult, model: RecordedModel, state: Path) -> TaskResult:
    """Return what came of a replay, which fails where it departed from its recording and no model went on."""
    with suppress(AuditError):  # a ledger that does not hold is told of on its own
        model.look_back(read_conversation(state, told.session))
    if model.departure is None:
        return told
    if not model.goes_on:
        turn = model.departure.turn
        reason = f"departed from its recording at turn {turn}: {model.departure.what}"
        told = replace(told, agent_code=FAILED, reason=reason)
    return replace(told, departure=model.departure.text())


def _cost(state: Path, session: str) -> int:
    """Return what a session cost, in millionths of a US dollar."""
    try:
        told = [happened for _, happened in SessionReader(state, session).events()]
    except AuditError:
        return 0  # a ledger that does not hold is told of on its own
    return sum(happened.cost_micros for happened in told if isinstance(happened, event.ModelAnswered))


def _told(blank: TaskResult, result: SessionResult) -> TaskResult:
    totals = result.totals
    stopped = result.unfinished and result.status == "done"
    unsaid = "; it stopped without saying that it was done" if stopped else ""
    return replace(
        blank,
        session=result.session,
        status=result.status,
        agent_code=result.exit_code or (FAILED if result.unfinished else 0),
        reason=f"{result.reason}{unsaid}",
        turns=totals.turns,
        actions=totals.actions,
        denials=totals.denials,
        tokens=totals.input_tokens + totals.output_tokens,
    )


async def _checked(
    task: Task, bench: Bench, files: SessionFiles, result: SessionResult
) -> tuple[CheckResult, ...]:
    """Make every check: those that only look first, then each command in a sandbox of its own."""
    crossings = await asyncio.to_thread(_crossings, bench.state, result)
    found = Found(tree=None, changes=None, patch=None, denials=result.totals.denials, crossings=crossings)
    checks, outputs = task.file.checks, task.file.outputs
    if task.policy.files is None or task.policy.files.access != "stage":
        kept = files.folder / OUTPUTS
        tree = kept if kept.is_dir() else None
        made = [*declared_checks(checks, replace(found, tree=tree))]
        return (*made, *kept_outputs(outputs, tree, bench.outputs))
    look = await asyncio.to_thread(look_at, files, with_patch=True, for_program=True)
    async with result_tree(files, bench.state) as left:
        found = replace(found, tree=left.folder, changes=look.changes, patch=look.patch)
        made = [*declared_checks(checks, found), *kept_outputs(outputs, left.folder, bench.outputs)]
        if (policy := check_policy_in(task, left.folder)) is not None:
            workspace = open_workspace(left.folder, state=bench.state)
            for command in checks.commands:
                bench.tell(name_of_command(command))
                made.append(await command_check(command, policy, workspace, bench))
    return tuple(made)


def _crossings(state: Path, result: SessionResult) -> int:
    """Return how often anything was to cross: what was refused counts, too."""
    events = SessionReader(state, result.session).events()
    asked = sum(isinstance(happened, _CROSSED) for _, happened in events)
    return max(asked, int(result.totals.sent_bytes + result.totals.received_bytes > 0))


def faults_of(state: Path, sessions: Sequence[str]) -> tuple[str, ...]:
    """Return what does not verify, a line each."""
    found: list[str] = []
    for session in filter(None, sessions):
        try:
            faults = verify_session(state, session).faults()
        except AuditError as error:
            faults = {"ledger": str(error)}
        found += [f"{session}: {name} {words}" for name, words in faults.items()]
    return tuple(found)


def _blank(task: Task) -> TaskResult:
    return TaskResult(
        name=task.name,
        origin=task.origin,
        policy=task.policy.name,
        grant=task.policy.grant.label,
        model=task.model or "default",
        task=task.file.name,
        variant=task.variant,
        seed=task.seed,
    )


def _unmade(task: Task, why: str) -> tuple[CheckResult, ...]:
    """Return the checks that were not made."""
    nothing = Found(tree=None, changes=None, patch=None, denials=0, crossings=0)
    names = [check.name for check in declared_checks(task.file.checks, nothing)]
    names += [name_of_output(path) for path in task.file.outputs]
    names += [name_of_command(command) for command in task.file.checks.commands]
    return tuple(CheckResult(name=name, why=why, is_skipped=True) for name in names)
