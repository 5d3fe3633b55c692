"""Say how a session's end is told: its status, its reason, and the entry of a limit that was hit. Pure."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.errors import BackendError, RefusedError, RunnerError
from agent_runner.pulse import RunnerStoppedError
from agent_runner.request import EXIT_CODES
from agent_runner.watch import StageExceededError
from audit import event
from audit.errors import LedgerError
from sandbox.errors import SandboxError
from sandbox.stage.errors import CannotHideError

if TYPE_CHECKING:
    from agent_runner.loop import LoopEnd
    from agent_runner.request import Status
    from audit.fields import Totals

FORESEEN: Final = (LedgerError, BackendError, SandboxError, RunnerError, OSError, asyncio.CancelledError)
"""What ends a session in order; anything else is a fault of our own."""

_STATUS_OF_END: Final[dict[str, Status]] = {
    "done": "done",
    "unfinished": "done",
    "failed": "failed",
    "stuck": "failed",
    "budget": "budget",
}

# The first row that fits decides.
_STATUS_OF_ERROR: Final[tuple[tuple[type[BaseException], Status], ...]] = (
    (LedgerError, "ledger_failed"),
    (BackendError, "model_failed"),
    (CannotHideError, "denied"),
    (SandboxError, "sandbox_failed"),
    (StageExceededError, "budget"),
    (RunnerStoppedError, "interrupted"),
    (RefusedError, "denied"),
    (asyncio.CancelledError, "interrupted"),
)


def status_of_end(end: LoopEnd) -> Status:
    """Return the status of a session whose loop ended by itself."""
    return _STATUS_OF_END[end.status]


def status_of_error(error: BaseException, *, housed: bool = True) -> Status:
    """Return the status of a session that something ended.

    Args:
        error: What did.
        housed: Whether it had its sandbox; what this machine fails at before is the sandbox's, a full disk
            where the stage is made.
    """
    otherwise: Status = "sandbox_failed" if isinstance(error, OSError) and not housed else "failed"
    return next((status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind)), otherwise)


def reason_of(error: BaseException | None) -> str:
    """Return one line that says what ended a session."""
    if isinstance(error, asyncio.CancelledError):
        return "interrupted"
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if isinstance(error.filename, str | bytes) else ""  # it may be a descriptor
        return ": ".join(filter(None, (os.fsdecode(name), error.strerror.lower())))
    return str(getattr(error, "message", "") or error) or type(error).__name__


def limit_hit(error: StageExceededError) -> event.LimitHit:
    """Return the entry of a stage that passed a bound."""
    exceeded = error.exceeded
    unit = "bytes" if exceeded.limit.endswith("bytes") else "files"
    return event.LimitHit(
        limit=f"stage.{exceeded.limit}", bound=exceeded.allowed, observed=exceeded.found, unit=unit
    )


def closed(status: Status, reason: str, totals: Totals, *, unfinished: bool) -> event.SessionClosed:
    """Return a session's last entry.

    Args:
        status: How it ended.
        reason: Why, in a line.
        totals: What it came to.
        unfinished: Whether the model stopped without saying that it was done, or this machine failed.
    """
    return event.SessionClosed(
        status=status,
        exit_code=EXIT_CODES[status],
        reason=reason[:2000],
        unfinished=unfinished,
        totals=totals,
    )


def while_down(end: LoopEnd, down_seconds: float) -> LoopEnd:
    """Tell of a session that ran out of its time while its model's server was down that this was why.

    Args:
        end: How the loop ended.
        down_seconds: For how long the server had been asked in vain; 0 when it was there.
    """
    if end.status != "budget" or not down_seconds:
        return end
    return replace(end, reason=f"{end.reason}; the model's server had been down for {down_seconds:.0f} s")


def for_want_of_egress(end: LoopEnd, spent: event.LimitHit | None) -> LoopEnd:
    """Tell a task that failed once the gate was spent as a budget that ran out, to which can be added."""
    if end.status != "failed" or spent is None:
        return end
    name = spent.limit.removeprefix("egress.").replace("_", " ")
    ran_out = f"the budget of egress ran out: {name}, {spent.observed} of {spent.bound} {spent.unit}"
    return replace(end, status="budget", reason=f"{ran_out}; the model said: {end.reason}")
