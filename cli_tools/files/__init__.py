"""Declare `files`: what can be done with the workspace. Everything acts in the guest and needs `files`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli_tools.files import change, edit, look, seek

if TYPE_CHECKING:
    from cli_tools.command import Command

COMMANDS: Final[tuple[Command, ...]] = (*look.COMMANDS, *seek.COMMANDS, *change.COMMANDS, *edit.COMMANDS)
