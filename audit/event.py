"""The closed, versioned set of what a session's log may hold; the host's log has ``host_event``.

Every type names its schema by `kind` and `version`. A schema is never changed: a new one gets a new version,
and the reader keeps the old.
"""

from typing import Literal

from audit.fields import (
    Commitment,
    Count,
    Digest,
    Event,
    Evidence,
    FileUse,
    Reason,
    Text,
    ToolCall,
    Totals,
    Values,
)

__all__ = [
    "SESSION_EVENTS",
    "ActionFinished",
    "ActionIntended",
    "ActionOutput",
    "ApprovalAnswered",
    "ApprovalRequested",
    "EgressClosed",
    "EgressOpened",
    "EgressRequested",
    "LabelChanged",
    "LimitHit",
    "LogOpened",
    "LogSealed",
    "MessageAdded",
    "ModelAnswered",
    "ModelAsked",
    "ModelFailed",
    "ProcessStarted",
    "SafetyNoted",
    "SandboxAttested",
    "SandboxClosed",
    "SandboxCreated",
    "SessionClosed",
    "SessionOpened",
    "SessionPaused",
    "SessionRecovered",
    "SessionUnpaused",
    "StageApplied",
    "StageDiscarded",
]


class LogOpened(Event):
    """The first line, written by the journal itself."""

    kind = "log.opened"
    session: str
    epoch: Count
    """Which of the session's keys seals from here on; the first is 1."""
    vkey: str
    """That key's public half, in the signed-note form."""
    writer: str
    """The version of pairlock that writes."""
    reserve_bytes: Count
    """Room held for the closing lines; 0 where the filesystem cannot hold any."""


class LogSealed(Event):
    """A signature of the session's key over everything before this line, written by the journal itself."""

    kind = "log.sealed"
    epoch: Count
    note: str
    """A signed checkpoint: origin, size, root and `head <leaf>`."""


class SessionRecovered(Event):
    """The writer died and another has taken over, written by the journal itself."""

    kind = "session.recovered"
    session: str
    epoch: Count
    vkey: str
    writer: str
    unsealed_from: Count
    """The first entry that no seal covered then: what lies between it and this line is self-claimed."""
    dropped_bytes: Count
    """Bytes of a torn last line that were cut off; 0 when it was whole."""
    dropped_sha256: Digest
    """Of those bytes."""


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


class SandboxCreated(Event):
    """A container was made."""

    kind = "sandbox.created"
    runtime: str
    engine_version: str
    image_digest: Text
    container: str
    """The engine's id of the container."""
    spec_digest: Digest
    stage_strategy: str
    """`overlay`, `copy`, `direct`, `read` or `none`."""
    stage_reason: Text
    """Why this strategy and no other."""
    volume: Text | None = None
    """The stage's volume, when it has one."""
    quota: Text = ""
    """What bounds the stage's size, and its overshoot."""
    image_name: Text = ""
    """What the policy calls the image; empty for the empty image."""
    image_repository_digest: Text = ""
    """`name@sha256:…` under which a registry knows the image; empty for one that was made here."""


class SandboxAttested(Event):
    """What the sandbox was found to be, before the agent's first action."""

    kind = "sandbox.attested"
    verdict: Literal["as granted", "differs"]
    evidence: tuple[Evidence, ...]


class SandboxClosed(Event):
    """The container is gone."""

    kind = "sandbox.closed"
    why: Text


class SafetyNoted(Event):
    """Something that widens the sandbox is in force, because the policy says so."""

    kind = "safety.noted"
    code: str
    message: Text


class SessionPaused(Event):
    """The container was frozen."""

    kind = "session.paused"
    why: Text


class SessionUnpaused(Event):
    """The container runs again."""

    kind = "session.unpaused"
    why: Text


class ActionIntended(Event):
    """What the agent asked for, and the verdict: durable before anything is done."""

    kind = "action.intended"
    action: str
    """`<session>/<n>`."""
    argv: tuple[Text, ...]
    """The whole command line."""
    command: Text
    """The command's name, for example `files read`."""
    arguments: Values
    verdict: Literal["allowed", "denied", "needs_approval"]
    reasons: tuple[Reason, ...] = ()
    turn: Count = 0
    """The model's turn; 0 where no model asked."""
    call: Text = ""
    """The model's id of the call; empty where no model asked."""
    via: str = "model"
    """Who asked: `model`, `guest` (a stub inside the container), `person`, `mcp` or `check`."""


class ProcessStarted(Event):
    """A program was started in the container."""

    kind = "process.started"
    action: str
    argv: tuple[Text, ...]
    folder: Text


class ActionOutput(Event):
    """A piece of an action's output, as it came."""

    kind = "action.output"
    action: str
    stream: Literal["stdout", "stderr"]
    content: Commitment


