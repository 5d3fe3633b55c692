"""Say whether a session may be gone on with, and with which model, before its ledger is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from agent_runner.errors import InvalidInputError
from agent_runner.meta import read_meta
from agent_runner.past import memory_ended
from agent_runner.review import refuse_running

if TYPE_CHECKING:
    from audit.state import SessionFiles

T = TypeVar("T")


def refuse_command(files: SessionFiles) -> None:
    """Refuse a session of somebody else's agent, which may have been killed before its ledger says so.

    Raises:
        InvalidInputError: When it is one.
        NoFactsError: When its facts cannot be read.
    """
    if read_meta(files.folder).command:
        raise memory_ended(files.folder.name)


def model_to_go_on_with(files: SessionFiles, model: T | None) -> T | str:
    """Return the model with which a session goes on: its name, unless a program gives one.

    Args:
        files: The session's.
        model: As somebody named or gave it; None for the one it was run with.

    Raises:
        InvalidInputError: When it runs, ran a command, or nobody knows with which model.
        NoFactsError: When its facts cannot be read.
    """
    refuse_running(files)
    refuse_command(files)
    named = model or read_meta(files.folder).model_reference
    if not named:
        raise InvalidInputError(
            f"session `{files.folder.name}` does not say which model it was run with",
            hint="name it: `--model`, or `model=` from Python",
        )
    return named
