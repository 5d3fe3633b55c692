"""Run somebody else's agent in a session: `pairlock exec`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from agent_runner.cli.exits import Exit, leave
from agent_runner.cli.place import place_for
from agent_runner.cli.talk import SilentWatcher, say

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
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="What is run, found in the image.")
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
    from agent_runner.account import changes_line
    from agent_runner.cli.exits import explain

    result = ran.result
    say(f"session {result.session}  {result.status}: {result.reason}")
    if changes := changes_line(result):
        say(changes)
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

    from agent_runner.answerable import answerable
    from agent_runner.gateway.command import run_command
    from agent_runner.gateway.terminal import HostTerminal

    task = asyncio.current_task()
    terminal = HostTerminal(insisted=task.cancel if task is not None else lambda: None, after=signalled)
    try:
        async with answerable(
            request.session, request.approver, state=request.state, notice=say, alone=True
        ) as asker:
            return await run_command(replace(request, approver=asker), command, terminal)
    finally:
        await request.backend.close()


def _request(
    command: tuple[str, ...], policy: str | None, workspace: Path | None, model: str | None
) -> SessionRequest:
    from agent_runner.approvals import NobodyApprover
    from agent_runner.errors import InvalidInputError
    from agent_runner.ids import new_session_id
    from agent_runner.models import choose_backend, configured_webhook

    if not command:
        raise InvalidInputError("there is no command", hint="`pairlock exec --policy P -- COMMAND …`")
    place = place_for(policy, workspace)
    request = place.request(shlex.join(command), choose_backend(model, notice=say), SilentWatcher())
    # The command has the terminal; whoever sits there answers from another one (`pairlock approve`).
    headless = place.headless and not configured_webhook()
    return replace(request, headless=headless, approver=NobodyApprover(), session=new_session_id())
