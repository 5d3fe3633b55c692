"""Speak with a running session from another terminal: `attach`, `stop`, `approve`, `deny`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit.state import SessionFiles

ID = Annotated[str, typer.Argument(metavar="ID", help="An id, its beginning, or `last`.")]


def attach(
    session: ID,
    answer: Annotated[
        bool, typer.Option("--answer", help="Put its questions to you as well; else it is only shown.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the ledger's entries, one JSON object a line.")
    ] = False,
) -> None:
    """Show a session as its own terminal does, until it ends. Ctrl-C leaves it running."""
    from agent_runner.state import session_files, state_folder

    state = state_folder()
    name = session_files(session, state).folder.name
    if as_json:
        _print_entries(state, name, answer=answer)
        return
    from agent_runner.cli.attaching import show_attached

    show_attached(state, name, answer=answer)


def _print_entries(state: Path, session: str, *, answer: bool) -> None:
    from agent_runner.cli.attached import AttachedPerson
    from agent_runner.cli.entries import print_entry
    from agent_runner.following import follow_session
    from audit.reader import SessionReader

    wait = AttachedPerson(session).wait if answer else None
    reader = SessionReader(state, session)
    for entry in follow_session(state, session, wait=wait):
        print_entry(reader, entry, as_json=True)


def stop(session: ID) -> None:
    """End a running session gracefully, and where it does not end kill its runner; it can be resumed."""
    from agent_runner.state import session_files, state_folder
    from agent_runner.stopping import GRACE_SECONDS, stop_session

    state = state_folder()
    files = session_files(session, state)
    name = files.folder.name
    with _expected(files):
        how = stop_session(state, name)
    if how == "killed":
        say(f"it had not ended within {GRACE_SECONDS:.0f} s, so its runner was killed")
    say(f"session {name} is stopped; `pairlock resume {name}` goes on")


def approve(
    session: ID,
    action: Annotated[
        str | None, typer.Argument(metavar="ACTION", help="SESSION/N@DIGEST, as it is shown without it.")
    ] = None,
) -> None:
    """Allow the action that waits for a person, once; without ACTION show what waits."""
    _answer(session, action, "approve")


def deny(
    session: ID,
    action: Annotated[
        str | None, typer.Argument(metavar="ACTION", help="SESSION/N@DIGEST, as it is shown without it.")
    ] = None,
) -> None:
    """Refuse the action that waits for a person; without ACTION show what waits."""
    _answer(session, action, "deny")


@contextmanager
def _expected(files: SessionFiles) -> Iterator[None]:
    """Say of a runner that was not found whether it has ended, or runs and listens elsewhere."""
    from agent_runner.errors import InvalidInputError, NoRunnerError
    from audit.lock import is_held

    try:
        yield
    except NoRunnerError as error:
        hint = f"it has ended or was killed: `pairlock show {error.session}` says how"
        if is_held(files.lock):
            hint = "it runs: it has just begun or is about to end, or has another `XDG_RUNTIME_DIR` than you"
        raise InvalidInputError(error.message, hint=hint) from error


def _answer(given: str, action: str | None, word: str) -> None:
    from agent_runner.cli.attached import shown_question
    from agent_runner.door import tell
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import session_files, state_folder

    files = session_files(given, state_folder())
    session = files.folder.name
    with _expected(files):
        question = tell(session, do="status").get("question")
    if not isinstance(question, dict):
        raise InvalidInputError(f"session `{session}` waits for nobody")
    if action is None:
        for line in shown_question(question, on=sys.stdout):
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
    with _expected(files):
        tell(session, do=word, action=question["action"], digest=question["digest"])
