"""The closed, versioned set of what a session's log may hold; the host's log has ``host_event``.

Every type names its schema by `kind` and `version`. A schema is never changed: a new one gets a new version,
and the reader keeps the old.
"""

from audit.action_event import (
    ActionFinished,
    ActionIntended,
    ActionOutput,
    ApprovalAnswered,
    ApprovalRequested,
    ProcessEnded,
    ProcessStarted,
)
from audit.egress_event import EgressClosed, EgressOpened, EgressRequested
from audit.fields import Event
from audit.log_event import LogOpened, LogSealed, SessionRecovered
from audit.model_event import MessageAdded, ModelAnswered, ModelAsked, ModelFailed
from audit.sandbox_event import SandboxAttested, SandboxClosed, SandboxCreated
from audit.session_event import (
    LimitHit,
    SafetyNoted,
    SessionClosed,
    SessionDelegated,
    SessionOpened,
    TranscriptCompacted,
)
from audit.stage_event import LabelChanged, StageApplied, StageDiscarded

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
    "ProcessEnded",
    "ProcessStarted",
    "SafetyNoted",
    "SandboxAttested",
    "SandboxClosed",
    "SandboxCreated",
    "SessionClosed",
    "SessionDelegated",
    "SessionOpened",
    "SessionRecovered",
    "StageApplied",
    "StageDiscarded",
    "TranscriptCompacted",
]

SESSION_EVENTS: tuple[type[Event], ...] = (
    LogOpened,
    LogSealed,
    SessionRecovered,
    SessionOpened,
    SandboxCreated,
    SandboxAttested,
    SandboxClosed,
    SafetyNoted,
    ActionIntended,
    ProcessStarted,
    ProcessEnded,
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
    SessionDelegated,
    TranscriptCompacted,
    SessionClosed,
)
"""Every type that a session's log may hold, in all its versions."""
