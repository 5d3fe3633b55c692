"""Say what a session had come to when its runner left it. `fold` reads it out of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from agent_runner.errors import InvalidInputError
from agent_runner.repeating import Repeating
from agent_runner.used import Used

if TYPE_CHECKING:
    from collections import Counter

    from agent_runner.backends.backend import Call, Message
    from agent_runner.budget_limits import BudgetLimits
    from agent_runner.traffic import Traffic
    from audit import event
    from audit.fields import Totals


def memory_ended(session: str) -> InvalidInputError:
    """Return the error for a session that ran a command, to which nobody can go back."""
    return InvalidInputError(
        f"session `{session}` ran a command, whose own memory ended with it",
        hint=f"`pairlock diff {session}` shows what it changed; `pairlock exec` starts it again",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A call of the last reply that went to the gate, and of which the model was not told."""

    action: str
    """`<session>/<n>`."""
    text: str
    """What the model would have been told; empty when nobody knows what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a session has come to."""

    opened: event.SessionOpened
    closed: event.SessionClosed | None
    """The last recorded end; None when the last runner recorded none."""
    task: str
    messages: tuple[Message, ...]
    calls: tuple[Call, ...]
    """Those of the last reply of which the model was not told what came of them, in order."""
    unsettled: Unsettled | None
    """How far the first of `calls` has come; None when it never reached the gate."""
    after_unknown: bool
    """Whether the last reply holds a call of which nobody knows what came of it."""
    finished: tuple[Literal["done", "failed"], str] | None
    """How the model ended it, and its summary; None when it did not."""
    used: Used
    added: BudgetLimits
    """What people added to its budget."""
    totals: Totals
    traffic: Traffic
    """What went through its egress gates, which counts in their budgets."""
    allowed: Counter[str]
    """Command -> how often it was allowed; below it too, once their ledgers were read."""
    entries: int
    """Length of the log."""
    children: tuple[str, ...] = ()
    """Sessions that were started below it."""
    background: tuple[str, ...] = ()
    """Actions whose programs were left in the background, and of whose end nobody wrote."""
    below: Used = field(default_factory=Used)
    """What those used; their own ledgers say it."""
    repeating: Repeating = field(default_factory=Repeating)
    """How often its model made the same calls in a row."""
    same_model: bool = True
    """Whether it goes on with the model that it was started with, by name; no ledger has that name."""
    staged: bool = False
    """Whether an earlier runner made it a stage, to write in."""
    copy_lost: bool = False
    """Whether the workspace travelled as a copy that never came back; no ledger says it, the stage does."""
    stage_lost: bool = False
    """Whether its stage is gone, and with it what the agent changed; likewise."""
