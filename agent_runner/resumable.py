"""Say whether a session may be gone on with, and with which model, before its ledger is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from agent_runner.at_work import refuse_running
from agent_runner.errors import InvalidInputError, NoFactsError, RefusedError
from agent_runner.meta import read_meta
from agent_runner.past import memory_ended
from policies.wording import quoted

if TYPE_CHECKING:
    from audit.state import SessionFiles
    from sandbox.workspace import Workspace

T = TypeVar("T")
GOES_ON: Final = frozenset({"interrupted", "budget", "model_failed", "sandbox_failed"})
"""How a session ends of which something is left to do; a stage that passed its bound passes it again."""


def resuming(files: SessionFiles, status: str) -> str:
    """Return the command that goes on with a session, by what lies beside its ledger; empty where none does.

    Args:
        files: The session's.
        status: How it ended; it is one that nobody reviewed.
    """
    if status not in GOES_ON:
        return ""
    try:
        meta = read_meta(files.folder)
    except NoFactsError:
        return ""
    if meta.command or meta.parent:
        return ""
    more = " --add-budget WHAT" if status == "budget" else ""
    named = "" if meta.model_reference else " --model NAME"
    return f"pairlock resume {meta.session}{more}{named}"


def refuse_command(files: SessionFiles) -> None:
    """Refuse a session of somebody else's agent, which may have been killed before its ledger says so.

    Raises:
        InvalidInputError: When it is one.
        NoFactsError: When its facts cannot be read.
    """
    if read_meta(files.folder).command:
        raise memory_ended(files.folder.name)


def require_same_folder(files: SessionFiles, workspace: Workspace) -> None:
    """Refuse another folder at the workspace's path: the stage and the label are the first one's.

    Raises:
        RefusedError: When it is another one than that in which the session began.
        NoFactsError: When its facts cannot be read.
    """
    began = read_meta(files.folder).identity
    if began is not None and not began.same_folder(workspace.identity):
        raise RefusedError(
            f"the folder at {quoted(str(workspace.path))} is not the one that session "
            f"`{files.folder.name}` began in",
            hint="put that one back, or start another session",
        )


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
