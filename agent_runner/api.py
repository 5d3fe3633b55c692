"""Run sessions from Python: the same requests, results and refusals as the command line has.

    from agent_runner import run_session, session_request

    result = run_session(session_request("make the tests pass", policy="fix-tests", workspace="package"))

`run_session`, `resume_session` and `run_command` are for programs without a loop; `arun_session`,
`aresume_session` and `arun_command` are the same for those that have one. docs/python-api.md says what does
from Python what each command of the command line does.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from agent_runner.answerable import answerable
from agent_runner.approvals import NobodyApprover
from agent_runner.budget_limits import NOTHING, parse_budget
from agent_runner.errors import InvalidInputError
from agent_runner.gateway.command import Ran
from agent_runner.gateway.command import run_command as arun_command
from agent_runner.gateway.terminal import HostTerminal
from agent_runner.ids import new_session_id
from agent_runner.models import choose_backend, model_reference
from agent_runner.policy_file import load_policy
from agent_runner.policy_unseen import kept_unseen
from agent_runner.request import SessionRequest, SessionResult, require_task
from agent_runner.resumable import model_to_go_on_with
from agent_runner.resume import ResumeRequest
from agent_runner.resume import resume_session as going_on
from agent_runner.session import run_session as running
from agent_runner.state import session_files, state_folder
from agent_runner.trust import require_trust
from policies.capability import Capability
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from agent_runner.approvals import Asker
    from agent_runner.backends.backend import Backend, Reply
    from agent_runner.transcript import Watcher
    from cli_tools.observation import Observation

T = TypeVar("T")


def run_session(request: SessionRequest) -> SessionResult:
    """Run one session to its end; what goes wrong inside is told in the result.

    Raises:
        InvalidInputError: When a loop runs in this thread.
        RefusedError: When the session would, with what was left in its workspace, hold all three.
        audit.errors.LedgerError: When not even the session's first line can be written.
    """
    _require_no_loop("arun_session")
    return _run(_closing(request))


def resume_session(request: ResumeRequest) -> SessionResult:
    """Go on with a session to its end; see `agent_runner.resume.resume_session` for what it raises.

    Raises:
        InvalidInputError: When a loop runs in this thread, too.
    """
    _require_no_loop("aresume_session")
    return _run(_resumed(request))


async def arun_session(request: SessionRequest) -> SessionResult:
    """Run one session to its end; cancelled, it removes its sandbox and returns `interrupted`.

    Raises:
        RefusedError: As for `run_session`.
        audit.errors.LedgerError: As for `run_session`.
    """
    if not request.reachable:
        return await running(request)
    named = replace(request, session=request.session or new_session_id())
    async with answerable(named.session, named.approver, state=named.state) as asker:
        return await running(replace(named, approver=asker))


async def aresume_session(request: ResumeRequest) -> SessionResult:
    """Go on with a session to its end; see `agent_runner.resume.resume_session` for what it raises."""
    if not request.reachable:
        return await going_on(request)
    async with answerable(request.session, request.approver, state=request.state) as asker:
        return await going_on(replace(request, approver=asker))


def run_command(request: SessionRequest, argv: Sequence[str]) -> Ran:
    """Run somebody else's agent in a session, at this process's own terminal or pipes.

    Args:
        request: As for a session of our own; its task is what the ledger calls the command.
        argv: The command, found in the image of the policy.

    Returns:
        The session's account and the command's own exit code.

    Raises:
        InvalidInputError: As for `run_session`.
        RefusedError: When the policy does not grant `exec`, or as for `run_session`.
    """
    _require_no_loop("arun_command")
    return _run(_commanded(request, tuple(argv)))


def session_request(  # noqa: PLR0913 - what `pairlock run` takes, each with its default
    task: str,
    *,
    policy: str,
    workspace: str | Path | None = None,
    model: str | Backend | None = None,
    task_is_origin: bool = False,
    approver: Asker | None = None,
    watcher: Watcher | None = None,
    state: Path | None = None,
    reachable: bool = False,
) -> SessionRequest:
    """Return what `pairlock run` would start with; nothing is started.

    Args:
        task: What the agent is to do.
        policy: A policy file, or a name of the library.
        workspace: The folder; given exactly when the policy grants `files`.
        model: A configured name, `scripted:FILE`, or a backend of the caller's own; None for the default.
        task_is_origin: Whether a person wrote the task, so that recipients may come from it.
        approver: Who answers `ask` rules; without one, and where nobody else is asked, they are denials.
        watcher: Who is told of each reply and each action.
        state: The state folder; None for the user's own.
        reachable: Whether `pairlock approve`, `deny` and `stop`, and a configured webhook, reach it.

    Raises:
        InvalidInputError: When task, policy, workspace or model is not valid.
        RefusedError: When the policy lies in the workspace and nobody trusted it.
        policies.errors.PolicyError: When the policy is not a lawful one.
        sandbox.workspace.WorkspaceError: When the folder cannot be a workspace.
    """
    require_task(task)
    folder_of_state = (state or state_folder()).resolve()
    loaded = load_policy(policy)
    holds_files = loaded.policy.grant.holds(Capability.FILES)
    if holds_files != (workspace is not None):
        expected = (
            "needs a workspace" if holds_files else "grants no `files`, so a workspace would be ignored"
        )
        raise InvalidInputError(f"policy `{loaded.origin}` {expected}")
    opened = None if workspace is None else open_workspace(workspace, state=folder_of_state)
    require_trust(loaded, opened.path if opened else None, state=folder_of_state)
    return SessionRequest(
        task=task,
        policy=kept_unseen(loaded, opened.path if opened else None).policy,
        policy_origin=loaded.origin,
        workspace=opened,
        backend=choose_backend(model) if model is None or isinstance(model, str) else model,
        state=folder_of_state,
        headless=approver is None and not reachable,
        task_is_origin=task_is_origin,
        approver=approver or NobodyApprover(),
        watcher=watcher or _Silent(),
        progress=_no_progress,
        model_reference=model_reference(model) if model is None or isinstance(model, str) else "",
        may_delegate=True,
        reachable=reachable,
    )


def resume_request(  # noqa: PLR0913 - what `pairlock resume` takes, each with its default
    session: str,
    *,
    add_budget: str = "",
    model: str | Backend | None = None,
    approver: Asker | None = None,
    watcher: Watcher | None = None,
    state: Path | None = None,
    reachable: bool = False,
) -> ResumeRequest:
    """Return what `pairlock resume` would go on with; nothing goes on.

    Args:
        session: An id, its beginning, or `last`.
        add_budget: What is added, as in `turns=10,tokens=50k,cost_usd=1.50`; empty adds nothing.
        model: As for `session_request`; None for the one that it was run with.
        approver: As for `session_request`.
        watcher: As for `session_request`.
        state: As for `session_request`.
        reachable: As for `session_request`.

    Raises:
        InvalidInputError: When it runs, ran a command, or nobody knows with which model; or what is added or
            named is not valid.
        audit.errors.UnknownSessionError: When there is no such session.
    """
    folder_of_state = (state or state_folder()).resolve()
    files = session_files(session, folder_of_state)
    named: str | Backend = model_to_go_on_with(files, model)
    return ResumeRequest(
        session=files.folder.name,
        state=folder_of_state,
        backend=choose_backend(named) if isinstance(named, str) else named,
        headless=approver is None and not reachable,
        approver=approver or NobodyApprover(),
        watcher=watcher or _Silent(),
        progress=_no_progress,
        added=parse_budget(add_budget) if add_budget else NOTHING,
        model_reference=named if isinstance(named, str) else "",
        reachable=reachable,
    )


def _require_no_loop(instead: str) -> None:
    """Return where no loop runs in this thread: the call would stop it, with all that waits in it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InvalidInputError("a loop runs in this thread already", hint=f"`await agent_runner.{instead}(…)`")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end: the first Ctrl-C ends it in order, the second waits for that, the third raises.

    asyncio's own handler raises at the second, and would cut off the closing.
    """
    if not _ctrl_c_raises():
        return asyncio.run(work)
    presses: list[int] = []
    try:
        return asyncio.run(_patient(work, presses))
    except asyncio.CancelledError:
        if not presses:
            raise
        raise KeyboardInterrupt from None  # nothing had begun that could be ended in order
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ctrl_c_raises() -> bool:
    """Say whether Ctrl-C would raise `KeyboardInterrupt` here: the program has no handler of its own."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def _patient(work: Coroutine[Any, Any, T], presses: list[int]) -> T:
    """Await work that Ctrl-C cancels; the loop itself calls no handler while it is blocked."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def pressed(number: int, _frame: object) -> None:
        presses.append(number)
        if len(presses) > 2:
            raise KeyboardInterrupt
        if len(presses) == 1 and task is not None:
            with suppress(RuntimeError):  # the loop has closed: the work is done
                loop.call_soon_threadsafe(task.cancel)

    signal.signal(signal.SIGINT, pressed)
    return await work


async def _closing(request: SessionRequest) -> SessionResult:
    try:
        return await arun_session(request)
    finally:
        await request.backend.close()


async def _resumed(request: ResumeRequest) -> SessionResult:
    try:
        return await aresume_session(request)
    finally:
        await request.backend.close()


async def _commanded(request: SessionRequest, argv: tuple[str, ...]) -> Ran:
    task = asyncio.current_task()
    terminal = HostTerminal(insisted=task.cancel if task is not None else lambda: None)
    try:
        return await arun_command(request, argv, terminal)
    finally:
        await request.backend.close()


class _Silent:
    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Take no note."""


def _no_progress(message: str, /, *, done: int, total: int) -> None:
    pass
