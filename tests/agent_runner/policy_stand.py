"""What the tests of `pairlock policy` share: a small policy, and a way to call the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from agent_runner.cli.exits import leave
from agent_runner.cli.policy import app

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "version: 1\nname: p\ngrant: [files]\ncommands: {allow: [files read, files list]}\n"
EXPECT = "expect:\n  - allow: files read a\n  - deny: http get https://a.com/\n    because: capability\n"


def pairlock(*arguments: object) -> Result:
    """Run `pairlock policy`; an error becomes the exit code that the program would leave with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        result.exit_code = leave(result.exception)
    return result


def written(folder: Path, name: str, text: str) -> Path:
    """Write a file, and return its path."""
    path = folder / name
    path.write_text(text)
    return path
