"""Say whether a session may be gone on with, and with which model, before its ledger is read."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from agent_runner.at_work import refuse_running
from agent_runner.errors import InvalidInputError, NoFactsError, RefusedError
from agent_runner.meta import read_meta
from agent_runner.past import memory_ended
from audit.errors import AuditError
from audit.recover import kept_segments
from audit.segments import Lines
from policies.wording import quoted

if TYPE_CHECKING:
    from audit.session_record import SessionRecord
    from audit.state import SessionFiles
    from sandbox.workspace import Workspace

T = TypeVar("T")
GOES_ON: Final = frozenset({"interrupted", "budget", "model_failed", "sandbox_failed"})
"""How a session ends of which something is left to do; a stage that passed its bound passes it again."""
_FIRST: Final = 2
"""Entries among which a session's own first one is: behind the ledger's."""
_ENDED: Final = frozenset({"done", "failed"})
"""How it ends by itself, unless the model stopped before, or this machine failed, which somebody may mend."""


def is_over(status: str, *, unfinished: bool) -> bool:
    """Tell whether a session came to its end, by what its last entry says; nothing goes on with it then."""
    return status in _ENDED and not unfinished


def goes_on(status: str, *, unfinished: bool) -> bool:
    """Tell whether people are told how to go on with a session that ended so."""
    return status in GOES_ON or (status in _ENDED and unfinished)


def resuming(files: SessionFiles, record: SessionRecord, status: str, *, unfinished: bool) -> str:
    """Return the command that goes on with a session, by what lies beside its ledger; empty where none does.

    Args:
        files: The session's.
        record: What the host's log says of it.
        status: How it ended; it is one that nobody reviewed.
        unfinished: What its last entry says of that.
    """
    if not goes_on(status, unfinished=unfinished):
        return ""
    try:
        meta = read_meta(files.folder)
    except NoFactsError:
        return ""
    if meta.command or meta.parent or not _has_begun(files, record):
        return ""
    more = " --add-budget WHAT" if status == "budget" else ""
    named = "" if meta.model_reference else " --model NAME"
    return f"pairlock resume {meta.session}{more}{named}"


def _has_begun(files: SessionFiles, record: SessionRecord) -> bool:
    """Tell whether a session's ledger says with what it began: it may have been killed before, or pruned."""
    try:
        first = [path for _, path in kept_segments(files, record)][:1]
        return any(b'"type":"session.opened"' in line for line in islice(Lines(first), _FIRST))
    except AuditError:
        return False


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
