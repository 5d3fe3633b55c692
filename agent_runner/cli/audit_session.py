"""Say which session a command of the audit group means, and read what it is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

Session = Annotated[str, typer.Argument(metavar="ID", help="A session's id, its beginning, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def whole_id(given: str) -> str:
    """Return the whole id of the session that a person means."""
    from agent_runner.state import session_files, state_folder

    return session_files(given, state_folder()).folder.name


LARGEST_CHECKPOINT = 65536


def read_checkpoint(path: Path) -> str:
    """Return a checkpoint that was kept elsewhere: a few lines of text.

    Raises:
        InvalidInputError: When the file cannot be one.
    """
    from agent_runner.errors import InvalidInputError

    if not path.exists():
        raise InvalidInputError(f"`{path}` is not there", hint="a copy of the state folder's `checkpoint`")
    if not path.is_file() or path.stat().st_size > LARGEST_CHECKPOINT:
        raise InvalidInputError(f"`{path}` is not a checkpoint: a regular file of at most 64 KiB")
    return path.read_text("utf-8", "replace")
