"""Say in the ledger's words how a program in the background ended; nothing is written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from audit.event import ProcessEnded
from sandbox.errors import OperationFailedError

if TYPE_CHECKING:
    from cli_tools.run.jobs import Job

Outcome = Literal["ok", "failed", "timed_out", "cancelled", "sandbox_failed"]


def end_of(job: Job) -> ProcessEnded:
    """Return the entry of a job that has ended, or whose session has."""
    result = job.result
    outcome, detail = _outcome(job)
    return ProcessEnded(
        action=job.action,
        outcome=outcome,
        exit_code=None if result is None else result.exit_code,
        duration_ms=int(job.seconds * 1000),
        output_bytes=job.total_bytes,
        truncated_bytes=0 if result is None else result.truncated_bytes,
        detail=detail,
    )


def _outcome(job: Job) -> tuple[Outcome, str]:
    if job.is_running:
        return "cancelled", "it was told to end, and had not when its session did"
    if job.result is not None:
        if job.result.timed_out:
            return "timed_out", job.result.note
        return "failed" if job.result.exit_code else "ok", job.result.note
    if job.was_stopped:
        return "cancelled", "it was stopped"
    if isinstance(job.error, OperationFailedError):
        return "failed", f"{job.error.code}: {job.error.reason}"
    return "sandbox_failed", job.error.message if job.error is not None else "the session ended"
