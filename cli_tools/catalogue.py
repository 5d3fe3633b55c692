"""List the built-in commands, each from its own room."""

from __future__ import annotations

from cli_tools import delegate, files, finish, git, http, mail, output, run, slack
from cli_tools.action import Catalogue


def built_in() -> Catalogue:
    """Return every command there is."""
    rooms = (files, git, http, mail, run, slack, delegate, finish, output)
    return Catalogue(command for room in rooms for command in room.COMMANDS)
