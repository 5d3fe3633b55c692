"""Gather what there is to know of one session, running or over, from its ledger and its folder."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.listing import status_of
from agent_runner.outputs import output_names
from agent_runner.review import read_policy
from agent_runner.spending import Spending
from agent_runner.waiting import changes_waiting
from audit import event
from audit.lock import is_held
from audit.openings import Gone
from audit.reader import SessionReader
from audit.summary import spelled_argv

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.budget_state import BudgetExceeded
    from audit.fields import Event
    from audit.state import SessionFiles

LAST_ACTIONS: Final = 10


@dataclass
class Shown:
    """What there is to know of one session; nothing in it is escaped."""

    session: str
    status: str
    reason: str = ""
    task: str = ""
    """Empty where it was withheld, or is not written yet."""
    opened: event.SessionOpened | None = None
    policy: str = ""
    turns: int = 0
    actions: int = 0
    denials: int = 0
    last_actions: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=LAST_ACTIONS))
    """Number, verdict, command line."""
    budgets: list[BudgetExceeded] = field(default_factory=list)
    sent_bytes: int = 0
    received_bytes: int = 0
    children: list[tuple[str, str]] = field(default_factory=list)
    """Sessions that were started below it, each with its status."""
    changes: int = 0
    has_outputs: bool = False
    waits_for: str = ""
    """What a running session waits for that does not come from itself: its model's server, or a person."""
    ledger: str = ""

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON-ready mapping."""
        opened = self.opened
        return {
            "session": self.session,
            "status": self.status,
            "reason": self.reason,
            "task": self.task,
            "grant": opened.grant if opened else None,
            "policy": self.policy,
            "policy_origin": opened.policy_origin if opened else None,
            "workspace": opened.workspace if opened else None,
            "model": opened.model if opened else None,
            "parent": opened.parent if opened else None,
            "turns": self.turns,
            "actions": self.actions,
            "denials": self.denials,
            "budgets": [
                {"name": each.name, "used": each.observed, "bound": each.bound, "unit": each.unit}
                for each in self.budgets
            ],
            "sent_bytes": self.sent_bytes,
            "received_bytes": self.received_bytes,
            "children": [{"session": child, "status": status} for child, status in self.children],
            "changes": self.changes,
            "outputs_kept": self.has_outputs,
            "waits_for": self.waits_for,
            "ledger": self.ledger,
        }


def shown(files: SessionFiles, state: Path) -> Shown:
    """Return what there is to know, every entry verified on the way.

    Raises:
        audit.errors.AuditError: When the ledger does not hold.
    """
    session = files.folder.name
    is_running = is_held(files.lock)  # asked first: what follows is its last
    found = Shown(session=session, status="interrupted", ledger=str(files.events))
    reader = SessionReader(state, session)
    spending = Spending(reader, state)
    for entry, happened in reader.events():
        spending.take(entry, happened)
        _take(found, happened)
        if not isinstance(happened, event.LogSealed):
            found.status = happened.status if isinstance(happened, event.SessionClosed) else "interrupted"
    if is_running:
        found.status = "running"
    else:
        found.waits_for = ""
    found.sent_bytes, found.received_bytes = spending.traffic.sent_bytes, spending.traffic.received_bytes
    if found.opened is not None:
        task = reader.value(found.opened.task)
        found.task = "" if isinstance(task, Gone) else task.decode("utf-8", "replace")
        found.policy = read_policy(files.folder).name
        found.budgets = spending.states()
    found.children = [(child, status_of(state, child)) for child, _ in found.children]
    found.changes = changes_waiting(state, session)
    found.has_outputs = bool(output_names(files))
    return found


def _take(found: Shown, happened: Event) -> None:
    match happened:
        case event.SessionOpened():
            found.opened = happened
        case event.ModelAnswered():
            found.turns += 1
            found.waits_for = ""
        case event.ModelFailed(error=error, will_retry=again):
            found.waits_for = f"its model's server: {error}" if again else ""
        case event.ApprovalRequested(action=action):
            found.waits_for = f"an answer about {action}"
        case event.ApprovalAnswered():
            found.waits_for = ""
        case event.ActionIntended():
            found.actions += 1
            found.denials += happened.verdict == "denied"
            found.last_actions.append((happened.action, happened.verdict, spelled_argv(happened.argv)))
        case event.SessionDelegated(child=child):
            found.children.append((child, ""))
        case event.SessionClosed(reason=reason):
            found.reason = reason
        case event.SessionRecovered():
            found.reason = found.waits_for = ""
        case _:
            pass
