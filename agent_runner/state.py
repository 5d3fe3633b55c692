"""Find the state folder and the sessions in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import platformdirs

from agent_runner.errors import InvalidInputError, NoFactsError
from agent_runner.meta import read_meta
from audit.errors import AuditError
from audit.index import read_index
from audit.reader import resolve_id
from audit.segments import opened
from audit.state import SessionFiles, StateFiles

VARIABLE: Final = "PAIRLOCK_STATE"
_HEAD_BYTES: Final = 64 * 1024
"""More than a log holds that was closed before its session began."""


def state_folder() -> Path:
    """Return the state folder: `PAIRLOCK_STATE`, else the platform's own.

    Raises:
        InvalidInputError: When the variable is not an absolute path, or the path leads to no folder: that is
            not the same as a state without sessions.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return _folder(Path(platformdirs.user_state_dir("pairlock", appauthor=False)))
    if not Path(named).is_absolute():
        raise InvalidInputError(f"`{VARIABLE}` is `{named}`, expected an absolute path")
    return _folder(Path(named))


def _folder(path: Path) -> Path:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return path  # the first session makes it
    except NotADirectoryError:
        is_folder = False
    if not is_folder:
        raise InvalidInputError(
            f"the state folder `{path}` is no folder", hint=f"name another one with {VARIABLE}"
        )
    return path


def session_files(given: str, state: Path) -> SessionFiles:
    """Return the files of the session that a person means.

    Args:
        given: An id, a prefix of at least 4 characters, `last` or `last:FOLDER`, which is the newest that a
            person started and that began.
        state: The state folder.

    Raises:
        audit.errors.UnknownSessionError: When it means none, or more than one.
    """
    files = StateFiles(state)
    folder = str(Path(given.removeprefix("last:")).resolve()) if given.startswith("last:") else None
    session = resolve_id(
        read_index(files),
        given,
        owner_uid=os.getuid(),
        folder=folder,
        is_passed_over=lambda session: _is_passed_over(files.session(session)),
    )
    return files.session(session)


def _is_passed_over(files: SessionFiles) -> bool:
    """Tell whether another session started this one, or it ended before its first entry was written."""
    try:
        return bool(read_meta(files.folder).parent)
    except NoFactsError:
        return _never_opened(files)


def _never_opened(files: SessionFiles) -> bool:
    try:
        with opened(files.events) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, AuditError):
        return False  # gone, pruned or no log: for its reader to tell of
    return len(head) < _HEAD_BYTES and b'"type":"session.opened"' not in head
