"""Declare `run status`, `run output` and `run stop`: what came of programs that run in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError
from cli_tools.neutral import field
from cli_tools.run.program import NEEDS
from sandbox.errors import OperationFailedError

if TYPE_CHECKING:
    from cli_tools.run.jobs import Job, Jobs

_JOB: Final = click.IntRange(1, 1_000_000)
_SHOWN_CHARACTERS: Final = 120


def _jobs(surroundings: Surroundings) -> Jobs:
    if surroundings.jobs is None:
        raise ActionError("nothing", "nothing runs in the background here")
    return surroundings.jobs


@command(
    "run status",
    needs=NEEDS,
    parameters=(
        click.Argument(["job"], type=_JOB, required=False),
        click.Option(["--wait"], type=click.IntRange(1, 300), help="Wait for its end, seconds at most."),
    ),
    examples=("run status", "run status 1 --wait 60"),
)
async def status(surroundings: Surroundings, *, job: int | None, wait: int | None) -> Outcome:
    """Say which programs run in the background and how those that ended came out."""
    jobs = _jobs(surroundings)
    found = jobs.all if job is None else (jobs.find(job),)
    if wait and job is not None:
        await found[0].wait(wait)
    lines = [f"{_standing(one)}: {_words(one)}\n" for one in found]
    return Outcome(exit_code=0, text="".join(lines) or "nothing runs or ran in the background\n")


def _standing(job: Job) -> str:
    where = f"job {job.number}, {job.seconds:.1f} s, {job.total_bytes} bytes of output"
    if job.is_running:
        return f"{where}, runs"
    if isinstance(job.error, OperationFailedError) and not job.was_stopped:
        return f"{where}, failed: {field(job.error.reason)}"
    result = job.result
    if result is None:
        return f"{where}, {'was stopped' if job.was_stopped else 'was lost'}"
    late = ", its time was over" if result.timed_out else ""
    cut = f", {result.truncated_bytes} bytes of output were dropped" if result.truncated_bytes else ""
    return f"{where}, ended with exit code {result.exit_code}{late}{cut}"


def _words(job: Job) -> str:
    text = " ".join(job.argv)
    return field(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


@command(
    "run output",
    needs=NEEDS,
    parameters=(
        click.Argument(["job"], type=_JOB),
        click.Option(
            ["--from", "start"], type=click.IntRange(0), default=0, help="The first byte, counted from 0."
        ),
    ),
    examples=("run output 1", "run output 1 --from 4096"),
)
async def output(surroundings: Surroundings, *, job: int, start: int) -> Outcome:
    """Show what a program in the background has said so far, both outputs in the order they came."""
    found = _jobs(surroundings).find(job)
    if start > found.total_bytes:
        raise ActionError("range", f"job {job} has said {found.total_bytes} bytes so far")
    first, said = found.said(start)
    end = first + len(said)
    gone = f"; bytes {start} to {first} are no longer kept" if first > start else ""
    state = "it runs" if found.is_running else "it has ended"
    note = f"bytes {first} to {end}, {state}{gone}; `run output {job} --from {end}` shows what comes after"
    return Outcome(exit_code=0, output=said, note=note)


@command("run stop", needs=NEEDS, parameters=(click.Argument(["job"], type=_JOB),), examples=("run stop 1",))
async def stop(surroundings: Surroundings, *, job: int) -> Outcome:
    """End a program in the background, with everything that it started."""
    found = _jobs(surroundings).find(job)
    await found.stop()
    return Outcome(exit_code=0, text=f"{_standing(found)}\n")


COMMANDS: Final[tuple[Command, ...]] = (status, output, stop)
