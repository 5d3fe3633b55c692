"""Turn errors into one line on stderr and a documented exit code. Never a traceback."""

from __future__ import annotations

import os
import traceback
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes; the README shows the same table."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    SANDBOX = 4
    BUDGET = 5
    LEDGER = 6
    MODEL = 7
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the task, the command or a check failed",
    Exit.USAGE: "wrong usage, or a file that is not valid (file:line:column on stderr)",
    Exit.DENIED: "denied by policy, lineage or trust",
    Exit.SANDBOX: "the sandbox could not be made, or could not be attested",
    Exit.BUDGET: "a budget or the wall clock ran out",
    Exit.LEDGER: "the ledger cannot be written, or does not verify",
    Exit.MODEL: "no model backend answered",
    Exit.INTERRUPTED: "interrupted; the session can be resumed",
}


def exit_code(error: BaseException) -> Exit | None:
    """Return the code for an error, None for one that nobody foresaw. The first row that fits decides."""
    from agent_runner import errors as runner
    from audit import errors as audit
    from policies import errors as policies
    from sandbox import errors as sandbox
    from sandbox.stage.errors import CannotHideError
    from sandbox.workspace import WorkspaceError

    rows: tuple[tuple[type[Exception], Exit], ...] = (
        (policies.ForbiddenGrantError, Exit.DENIED),
        (policies.CeilingError, Exit.DENIED),
        (policies.UntrustedPolicyError, Exit.DENIED),
        (policies.PolicyError, Exit.USAGE),
        (WorkspaceError, Exit.USAGE),
        (CannotHideError, Exit.DENIED),
        (sandbox.SandboxError, Exit.SANDBOX),
        (runner.RefusedError, Exit.DENIED),
        (runner.InvalidInputError, Exit.USAGE),
        (runner.BackendError, Exit.MODEL),
        (runner.RunnerError, Exit.FAILED),
        (audit.LedgerError, Exit.LEDGER),
        (audit.BrokenLedgerError, Exit.LEDGER),
        (audit.BadEventError, Exit.LEDGER),
        (audit.StateFolderError, Exit.LEDGER),
        (audit.AuditError, Exit.USAGE),
        (OSError, Exit.FAILED),
    )
    if _is_short(error):
        return Exit.FAILED
    return next((code for kind, code in rows if isinstance(error, kind)), None)


def _is_short(error: BaseException) -> bool:
    """Say whether this machine gave no memory or no thread, which the interpreter tells in words alone."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    )


def explain(error: BaseException) -> str:
    """Return what a person is told: the message, what somebody else wrote, if any, and the hint.

    Only our own words begin a line at the margin: what else the message has in further lines is set in.
    """
    from audit.escape import escape

    lines: list[str] = []
    for message, hint in _told(error):
        lines += [*_set_in(message), *(_set_in(f"hint: {hint}") if hint else ())]
    return "\n".join(escape(line) for line in lines)


def explained(error: BaseException) -> tuple[int, str]:
    """Return an error's exit code and its words; a fault of our own is named as one."""
    code = exit_code(error)
    if code is not None:
        return code, explain(error)
    return Exit.FAILED, f"a fault of pairlock's own: {type(error).__name__}: {explain(error)}"


def _told(error: BaseException) -> list[tuple[str, str]]:
    """Return messages, each with its hint, which the text of some errors holds already."""
    from policies.errors import PolicyError

    if _is_short(error):
        what = "memory" if isinstance(error, MemoryError) else "threads"
        mend = "raise the limit on memory and processes here; a session that had begun can be resumed"
        return [(f"this machine gives no more {what}", mend)]
    if problems := getattr(error, "problems", ()):
        return [(f"{problem.at}: {problem.message}", problem.hint) for problem in problems]
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, str | bytes) and error.filename
        where = f"{os.fsdecode(error.filename)}: " if named else ""
        return [(f"{where}{error.strerror.lower()}", "")]
    message = str(getattr(error, "message", "") or error)
    if isinstance(error, PolicyError) and not hasattr(error, "hint"):
        told, _, hint = message.rpartition("; hint: ")  # the last thing that such an error says
        return [(told, hint) if told else (message, "")]
    hint = str(getattr(error, "hint", ""))
    detail = "".join(f"\n  {line}" for line in str(getattr(error, "detail", "")).splitlines())
    return [(message.removesuffix(f"; hint: {hint}") + detail, hint)]


def _set_in(text: str) -> list[str]:
    first, *more = text.splitlines() or [""]
    return [first, *(line if line.startswith(" ") else f"  {line}" for line in more)]


def leave(error: BaseException) -> int:
    """Print an error to stderr and return the exit code; a fault of our own is named as one.

    Where nobody reads stderr, the code is still the error's. A message may quote a file that somebody else
    wrote: no line of it is a command to a CI's runner.
    """
    from agent_runner.ci.annotations import plain_line
    from agent_runner.cli.talk import say

    code = exit_code(error)
    told = "\n".join(map(plain_line, explain(error).split("\n")))
    if code is not None:
        say(f"pairlock: {told}")
        return code
    if os.environ.get("PAIRLOCK_TRACEBACK"):
        say("".join(traceback.format_exception(error)).rstrip("\n"))
    kind = type(error).__name__
    say(f"pairlock: a fault of pairlock's own: {kind}: {told}")
    say("hint: set PAIRLOCK_TRACEBACK=1 to see where, and please report it")
    return Exit.FAILED
