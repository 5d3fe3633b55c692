"""Hold the `slack` commands, each group in its own file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli_tools.slack import look, say, send

if TYPE_CHECKING:
    from cli_tools.command import Command

COMMANDS: Final[tuple[Command, ...]] = (*look.COMMANDS, *say.COMMANDS, *send.COMMANDS)
