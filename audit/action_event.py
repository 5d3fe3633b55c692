"""What is told of an action, from the proposal to its outcome, with the programs and approvals between."""

from typing import Literal

from audit.fields import Commitment, Count, Digest, Event, FileUse, Reason, Text, Values


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
    parent: str = ""
    """The action whose program asked, as far as that is known; empty where no program did."""


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


class ProcessStarted(Event):
    """A program is about to be started in the container; `action.finished` says what came of it.

    Of one that goes on in the background it says that it was started, and `process.ended` what came of it.
    """

    kind = "process.started"
    action: str
    argv: tuple[Text, ...]
    folder: Text


class ProcessEnded(Event):
    """A program in the background has ended, or its session ended it."""

    kind = "process.ended"
    action: str
    """The action that started it."""
    outcome: Literal["ok", "failed", "timed_out", "cancelled", "sandbox_failed"]
    """`cancelled`: it was stopped by `run stop`, by whoever had started it, or with its session."""
    exit_code: int | None
    """Of the program; None when it was stopped, was lost, or never ran."""
    duration_ms: Count
    output_bytes: Count
    """What it said until then; the ledger holds what `run output` showed of it."""
    truncated_bytes: Count = 0
    """Output that it made and nobody took."""
    detail: Text = ""
    """Why, where the outcome alone does not say it."""


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
