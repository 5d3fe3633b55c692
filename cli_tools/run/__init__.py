"""Hold what starts programs of the agent's choosing, at once or in the background."""

from typing import Final

from cli_tools.command import Command
from cli_tools.run import background, convenience, program

COMMANDS: Final[tuple[Command, ...]] = (*program.COMMANDS, *background.COMMANDS, *convenience.COMMANDS)
