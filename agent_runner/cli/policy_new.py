"""Draft a policy: `pairlock policy new`, by questions, for a grant, or from a recorded session."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.drafting import Wishes
    from policies.grant import Grant

Answer = TypeVar("Answer")


def new(
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="ID", help="A session: the narrowest policy it would have run under."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the policy is called.")] = "new-policy",
    grant: Annotated[
        str | None,
        typer.Option("--grant", help="Capabilities with commas, at most two, or none; asks no questions."),
    ] = None,
) -> None:
    """Write a policy to stdout: by questions in a terminal, for a grant, or from a recorded session."""
    from agent_runner.drafting import Wishes, draft, from_session, grant_of, name_of
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder

    name_of(name)
    if source is not None:
        drafted = from_session(state_folder(), source, name)
        text = drafted.text
        for note in drafted.notes:
            say(note)
    elif grant is not None:
        text = draft(Wishes(name=name, grant=grant_of(grant)))
    elif sys.stdin.isatty():
        text = draft(_asked(name))
    else:
        raise InvalidInputError(
            "there is no terminal to ask questions on",
            hint="`--grant files,exec` drafts without questions, `--from last` from a recorded session",
        )
    typer.echo(text, nl=not text.endswith("\n"))


def _asked(name: str) -> Wishes:
    from agent_runner.drafting import Wishes, grant_of, hosts_of, name_of, programs_of, yes_of
    from policies.capability import Capability

    say("a policy says what an agent may do; each answer in [brackets] is taken by pressing Enter")
    name = ask("what is the policy called", default=name, read=name_of)
    grant: Grant = ask("capabilities (files, network, exec; at most two)", default="files", read=grant_of)
    writes = grant.holds(Capability.FILES) and ask(
        "may it change files, which wait for your review (yes, no)", default="yes", read=yes_of
    )
    programs: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    if grant.holds(Capability.EXEC):
        programs = ask("programs that it may start, with commas", default="", read=programs_of)
    if grant.holds(Capability.NETWORK):
        hosts = ask("hosts that it may read from, with commas", default="", read=hosts_of)
    return Wishes(name=name, grant=grant, writes=writes, programs=programs, hosts=hosts)


def ask(question: str, *, default: str, read: Callable[[str], Answer]) -> Answer:
    """Ask until the answer can be read; what was wrong with it is said."""
    from agent_runner.cli.exits import explain
    from agent_runner.errors import InvalidInputError
    from policies.errors import PolicyError

    while True:
        # On stderr, whole: click's own prompt writes its last letter to stdout, where the policy goes.
        print(f"{question} [{default}]: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            raise InvalidInputError("the questions were not answered", hint="`--grant` asks none")
        try:
            return read(answer.strip() or default)
        except (InvalidInputError, PolicyError) as error:
            say(explain(error))
