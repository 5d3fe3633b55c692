"""What is told of a session as a whole: what it was started with, how it was held, how it ended."""

from typing import Literal

from audit.fields import Commitment, Count, Digest, Event, Text, Totals


class SessionOpened(Event):
    """What the session was started with."""

    kind = "session.opened"
    session: str
    task: Commitment
    """The text of the task."""
    task_is_origin: bool
    """Whether sinks may be taken from the task's text."""
    grant: str
    """The grant's label, for example `files+exec`."""
    policy_origin: Text
    policy_digest: Digest
    """Of the resolved policy."""
    workspace: Text | None
    """The folder on the host; None in a session without files."""
    model: Text
    backend: Text
    pairlock_version: str
    headless: bool
    """Whether nobody can be asked."""
    parent: str | None = None
    """The session that delegated to this one."""


class SessionDelegated(Event):
    """A session is about to be started below this one; its own log names this one as its parent."""

    kind = "session.delegated"
    action: str
    """The action that delegates."""
    child: str
    """The new session."""
    grant: str
    """The grant's label, within this session's own."""
    policy_digest: Digest
    """Of the policy that it runs under."""


class TranscriptCompacted(Event):
    """The beginning of the conversation was shortened: the model is told less of it from here on."""

    kind = "transcript.compacted"
    turn: Count
    """The turn before."""
    kept_turns: Count
    """The last turns, which stand whole."""
    most_characters: Count
    """How long it may be afterwards; what is left out follows from this and the entries before."""
    characters_before: Count
    characters_after: Count


class SafetyNoted(Event):
    """Something that widens the sandbox is in force, because the policy says so."""

    kind = "safety.noted"
    code: str
    message: Text


class LimitHit(Event):
    """A bound was reached."""

    kind = "limit.hit"
    limit: str
    """Its name, for example `budget.turns`."""
    bound: Count
    observed: Count
    unit: str
    """`turns`, `tokens`, `bytes`, `ms`, `processes` ..."""
    action: str = ""
    """The action that reached it; empty where none did."""


class SessionClosed(Event):
    """The session's end and its account."""

    kind = "session.closed"
    status: Literal[
        "done",
        "failed",
        "denied",
        "sandbox_failed",
        "budget",
        "ledger_failed",
        "model_failed",
        "interrupted",
        "usage",
    ]
    exit_code: Count
    reason: Text
    unfinished: bool
    """Whether the model stopped without saying that it was done, or this machine failed."""
    totals: Totals
