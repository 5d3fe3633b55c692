"""Turn errors into one line on stderr and a documented exit code. Never a traceback."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NoReturn

import click
import typer

from agent_runner.errors import BackendError, InvalidInputError, RefusedError, RunnerError, UnknownSessionError
from audit.errors import AuditError, BrokenLedgerError, LedgerError, StateFolderError
from audit.escape import escape
from policies.errors import ForbiddenGrantError, PolicyError
from sandbox.errors import ImageNotFoundError, SandboxError
from sandbox.stage.errors import StageError
from sandbox.workspace import WorkspaceError


class Exit(IntEnum):
    """The exit codes; README.md and docs/exit-codes.md show the same table."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    SANDBOX = 4
    BUDGET = 5
    LEDGER = 6
    MODEL = 7
    INTERRUPTED = 130


# The first row that fits decides; what is not listed is a fault of this program.
_CODES: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (ForbiddenGrantError, Exit.DENIED),
    (PolicyError, Exit.USAGE),
    (WorkspaceError, Exit.USAGE),
    (StageError, Exit.SANDBOX),
    (ImageNotFoundError, Exit.SANDBOX),
    (SandboxError, Exit.SANDBOX),
    (RefusedError, Exit.DENIED),
    (InvalidInputError, Exit.USAGE),
    (UnknownSessionError, Exit.USAGE),
    (BackendError, Exit.MODEL),
    (RunnerError, Exit.FAILED),
    (LedgerError, Exit.LEDGER),
    (BrokenLedgerError, Exit.LEDGER),
    (StateFolderError, Exit.LEDGER),
    (AuditError, Exit.USAGE),
    (OSError, Exit.FAILED),
)


def exit_code(error: Exception) -> Exit | None:
    """Return the code for an error, None for one that nobody foresaw."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def explain(error: Exception) -> str:
    """Return what a person is told: the message, then the hint on a line of its own."""
    message = str(getattr(error, "message", "") or error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    hint = str(getattr(error, "hint", ""))
    if hint and not message.endswith(hint):
        message = f"{message}\nhint: {hint}"
    return "\n".join(escape(line) for line in message.splitlines())


def leave(error: Exception) -> NoReturn:
    """Print an error and leave with its code.

    Raises:
        typer.Exit: Always, unless nobody foresaw the error, which is then raised as it is.
    """
    code = exit_code(error)
    if code is None:
        raise error
    click.echo(f"pairlock: {explain(error)}", err=True)
    raise typer.Exit(code)
