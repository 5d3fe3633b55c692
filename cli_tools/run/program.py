"""Declare `run`: a program of the agent's choosing, in the sandbox. It needs `exec`."""

from __future__ import annotations

from typing import Final

import click

from cli_tools.command import Body, Command, Outcome, Surroundings, command
from policies.capability import Capability


@command(
    "run",
    needs=(Capability.EXEC,),
    parameters=(
        click.Option(["--cwd"], default=".", help="Folder to start in, relative to the workspace."),
        click.Option(["--timeout"], type=click.IntRange(1, 3600), help="Seconds until it is ended."),
        click.Option(["--stdin"], type=Body(), help="Text for its standard input."),
        click.Argument(["argv"], nargs=-1, required=True),
    ),
    program="argv",
    examples=("run pytest -q", "run --timeout 60 python -c 'print(1)'"),
)
async def run_program(
    surroundings: Surroundings,
    *,
    argv: tuple[str, ...],
    cwd: str,
    timeout: int | None,  # noqa: ASYNC109 - the guest ends the program
) -> Outcome:
    """Run a program of the image with these arguments; there is no shell unless the program is one."""
    reply = await surroundings.sandbox.spawn(
        argv, cwd=cwd, timeout_seconds=float(timeout) if timeout else None, stdin=surroundings.body
    )
    return Outcome(
        exit_code=reply.exit_code,
        output=reply.output,
        errors=reply.errors,
        note=reply.note,
        truncated_bytes=reply.truncated_bytes,
        timed_out=reply.timed_out,
    )


COMMANDS: Final[tuple[Command, ...]] = (run_program,)
