"""Declare `delegate`: a session of its own for part of the task, within what this session may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import click

from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Sequence

GRANTS: Final = ("none", "files", "network", "exec", "files,network", "files,exec", "network,exec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is delegated."""

    task: str
    grant: str | None
    """Capabilities, with commas between; None for all that this session holds."""
    policy: str
    """A name of the library, which narrows further; empty for none."""
    turns: int | None
    """The most questions to the model; None for what is left of the budget."""
    action: str
    """The action that delegates: `<session>/<n>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What came of it."""

    session: str
    exit_code: int
    ended: str
    """How it ended, in one line of the runner's own."""
    said: str
    """The last words of its model."""
    changes: int
    """Changes in its stage, which wait for a person."""


class Delegation(Protocol):
    """Start sessions below this one."""

    async def delegate(self, errand: Errand) -> Returned:
        """Run a session to its end.

        Raises:
            ActionError: When it may not be started.
        """
        ...


@command(
    "delegate",
    runs="host",
    parameters=(
        click.Option(
            ["--grant"],
            type=click.Choice(GRANTS),
            default=None,
            help="What it holds: a part of what this session holds; all of it when left out.",
        ),
        click.Option(
            ["--policy"],
            default="",
            help="A policy of the library, which narrows it further.",
            metavar="NAME",
        ),
        click.Option(
            ["--turns"], type=click.IntRange(1), default=None, help="The most turns; all that are left."
        ),
        click.Argument(["task"]),
    ),
    examples=("delegate --grant files 'list every use of the old name'",),
)
async def delegate(
    surroundings: Surroundings, *, task: str, grant: str | None, policy: str, turns: int | None
) -> Outcome:
    """Start a session for part of the task; its answer comes back, its changes wait for a person's review."""
    if surroundings.delegation is None:
        raise ActionError("delegation", "this session cannot delegate")
    if not task.strip():
        raise ActionError("usage", "`delegate`: the task is empty", hint="say what is to be done")
    returned = await surroundings.delegation.delegate(
        Errand(task=task, grant=grant, policy=policy, turns=turns, action=surroundings.action)
    )
    changes = (
        f"; {returned.changes} changes of its own wait for a person's review" if returned.changes else ""
    )
    return Outcome(
        exit_code=returned.exit_code,
        output=returned.said.encode("utf-8", "surrogateescape"),
        note=f"session {returned.session} ended: {returned.ended}{changes}",
    )


def grant_words(words: str) -> Sequence[str]:
    """Return the capabilities that a value of `--grant` names."""
    return () if words == "none" else words.split(",")


COMMANDS: Final[tuple[Command, ...]] = (delegate,)
