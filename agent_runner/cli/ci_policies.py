"""Show what tasks' policies decide otherwise than older ones: `ci run --replay DIR --policy-diff OLD`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from agent_runner.ci.annotations import plain_line
from agent_runner.ci.policy_diff import decided_otherwise
from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say
from agent_runner.counted import counted
from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from agent_runner.ci.reading import Task
    from agent_runner.cli.ci_running import Wanted


def show_policy_diff(cases: list[Task], wanted: Wanted, old: str, *, as_json: bool) -> None:
    """Print each recorded action that is decided otherwise.

    Raises:
        InvalidInputError: When no recordings are named.
        typer.Exit: With 1 when anything is decided otherwise, or a case had no policy to compare with.
    """
    if wanted.replay is None:
        raise InvalidInputError("`--policy-diff` needs `--replay`", hint="name the folder of the recordings")
    different = 0
    for found in decided_otherwise(cases, wanted.replay, old):
        different += 1
        if isinstance(found, str):
            say(f"{found}: `{old}` holds no policy of its policy's name")
        elif as_json:
            typer.echo(json.dumps(found.as_plain()).replace("##", "#\\u0023"))
        else:
            typer.echo("\n".join(map(plain_line, found.lines())))
    say(f"{counted(len(cases), 'recording')}, {counted(different, 'difference')}")
    if different:
        raise typer.Exit(Exit.FAILED)
