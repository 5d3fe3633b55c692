"""List the built-in commands, each from its own room."""

from __future__ import annotations

from cli_tools import files, finish, git, http, output, run
from cli_tools.action import Catalogue


def built_in() -> Catalogue:
    """Return every command there is."""
    return Catalogue(
        (*files.COMMANDS, *git.COMMANDS, *http.COMMANDS, *run.COMMANDS, *finish.COMMANDS, *output.COMMANDS)
    )
