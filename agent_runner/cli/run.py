"""Run one session from the command line: `pairlock run`."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import explain
from agent_runner.cli.talk import PlainWatcher, Progress, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.approvals import Asker
    from agent_runner.policy_file import LoadedPolicy
    from agent_runner.session import SessionRequest, SessionResult
    from policies.policy import Policy

PROJECT_POLICY = "pairlock.yaml"


def run(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the agent is to do.", show_default=False)],
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="A policy file, or a name of the library.")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The folder; the current one if the policy has files."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A configured model, or scripted:FILE.")
    ] = None,
    task_is_origin: Annotated[
        bool,
        typer.Option("--task-is-origin", help="TASK was typed by a person: recipients may come from it."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; print the session's id.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as one JSON object.")] = False,
) -> None:
    """Run one session: an agent, a policy, a sandbox, a ledger."""
    from agent_runner.cli.interrupting import interruptible

    request = _request(task, policy, workspace, model, task_is_origin=task_is_origin, detach=detach)
    say(f"policy {request.policy_origin}: {request.policy.grant.label}; model {request.backend.model}")
    asking = asking_rules(request.policy)
    if request.headless and asking:
        say(f"nobody can be asked here: {asking} `ask` rules are denials")
    if detach:
        from agent_runner.detach import go_on_alone

        go_on_alone(request.session, request.state, say=typer.echo)
    result = interruptible(_run(request))
    typer.echo(account(result, as_json=as_json))
    if result.error is not None and result.status != "interrupted":
        say(f"pairlock: {explain(result.error)}")
    raise typer.Exit(result.exit_code)


async def _run(request: SessionRequest) -> SessionResult:
    from dataclasses import replace

    from agent_runner.session import run_session

    try:
        async with answerable(request.session, request.approver) as asker:
            return await run_session(replace(request, approver=asker))
    finally:
        await request.backend.close()


@contextlib.asynccontextmanager
async def answerable(session: str, approver: Asker) -> AsyncIterator[Asker]:
    """Let other terminals stop a session and answer its questions; yield whom it is to ask."""
    import asyncio

    from agent_runner.approvals import FirstAnswer, NobodyApprover
    from agent_runner.door import Door

    task = asyncio.current_task()
    door = Door(session, stop=task.cancel if task else lambda: None)
    async with door.open():
        yield door if isinstance(approver, NobodyApprover) else FirstAnswer(approver, door)


def _request(  # noqa: PLR0913 - the options of `run`, each once
    task: str,
    policy: str | None,
    workspace: Path | None,
    model: str | None,
    *,
    task_is_origin: bool,
    detach: bool,
) -> SessionRequest:
    from agent_runner.approvals import NobodyApprover, TerminalApprover
    from agent_runner.errors import InvalidInputError
    from agent_runner.ids import new_session_id
    from agent_runner.models import choose_backend
    from agent_runner.request import SessionRequest, require_task
    from agent_runner.state import state_folder
    from policies.capability import Capability
    from sandbox.workspace import open_workspace

    require_task(task)
    state = state_folder()
    loaded = find_policy(policy, workspace)
    holds_files = loaded.policy.grant.holds(Capability.FILES)
    if workspace is not None and not holds_files:
        raise InvalidInputError(
            f"policy `{loaded.origin}` grants no `files`, so `--workspace` would be ignored",
            hint="leave it out",
        )
    folder = open_workspace(workspace or Path.cwd(), state=state) if holds_files else None
    require_trust(loaded, folder.path if folder else None, state)
    backend = choose_backend(model, notice=say)
    headless = not (sys.stdin.isatty() and sys.stderr.isatty()) or bool(os.environ.get("CI"))
    return SessionRequest(
        task=task,
        policy=loaded.policy,
        policy_origin=loaded.origin,
        workspace=folder,
        backend=backend,
        state=state,
        # Who detaches can answer from another terminal (`pairlock approve`), else the clock does; not in CI.
        headless=headless and not (detach and not os.environ.get("CI")),
        task_is_origin=task_is_origin or not headless,
        approver=NobodyApprover() if headless or detach else TerminalApprover(),
        watcher=PlainWatcher(),
        progress=Progress(),
        model_reference=model_reference(model),
        session=new_session_id(),
    )


def find_policy(reference: str | None, workspace: Path | None) -> LoadedPolicy:
    """Return the policy that was named, else the workspace's own; there is never a grant by default.

    Raises:
        InvalidInputError: When none was named and the workspace has none.
    """
    from dataclasses import replace

    from agent_runner.errors import InvalidInputError
    from agent_runner.policy_file import load_policy
    from policies.library import library_names

    if reference is not None:
        return load_policy(reference)
    own = (workspace or Path.cwd()) / PROJECT_POLICY
    if own.is_file():
        return replace(load_policy(str(own)), found=True)
    raise InvalidInputError(
        "no policy was named", hint=f"`--policy FILE`, or one of: {', '.join(library_names())}"
    )


def require_trust(loaded: LoadedPolicy, workspace: Path | None, state: Path) -> None:
    """Refuse a policy that came with the workspace, unless it was trusted as it stands."""
    from agent_runner.trust import require_trust as required

    required(loaded, workspace, state=state)


def asking_rules(policy: Policy) -> int:
    """Return how many rules of a policy put something before a person, of commands and of the way out."""
    network = policy.network
    return len(policy.commands.ask) + (sum(rule.ask for rule in network.allow) if network else 0)


def account(result: SessionResult, *, as_json: bool) -> str:
    """Return a session's account, for a person or for a program."""
    from agent_runner.account import account_json, account_lines

    return account_json(result) if as_json else "\n".join(account_lines(result))


def model_reference(model: str | None) -> str:
    """Return how a model is named so that another process, in another folder, finds the same one."""
    from agent_runner.models import REPLAY, SCRIPTED

    if model is not None and model.startswith(SCRIPTED):
        return f"{SCRIPTED}{Path(model.removeprefix(SCRIPTED)).resolve()}"
    if model is not None and model.startswith(REPLAY):
        from agent_runner.backends.replay import recorded_session

        return f"{REPLAY}{recorded_session(model.removeprefix(REPLAY)).folder}"
    return model or "default"
