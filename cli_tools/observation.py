"""Write what the model is shown of an action: bounded, neutralised, and saying what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cli_tools.earlier import Content
from cli_tools.neutral import neutralise

if TYPE_CHECKING:
    from cli_tools.command import Outcome
    from cli_tools.errors import ActionError
    from policies.request import Denied, NeedsApproval, Reason
    from sandbox.errors import OperationError

TEXT_LIMIT_BYTES: Final = 48_000
HEAD_BYTES: Final = 32_000
TAIL_BYTES: Final = TEXT_LIMIT_BYTES - HEAD_BYTES
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
    code: str = ""
    """Of an error: its machine word."""
    command: str = ""
    """The declared command's name; empty when the proposal meant none."""
    reasons: tuple[Reason, ...] = ()
    cut_from: Content | None = None
    """What the text was cut from; None when it is all there."""
    exit_code: int | None = None
    outcome: Outcome | None = None
    """What came of it, before it was laid out for a model; None where nothing did."""
    ends_session: Literal["", "done", "failed"] = ""


def of_outcome(outcome: Outcome, *, action: str, command: str, pages: bool = False) -> Observation:
    """Return what the model is shown of an action that was carried out.

    Args:
        outcome: What came of it.
        action: Its number.
        command: The declared command's name.
        pages: Whether `output last` may be used for what does not fit.
    """
    content = _content(outcome)
    shown, is_cut = _shown(content, pages=pages)
    notes = []
    if outcome.timed_out:
        notes.append("note: ended because its time was over")
    if outcome.truncated_bytes:
        notes.append(f"note: {outcome.truncated_bytes} bytes of output were dropped")
    if outcome.note:
        notes.append(f"note: {outcome.note}")
    if outcome.exit_code:
        notes.append(f"exit code {outcome.exit_code}")
    return Observation(
        kind="done",
        text="\n".join(part for part in (shown.rstrip("\n"), *notes) if part) or "(no output)",
        cut_from=content if is_cut else None,
        action=action,
        command=command,
        exit_code=outcome.exit_code,
        outcome=outcome,
        ends_session=outcome.ends_session,
    )


def of_error(error: ActionError | OperationError, *, action: str, command: str = "") -> Observation:
    """Return what the model is shown of a proposal that meant nothing, or of an action that failed."""
    hint = f"\nhint: {neutralise(error.hint)}" if error.hint else ""
    text = f"error ({error.code}): {neutralise(error.message)}{hint}"
    return Observation(kind="error", text=text, action=action, code=error.code, command=command)


def of_denial(decision: Denied | NeedsApproval, *, action: str, command: str) -> Observation:
    """Return what the model is shown of an action that was not allowed: every reason and its mend."""
    lines = [_reason_line(reason) for reason in decision.reasons]
    return Observation(
        kind="denied", text="\n".join(lines), action=action, command=command, reasons=decision.reasons
    )


def _reason_line(reason: Reason) -> str:
    hint = f"\nhint: {neutralise(reason.hint)}" if reason.hint else ""
    return f"denied ({reason.code}): {neutralise(reason.message)}{hint}"


def _content(outcome: Outcome) -> Content:
    """Return what was answered, whole; what is not text is described."""
    if outcome.text:
        return Content(raw=outcome.text.encode("utf-8", "replace"), is_neutral=True)
    output, errors = _described(outcome.output), _described(outcome.errors)
    joint = b"\n" if output and not output.endswith(b"\n") else b""
    return Content(raw=output + (joint + b"stderr:\n" + errors if errors else b""))


def _described(output: bytes) -> bytes:
    binary = b"\0" in output[:_LOOKED_AT_BYTES]
    return b"(%d bytes that are not text)\n" % len(output) if binary else output


def _shown(content: Content, *, pages: bool) -> tuple[str, bool]:
    """Return the text, or its head and its tail and what is missing; and whether it is cut."""
    total = len(content.raw)
    head, end = content.page(0, total if total <= TEXT_LIMIT_BYTES else HEAD_BYTES)
    if end == total:
        return head, False
    start = max(end, content.boundary(total - TAIL_BYTES))
    tail, last = content.page(start, TAIL_BYTES)
    more = f"; `output last --from {end}` shows them" if pages else ""
    rest = f"\n[{total - last} bytes left out]" if last < total else ""
    return f"{head}\n[{start - end} bytes left out{more}]\n{tail}{rest}", True
