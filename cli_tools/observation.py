"""Write what the model is shown of an action: bounded, decoded, and saying what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cli_tools.command import Outcome
    from cli_tools.errors import ActionError
    from policies.request import Denied, NeedsApproval, Reason
    from sandbox.errors import OperationError

TEXT_LIMIT_CHARACTERS: Final = 48_000
HEAD_CHARACTERS: Final = 32_000
TAIL_CHARACTERS: Final = TEXT_LIMIT_CHARACTERS - HEAD_CHARACTERS

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
    exit_code: int | None = None
    ends_session: Literal["", "done", "failed"] = ""


def of_outcome(outcome: Outcome, *, action: str, command: str) -> Observation:
    """Return what the model is shown of an action that was carried out."""
    parts = [_cut(_decode(outcome.output))]
    if outcome.errors:
        parts.append("stderr:\n" + _cut(_decode(outcome.errors)))
    if outcome.timed_out:
        parts.append("note: ended because its time was over")
    if outcome.truncated_bytes:
        parts.append(f"note: {outcome.truncated_bytes} bytes of output were dropped")
    if outcome.note:
        parts.append(f"note: {outcome.note}")
    if outcome.exit_code:
        parts.append(f"exit code {outcome.exit_code}")
    text = "\n".join(part.rstrip("\n") for part in parts if part) or "(no output)"
    return Observation(
        kind="done",
        text=text,
        action=action,
        command=command,
        exit_code=outcome.exit_code,
        ends_session=outcome.ends_session,
    )


def of_error(error: ActionError | OperationError, *, action: str, command: str = "") -> Observation:
    """Return what the model is shown of a proposal that meant nothing, or of an action that failed."""
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return Observation(
        kind="error", text=f"error ({error.code}): {error.message}{hint}", action=action, command=command
    )


def of_denial(decision: Denied | NeedsApproval, *, action: str, command: str) -> Observation:
    """Return what the model is shown of an action that was not allowed: every reason and its mend."""
    lines = [_reason_line(reason) for reason in decision.reasons]
    return Observation(
        kind="denied", text="\n".join(lines), action=action, command=command, reasons=decision.reasons
    )


def _reason_line(reason: Reason) -> str:
    hint = f"\nhint: {reason.hint}" if reason.hint else ""
    return f"denied ({reason.code}): {reason.message}{hint}"


def _decode(output: bytes) -> str:
    """Decode as UTF-8; bytes that are none, and control characters but tab and newline, become escapes."""
    text = output.decode("utf-8", "backslashreplace")
    return "".join(_shown(character) for character in text.replace("\r\n", "\n"))


def _shown(character: str) -> str:
    if character in "\n\t" or (character.isprintable() and character != "\x7f"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str) -> str:
    """Keep the head and the tail of a text that is too long, and say how much is missing."""
    if len(text) <= TEXT_LIMIT_CHARACTERS:
        return text
    left = len(text) - TEXT_LIMIT_CHARACTERS
    return f"{text[:HEAD_CHARACTERS]}\n[{left} characters left out]\n{text[-TAIL_CHARACTERS:]}"
