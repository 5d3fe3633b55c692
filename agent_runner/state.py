"""Find the state folder and the sessions in it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from agent_runner.errors import InvalidInputError
from agent_runner.ids import find_session
from audit.index import read_index
from audit.state import SessionFiles, StateFiles

VARIABLE = "PAIRLOCK_STATE"


def state_folder() -> Path:
    """Return the state folder: `PAIRLOCK_STATE`, else the platform's own.

    Raises:
        InvalidInputError: When the variable is not an absolute path.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return Path(platformdirs.user_state_dir("pairlock", appauthor=False))
    if not Path(named).is_absolute():
        raise InvalidInputError(f"`{VARIABLE}` is `{named}`, expected an absolute path")
    return Path(named)


def session_files(text: str, state: Path) -> SessionFiles:
    """Return the files of the session that a person means.

    Args:
        text: An id, a prefix of one, or `last`.
        state: The state folder.

    Raises:
        UnknownSessionError: When it means none, or more than one.
    """
    files = StateFiles(state)
    return files.session(find_session(text, tuple(read_index(files).sessions)))