class ActionFinished(Event):
    """What came of an action: durable before the model sees it."""

    kind = "action.finished"
    action: str
    outcome: Literal["ok", "failed", "denied", "timed_out", "cancelled", "sandbox_failed", "unknown"]
    exit_code: int | None
    """Of the program or the command; None when it has none."""
    duration_ms: Count
    output_bytes: Count
    truncated_bytes: Count = 0
    """Output that was produced and not kept."""
    files: tuple[FileUse, ...] = ()
    body: Commitment | None = None
    """What the model is shown."""
    detail: Text = ""
    """Why, where the outcome alone does not say it."""


class MessageAdded(Event):
    """A message that entered the conversation and is neither a model's answer nor an action's outcome."""

    kind = "message.added"
    role: Literal["system", "user", "tool"]
    content: Commitment
    call: Text = ""
    """The model's id of the call that it answers; empty where it answers none."""


class ModelAsked(Event):
    """A request to a model."""

    kind = "model.asked"
    turn: Count
    backend: Text
    model: Text
    messages: Commitment
    message_count: Count
    attempt: Count = 1
    """Counted from 1."""


class ModelAnswered(Event):
    """An answer of a model."""

    kind = "model.answered"
    turn: Count
    backend: Text
    model: Text
    text: Commitment | None
    tool_calls: tuple[ToolCall, ...]
    input_tokens: Count
    """Cached ones included."""
    output_tokens: Count
    cached_tokens: Count
    """By the server's own count; 0 when it does not say."""
    duration_ms: Count
    first_token_ms: Count | None = None
    stop: Text = ""
    """Why the model stopped, in the backend's word."""
    cost_micros: Count = 0
    """Millionths of a US dollar."""
    raw: Commitment | None = None
    """What else the backend must be given back for the next turn."""


class ModelFailed(Event):
    """A request that brought no answer."""

    kind = "model.failed"
    turn: Count
    backend: Text
    model: Text
    error: Text
    attempt: Count
    duration_ms: Count
    will_retry: bool


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


class ApprovalRequested(Event):
    """A person is asked."""

    kind = "approval.requested"
    action: str
    digest: Digest
    """Of what would be done; the answer must name the same."""
    reasons: tuple[Reason, ...]


class ApprovalAnswered(Event):
    """A person has answered, or the time was up."""

    kind = "approval.answered"
    action: str
    digest: Digest
    answer: Literal["approved", "denied", "timed_out"]
    by: Text
    """Who, as far as is known."""
    via: str
    """`terminal`, `socket`, `webhook` or `clock`."""
    waited_ms: Count


class EgressOpened(Event):
    """A connection was asked for."""

    kind = "egress.opened"
    connection: str
    """`<session>/c<n>`."""
    host: Text
    port: Count
    scheme: str
    """`https`, `http`, `tls`, `socks` ..."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    address: Text = ""
    """The pinned address; empty when nothing was resolved."""
    action: str = ""
    """The action it belongs to; empty where that is not known."""


class EgressRequested(Event):
    """A request on a connection whose requests are seen."""

    kind = "egress.requested"
    connection: str
    method: Text
    path: Text
    """Without its query, which is never recorded."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    status: Count = 0
    """The answer's status; 0 when there was none."""


class EgressClosed(Event):
    """A connection has ended."""

    kind = "egress.closed"
    connection: str
    sent_bytes: Count
    received_bytes: Count
    requests: Count
    duration_ms: Count
    why: Text


class StageApplied(Event):
    """Changes of the stage were written to the workspace."""

    kind = "stage.applied"
    session: str
    workspace: Text
    applied: tuple[Text, ...]
    """Paths that were written."""
    refused: tuple[Text, ...]
    """Paths that were not."""
    by: Text
    whole: bool
    """Whether nothing of the stage is left."""


class StageDiscarded(Event):
    """The stage was thrown away."""

    kind = "stage.discarded"
    session: str
    workspace: Text
    by: Text
    why: Text


class LabelChanged(Event):
    """A workspace's label was set, widened or taken off."""

    kind = "label.changed"
    workspace: Text
    identity: str
    """The workspace as the host knows it."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    sessions: tuple[str, ...]
    """The sessions that made the label."""
    why: Text


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
    """Whether the model stopped without saying that it was done."""
    totals: Totals


SESSION_EVENTS: tuple[type[Event], ...] = (
    LogOpened,
    LogSealed,
    SessionRecovered,
    SessionOpened,
    SandboxCreated,
    SandboxAttested,
    SandboxClosed,
    SafetyNoted,
    SessionPaused,
    SessionUnpaused,
    ActionIntended,
    ProcessStarted,
    ActionOutput,
    ActionFinished,
    MessageAdded,
    ModelAsked,
    ModelAnswered,
    ModelFailed,
    LimitHit,
    ApprovalRequested,
    ApprovalAnswered,
    EgressOpened,
    EgressRequested,
    EgressClosed,
    StageApplied,
    StageDiscarded,
    LabelChanged,
    SessionClosed,
)
"""Every type that a session's log may hold, in all its versions."""
