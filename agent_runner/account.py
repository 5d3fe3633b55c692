"""Write a session's account: what it came to, what it used, where its ledger is and whether it verifies."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import TYPE_CHECKING

from agent_runner.counted import counted
from agent_runner.resumable import goes_on
from agent_runner.waiting import changes_waiting
from audit.escape import escape_line
from audit.verify import verify_session

if TYPE_CHECKING:
    from agent_runner.session import SessionResult
    from audit.fields import Totals


def account_lines(result: SessionResult) -> list[str]:
    """Return the account for a person, a line each, within 80 columns but for paths."""
    totals = result.totals
    changes = changes_line(result)
    model, sandbox, ledger = map(_seconds, (totals.model_ms, totals.sandbox_ms, totals.ledger_ms))
    start = f"start {result.start_seconds:.2f} s"
    return [
        *wrap(f"session  {_ended(result)}", width=80, subsequent_indent=" " * 9),
        f"         {_acted(totals)}",
        f"time     model {model}, sandbox {sandbox} ({start}), ledger {ledger}",
        *([f"changes  {changes}"] if changes else []),
        *_going_on(result),
        f"ledger   {result.ledger}",
        f"         {_verdict(result)}",
    ]


def account_json(result: SessionResult) -> str:
    """Return the account as one JSON object."""
    return json.dumps(
        {
            "type": "account",
            "session": result.session,
            "status": result.status,
            "exit_code": result.exit_code,
            "reason": result.reason,
            "unfinished": result.unfinished,
            "start_seconds": round(result.start_seconds, 4),
            "totals": result.totals.model_dump(),
            "ledger": str(result.ledger),
            "verification": _verdict(result),
            "changes": _count(result),
        }
    )


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.2f} s"


def _verdict(result: SessionResult) -> str:
    state = result.ledger.parent.parent.parent
    found = verify_session(state, result.session)
    faults = found.faults()
    if faults:
        return "DOES NOT VERIFY: " + "; ".join(f"{name} {words}" for name, words in faults.items())
    return f"verifies: {found.integrity}, {found.completeness}"


def _count(result: SessionResult) -> int:
    state = result.ledger.parent.parent.parent
    return changes_waiting(state, result.session) if result.plan is not None else 0


def _ended(result: SessionResult) -> str:
    unfinished = " (unfinished)" if result.unfinished else ""
    reason = escape_line(result.reason, width=120)
    told = f": {reason}" if reason != result.status else ""
    return f"{result.session}  {result.status}{unfinished}{told}"


def _going_on(result: SessionResult) -> list[str]:
    """Return how a session that did not come to its end goes on, a line at most."""
    passed_its_bound = result.status == "budget" and result.error is not None
    if passed_its_bound or not goes_on(result.status, unfinished=result.unfinished):
        return []
    more = " --add-budget …" if result.status == "budget" else ""
    return [f"resume   `pairlock resume {result.session}{more}` goes on"]


def _acted(totals: Totals) -> str:
    turns, actions = counted(totals.turns, "turn"), counted(totals.actions, "action")
    return f"{turns}, {actions}, {counted(totals.denials, 'denial')}"


def changes_line(result: SessionResult) -> str:
    """Return how many changes wait for a person, and for which commands; empty for none.

    What the workspace held when the session started is learnt with it, while its files can still tell.
    """
    count = _count(result)
    if not count:
        return ""
    return f"{counted(count, 'change')} to review: `pairlock diff {result.session}`, `apply` or `discard`"
