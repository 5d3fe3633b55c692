"""Tell of each action in one step: what was asked for, what was decided and why, what came of it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import orjson

from agent_runner.report.happenings import reasons, step
from agent_runner.report.quantity import duration, size
from agent_runner.report.recent import Recent
from agent_runner.report.step import Absent, Prose, Table, Words

if TYPE_CHECKING:
    from agent_runner.report.bodies import Bodies
    from agent_runner.report.moment import Moment
    from agent_runner.report.step import Form, Step, Tag
    from agent_runner.report.steps import Steps
    from audit import event
    from audit.fields import FileUse

_TAG: Final[dict[str, Tag]] = {"allowed": "allowed", "denied": "denied", "needs_approval": "asked"}
_DIFFS: Final = ("git diff", "git show")
_GIVEN: Final = ("content", "diff", "body")
"""Names of the arguments that hold a file's or a request's content, which a command line does not."""


class Actions:
    """The actions of one session, while they last.

    Args:
        steps: Where their steps go.
        bodies: What stands behind commitments.
    """

    def __init__(self, steps: Steps, bodies: Bodies) -> None:
        self._steps = steps
        self._bodies = bodies
        self._by_number: Recent[Step] = Recent()
        self._by_call: dict[str, Step] = {}
        self._given: dict[str, bytes] = {}

    def answered(self, answered: event.ModelAnswered) -> None:
        """Remember what a model's calls hold beside their command lines."""
        self._by_call, self._given = {}, {}
        beside = self._beside(answered)
        for place, call in enumerate(answered.tool_calls):
            given = beside.get(str(place)) if not call.name else _content_of(call.arguments)
            if given:
                self._given[call.call] = given

    def intended(self, moment: Moment, intended: event.ActionIntended) -> None:
        """Begin an action."""
        via = [] if intended.via == "model" else [f"asked by {intended.via}"]
        words = self._bodies.words(intended.argv)
        found = step(moment, "action", intended.command or "no command", "", words=words, notes=via)
        found.tag(_TAG[intended.verdict])
        found.parts.extend(reasons(intended.reasons))
        given = self._given.pop(intended.call, None) if intended.via == "model" else None
        if given is not None:
            is_diff = given.startswith((b"--- ", b"diff ", b"@@ "))
            label = f"content given, {size(len(given))}"
            form: Form = "diff" if is_diff else "code"
            found.parts.append(self._bodies.prose(given, label, folded=not is_diff, form=form))
        self._by_number.put(intended.action, self._steps.add(moment, found))
        if intended.call:
            self._by_call[intended.call] = found

    def started(self, moment: Moment, started: event.ProcessStarted) -> None:
        """Take in that a program was started."""
        found = self._of(moment, started.action)
        where = "" if started.folder == "." else f"in {started.folder}"
        if started.argv != found.words[1:]:
            label = f"started {where}".strip()
            found.parts.append(Words(label=label, words=self._bodies.words(started.argv)))
        elif where:
            found.notes.append(where)

    def ended(self, moment: Moment, ended: event.ProcessEnded) -> None:
        """Take in how a program in the background came out."""
        found = self._of(moment, ended.action)
        code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
        dropped = f", {size(ended.truncated_bytes)} dropped" if ended.truncated_bytes else ""
        told = (
            f"{ended.outcome.replace('_', ' ')}{code} after {duration(ended.duration_ms)}, "
            f"{size(ended.output_bytes)} of output{dropped}"
        )
        detail = f"\n{ended.detail}" if ended.detail else ""
        found.parts.append(Prose(label="the program in the background", text=told + detail))

    def output(self, moment: Moment, output: event.ActionOutput) -> None:
        """Take in a piece of output."""
        found = self._of(moment, output.action)
        found.parts.append(self._bodies.part(output.content, output.stream))

    def asked(self, moment: Moment, asked: event.ApprovalRequested) -> None:
        """Take in that a person was asked."""
        found = self._of(moment, asked.action)
        found.tag("asked")
        found.answer = "not answered"

    def approval(self, moment: Moment, answered: event.ApprovalAnswered) -> None:
        """Take in what a person, or the clock, answered."""
        found = self._of(moment, answered.action)
        found.tag("allowed" if answered.answer == "approved" else "denied")
        is_timed_out = answered.answer == "timed_out"
        found.answer = "nobody answered" if is_timed_out else f"{answered.answer} by {answered.by}"
        found.notes.append(found.answer if is_timed_out else f"{found.answer} via {answered.via}")
        found.notes.append(f"waited {duration(answered.waited_ms)}")

    def finished(self, moment: Moment, finished: event.ActionFinished) -> None:
        """Take in what came of an action."""
        found = self._of(moment, finished.action)
        if finished.outcome == "denied":
            found.tag("denied")
        elif finished.outcome != "ok":
            found.tag("failed")
            if finished.outcome != "failed":
                found.notes.append(finished.outcome.replace("_", " "))
        found.notes.extend(_figures(finished, has_waited=bool(found.answer)))
        if finished.files:
            found.parts.append(_files(finished.files))
        if finished.detail:
            found.parts.append(Prose(label="detail", text=finished.detail))
        if finished.body is not None:
            is_diff = found.name in _DIFFS
            form: Form = "diff" if is_diff else "code"
            found.parts.append(self._bodies.part(finished.body, "what came of it", form=form))

    def told(self, moment: Moment, added: event.MessageAdded) -> None:
        """Take in what the model was told of a call that brought no outcome."""
        found = self._by_call.get(added.call)
        if found is None:
            found = self._steps.add(moment, step(moment, "message", "told to the model", ""))
        found.parts.append(
            self._bodies.part(added.content, "what the model was told", folded=bool(found.words))
        )
        self._steps.changed(found)

    def get(self, number: str) -> Step | None:
        """Return an action's step; None when it has none."""
        return self._by_number.get(number)

    def _of(self, moment: Moment, number: str) -> Step:
        """Return an action's step, making one where an entry tells of an action that nobody asked for."""
        found = self._by_number.get(number)
        if found is None:
            found = step(moment, "action", "unknown action", f"{number} was never asked for", tags=["failed"])
            self._by_number.put(number, self._steps.add(moment, found))
        self._steps.changed(found)
        return found

    def _beside(self, answered: event.ModelAnswered) -> dict[str, bytes]:
        """Return the contents that stand beside command lines, by the place of their call."""
        if answered.raw is None:
            return {}
        value = self._bodies.value(answered.raw, "content")
        if isinstance(value, Absent):
            return {}
        try:
            kept = orjson.loads(value)["bodies"]
            return {place: base64.b64decode(body) for place, body in kept.items()}
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            return {}


def _content_of(arguments: str) -> bytes | None:
    """Return the content among the arguments of a call, as the model spelled them."""
    try:
        told = orjson.loads(arguments)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    return next((told[name].encode() for name in _GIVEN if isinstance(told.get(name), str)), None)


def _figures(finished: event.ActionFinished, *, has_waited: bool) -> list[str]:
    code = [] if finished.exit_code is None else [f"exit code {finished.exit_code}"]
    output = [f"{size(finished.output_bytes)} of output"] if finished.output_bytes else []
    dropped = [f"{size(finished.truncated_bytes)} dropped"] if finished.truncated_bytes else []
    took = f"{duration(finished.duration_ms)}{' in all' if has_waited else ''}"
    return [*code, took, *output, *dropped]


def _files(uses: tuple[FileUse, ...]) -> Table:
    rows = [
        [
            use.access,
            use.path + (f" -> {use.moved_to}" if use.moved_to else ""),
            use.sha256_before or "",
            use.sha256 or "",
        ]
        for use in uses
    ]
    return Table(
        label=f"files, {len(rows)}",
        head=("what", "path", "SHA-256 before", "SHA-256 after"),
        rows=rows,
        folded=True,
    )
