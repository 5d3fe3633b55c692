"""Run somebody else's agent in a session: `pairlock exec`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from agent_runner.cli.exits import Exit, leave
from agent_runner.cli.talk import Progress, SilentWatcher, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.gateway.command import Ran
    from agent_runner.request import SessionRequest

OWN = 100
"""What is added to an exit code of pairlock's own, so that it is never taken for the command's."""


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer keeps a click of its own, not exported


class ExecCommand(TyperCommand):
    """A command whose wrong usage is told by a code that cannot be the one of what it runs."""

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Parse the command line."""
        try:
            return super().make_context(*arguments, **extra)
        except _UsageError as error:
            vars(error)["exit_code"] = OWN + Exit.USAGE
            raise


def run_exec(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND …", help="What is run, found in the image.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="A policy file, or a name of the library.")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The folder; the current one if the policy has files."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model that the command finds on its loopback.")
    ] = None,
) -> None:
    """Run an agent that is not pairlock's own; its model calls go to the configured model.

    It ends with the command's own exit code; 102 to 107 are pairlock's own, as 2 to 7 are elsewhere.
    """
    try:
        ran = _run(_request(tuple(command or ()), policy, workspace, model), tuple(command or ()))
    except Exception as error:
        raise typer.Exit(OWN + leave(error)) from error
    raise typer.Exit(_code(ran))


def _code(ran: Ran) -> int:
    from agent_runner.cli.exits import explain

    result = ran.result
    say(f"session {result.session}  {result.status}: {result.reason}")
    if ran.code is not None and result.status in {"done", "failed"}:
        return ran.code
    if result.status == "interrupted":
        return result.exit_code
    if result.error is not None:
        say(f"pairlock: {explain(result.error)}")
    return OWN + result.exit_code


def _run(request: SessionRequest, command: tuple[str, ...]) -> Ran:
    from agent_runner.cli.interrupting import interruptible_by

    return interruptible_by(lambda signalled: _ran(request, command, signalled))


async def _ran(request: SessionRequest, command: tuple[str, ...], signalled: Callable[[], None]) -> Ran:
    import asyncio
    from dataclasses import replace

    from agent_runner.cli.run import answerable
    from agent_runner.gateway.command import run_command
    from agent_runner.gateway.terminal import HostTerminal

    task = asyncio.current_task()
    terminal = HostTerminal(insisted=task.cancel if task is not None else lambda: None, after=signalled)
    try:
        async with answerable(request.session, request.approver) as asker:
            return await run_command(replace(request, approver=asker), command, terminal)
    finally:
        await request.backend.close()


def _request(
    command: tuple[str, ...], policy: str | None, workspace: Path | None, model: str | None
) -> SessionRequest:
    from agent_runner.approvals import NobodyApprover
    from agent_runner.cli.run import find_policy, require_trust
    from agent_runner.errors import InvalidInputError
    from agent_runner.ids import new_session_id
    from agent_runner.models import choose_backend
    from agent_runner.request import SessionRequest
    from agent_runner.state import state_folder
    from policies.capability import Capability
    from sandbox.workspace import open_workspace

    if not command:
        raise InvalidInputError("there is no command", hint="`pairlock exec --policy P -- COMMAND …`")
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
    return SessionRequest(
        task=shlex.join(command),
        policy=loaded.policy,
        policy_origin=loaded.origin,
        workspace=folder,
        backend=choose_backend(model, notice=say),
        state=state,
        # The command has the terminal; whoever sits there answers from another one (`pairlock approve`).
        headless=not (sys.stdin.isatty() and sys.stderr.isatty()) or bool(os.environ.get("CI")),
        task_is_origin=False,
        approver=NobodyApprover(),
        watcher=SilentWatcher(),
        progress=Progress(),
        session=new_session_id(),
    )
