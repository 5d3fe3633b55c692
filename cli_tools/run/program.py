"""Declare `run`: a program of the agent's choosing, in the sandbox. It needs `exec`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Body, Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError
from cli_tools.run.environment import variables
from cli_tools.run.reach import reaching
from policies.capability import Capability

if TYPE_CHECKING:
    from sandbox.running import ProcessResult

NEEDS: Final = (Capability.EXEC,)
CWD: Final = click.Option(["--cwd"], default=".", help="Folder to start in, relative to the workspace.")
TIMEOUT: Final = click.Option(["--timeout"], type=click.IntRange(1, 3600), help="Seconds until it is ended.")
ENVIRONMENT: Final = click.Option(
    ["--env"], multiple=True, help="A variable beside the usual ones, as `CI=1`; may be repeated."
)
STDIN: Final = click.Option(["--stdin"], type=Body(), help="Text for its standard input.")


@command(
    "run",
    needs=NEEDS,
    parameters=(
        CWD,
        TIMEOUT,
        ENVIRONMENT,
        STDIN,
        click.Option(
            ["--background"],
            is_flag=True,
            help="Go on at once; `run status` tells of it. It is ended with the session.",
        ),
        click.Argument(["argv"], nargs=-1, required=True),
    ),
    program="argv",
    examples=(
        "run pytest -q",
        "run --timeout 60 python -c 'print(1)'",
        "run --background --env PORT=8080 python server.py",
    ),
)
async def run_program(  # noqa: PLR0913 - one for each option
    surroundings: Surroundings,
    *,
    argv: tuple[str, ...],
    cwd: str,
    timeout: int | None,  # noqa: ASYNC109 - the guest ends the program
    env: tuple[str, ...],
    background: bool,
) -> Outcome:
    """Run a program of the image with these arguments; there is no shell unless the program is one."""
    environment = {**variables(env), **surroundings.variables}
    seconds = float(timeout) if timeout else None
    if not background:
        with reaching(surroundings) as reach:
            reply = await surroundings.sandbox.spawn(
                argv, cwd=cwd, timeout_seconds=seconds, stdin=surroundings.body, environment=environment
            )
        return reach.told(outcome(reply))
    if surroundings.jobs is None:
        raise ActionError("busy", "nothing can run in the background here")
    job = await surroundings.jobs.start(
        surroundings.action,
        argv,
        lambda take: surroundings.sandbox.running(
            argv,
            take=take,
            cwd=cwd,
            timeout_seconds=seconds,
            stdin=surroundings.body,
            environment=environment,
        ),
    )
    text = f"job {job.number} was started in the background\n"
    return Outcome(exit_code=0, text=text, note=f"`run output {job.number}` shows what it says")


def outcome(reply: ProcessResult) -> Outcome:
    """Return what came of a program that ended."""
    return Outcome(
        exit_code=reply.exit_code,
        output=reply.output,
        errors=reply.errors,
        note=reply.note,
        truncated_bytes=reply.truncated_bytes,
        timed_out=reply.timed_out,
        allowed_seconds=reply.allowed_seconds,
    )


COMMANDS: Final[tuple[Command, ...]] = (run_program,)
