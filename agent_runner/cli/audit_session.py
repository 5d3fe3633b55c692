"""Say which session a command of the audit group means, and how it is asked for JSON."""

from __future__ import annotations

from typing import Annotated

import typer

Session = Annotated[str, typer.Argument(metavar="ID", help="A session's id, its beginning, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def whole_id(given: str) -> str:
    """Return the whole id of the session that a person means."""
    from agent_runner.state import session_files, state_folder

    return session_files(given, state_folder()).folder.name
