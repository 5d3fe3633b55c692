"""Write what the model is shown of an action: bounded, neutralised, and saying what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cli_tools.neutral import neutralise, whole

if TYPE_CHECKING:
    from cli_tools.command import Outcome
    from cli_tools.errors import ActionError
    from policies.request import Denied, NeedsApproval, Reason
    from sandbox.errors import OperationError

TEXT_LIMIT_CHARACTERS: Final = 48_000
HEAD_CHARACTERS: Final = 32_000
TAIL_CHARACTERS: Final = TEXT_LIMIT_CHARACTERS - HEAD_CHARACTERS
_LOOKED_AT_BYTES: Final = 8192

Kind = Literal["done", "error", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What came of one proposal."""

    kind: Kind
    text: str
    """What the model is shown."""
    action: str = ""
    """`<session>/<n>`."""
    command: str = ""
    """The declared command's name; empty when the proposal meant none."""
    reasons: tuple[Reason, ...] = ()
    whole: str = ""
    """What the text was cut from; empty when it is all there."""
    exit_code: int | None = None
    ends_session: Literal["", "done", "failed"] = ""


def of_outcome(outcome: Outcome, *, action: str, command: str, pages: bool = False) -> Observation:
    """Return what the model is shown of an action that was carried out.

    Args:
        outcome: What came of it.
        action: Its number.
        command: The declared command's name.
        pages: Whether `output last` may be used for what does not fit.
    """
    complete = _whole(outcome)
    notes = []
    if outcome.timed_out:
        notes.append("note: ended because its time was over")
    if outcome.truncated_bytes:
        notes.append(f"note: {outcome.truncated_bytes} bytes of output were dropped")
    if outcome.note:
        notes.append(f"note: {outcome.note}")
    if outcome.exit_code:
        notes.append(f"exit code {outcome.exit_code}")
    shown = _cut(complete, pages=pages)
    return Observation(
        kind="done",
        text="\n".join(part for part in (shown, *notes) if part) or "(no output)",
        whole=complete if shown != complete else "",
        action=action,
        command=command,
        exit_code=outcome.exit_code,
        ends_session=outcome.ends_session,
    )


def of_error(error: ActionError | OperationError, *, action: str, command: str = "") -> Observation:
    """Return what the model is shown of a proposal that meant nothing, or of an action that failed."""
    hint = f"\nhint: {neutralise(error.hint)}" if error.hint else ""
    text = f"error ({error.code}): {neutralise(error.message)}{hint}"
    return Observation(kind="error", text=text, action=action, command=command)


def of_denial(decision: Denied | NeedsApproval, *, action: str, command: str) -> Observation:
    """Return what the model is shown of an action that was not allowed: every reason and its mend."""
    lines = [_reason_line(reason) for reason in decision.reasons]
    return Observation(
        kind="denied", text="\n".join(lines), action=action, command=command, reasons=decision.reasons
    )


def _reason_line(reason: Reason) -> str:
    hint = f"\nhint: {neutralise(reason.hint)}" if reason.hint else ""
    return f"denied ({reason.code}): {neutralise(reason.message)}{hint}"


def _whole(outcome: Outcome) -> str:
    parts = [outcome.text, _content(outcome.output)]
    if outcome.errors:
        parts.append("stderr:\n" + _content(outcome.errors))
    return "\n".join(part.rstrip("\n") for part in parts if part)


def _content(output: bytes) -> str:
    """Return output as text; what is not text is described."""
    if b"\0" in output[:_LOOKED_AT_BYTES]:
        return f"({len(output)} bytes that are not text)"
    return neutralise(output)


def _cut(text: str, *, pages: bool) -> str:
    """Keep the head and the tail of a text that is too long, and say how much is missing."""
    if len(text) <= TEXT_LIMIT_CHARACTERS:
        return text
    head = whole(text, HEAD_CHARACTERS)
    tail = whole(text, len(text) - TAIL_CHARACTERS)
    more = f"; `output last --from {head}` shows them" if pages else ""
    return f"{text[:head]}\n[{tail - head} characters left out{more}]\n{text[tail:]}"
