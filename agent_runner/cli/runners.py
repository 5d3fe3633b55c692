"""Speak with a running session from another terminal: `attach`, `stop`, `approve`, `deny`."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from agent_runner.cli.talk import say

ID = Annotated[str, typer.Argument(metavar="ID", help="An id, its beginning, or `last`.")]
POLL_SECONDS: Final = 0.2
STOP_SECONDS: Final = 20.0


def attach(session: ID) -> None:
    """Show what a session does, as its ledger tells it, until it ends. Ctrl-C leaves it running."""
    from agent_runner.listing import entry_lines
    from agent_runner.state import session_files, state_folder
    from audit.follow import Follower
    from audit.lock import is_held
    from audit.reader import BrokenEntry, SessionReader

    state = state_folder()
    files = session_files(session, state)
    name = files.folder.name
    follower = Follower(state, name)
    while True:
        held = is_held(files.lock)
        for entry in follower.poll():
            if isinstance(entry, BrokenEntry):
                say(f"pairlock: entry {entry.seq} does not hold: {entry.why}")
                raise typer.Exit(6)
            for line in entry_lines(SessionReader(state, name), entry):
                typer.echo(line)
        if not held:
            return
        time.sleep(POLL_SECONDS)


def stop(session: ID) -> None:
    """End a running session gracefully; it can be resumed."""
    from agent_runner.door import tell
    from agent_runner.errors import RunnerError
    from agent_runner.state import session_files, state_folder
    from audit.lock import is_held

    files = session_files(session, state_folder())
    name = files.folder.name
    tell(name, do="stop")
    deadline = time.monotonic() + STOP_SECONDS
    while is_held(files.lock):
        if time.monotonic() > deadline:
            raise RunnerError(f"session `{name}` has not ended within {STOP_SECONDS:.0f} s", hint="try again")
        time.sleep(POLL_SECONDS)
    say(f"session {name} is stopped; `pairlock resume {name}` goes on")


def approve(
    session: ID,
    action: Annotated[str | None, typer.Argument(metavar="ACTION", help="As it was shown.")] = None,
) -> None:
    """Allow the action that waits for a person, once; without ACTION show what waits."""
    _answer(session, action, "approve")


def deny(
    session: ID,
    action: Annotated[str | None, typer.Argument(metavar="ACTION", help="As it was shown.")] = None,
) -> None:
    """Refuse the action that waits for a person; without ACTION show what waits."""
    _answer(session, action, "deny")


def _answer(given: str, action: str | None, word: str) -> None:
    from agent_runner.door import tell
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import session_files, state_folder

    session = session_files(given, state_folder()).folder.name
    question = tell(session, do="status").get("question")
    if not isinstance(question, dict):
        raise InvalidInputError(f"session `{session}` waits for nobody")
    if action is None:
        for line in _shown(question):
            typer.echo(line)
        say(f"`pairlock {word} {session} {question['action']}@{str(question['digest'])[:16]}` answers")
        return
    named, at, digest = action.partition("@")
    if (
        named != question["action"]
        or not at
        or len(digest) < 8
        or not str(question["digest"]).startswith(digest)
    ):
        raise InvalidInputError(
            f"`{action}` is not the action that waits",
            hint=f"`pairlock {word} {session}` shows it, and how to name it",
        )
    tell(session, do=word, action=question["action"], digest=question["digest"])


def _shown(question: dict[str, object]) -> list[str]:
    argv, reasons = question.get("argv"), question.get("reasons")
    lines = [f"{question['action']}  {' '.join(map(str, argv)) if isinstance(argv, list) else ''}"]
    if question.get("body") is not None:
        lines.append(f"  content: {question['body']}")
    return lines + [f"  {reason}" for reason in (reasons if isinstance(reasons, list) else [])]
