"""Fold a session's entries into a conversation: task, model, actions, and what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.counted import counted
from agent_runner.report.actions import Actions
from agent_runner.report.connections import Connections
from agent_runner.report.happenings import happening, step
from agent_runner.report.quantity import duration, number
from agent_runner.report.step import Prose, Table
from audit import event

if TYPE_CHECKING:
    from agent_runner.report.bodies import Bodies
    from agent_runner.report.moment import Moment
    from agent_runner.report.step import Step
    from agent_runner.report.steps import Steps
    from audit.fields import Event


class Conversation:
    """Builds the steps of one session.

    Args:
        steps: Where they go.
        bodies: What stands behind commitments.
    """

    def __init__(self, steps: Steps, bodies: Bodies) -> None:
        self._steps = steps
        self._bodies = bodies
        self._actions = Actions(steps, bodies)
        self._connections = Connections(steps, self._actions)
        self._turn: Step | None = None
        self._model = ""

    def take(self, moment: Moment, happened: Event) -> None:  # noqa: C901, PLR0912 - one line for each kind of entry
        """Take in an entry."""
        match happened:
            case event.SessionOpened():
                self._opened(moment, happened)
            case event.MessageAdded(role="tool"):
                self._actions.told(moment, happened)
            case event.MessageAdded():
                self._message(moment, happened)
            case event.ModelAsked():
                self._asked(moment, happened)
            case event.ModelAnswered():
                self._answered(moment, happened)
            case event.ModelFailed():
                self._failed(moment, happened)
            case event.ActionIntended():
                self._actions.intended(moment, happened)
            case event.ProcessStarted():
                self._actions.started(moment, happened)
            case event.ProcessEnded():
                self._actions.ended(moment, happened)
            case event.ActionOutput():
                self._actions.output(moment, happened)
            case event.ApprovalRequested():
                self._actions.asked(moment, happened)
            case event.ApprovalAnswered():
                self._actions.approval(moment, happened)
            case event.ActionFinished():
                self._actions.finished(moment, happened)
            case event.EgressOpened() | event.EgressRequested() | event.EgressClosed():
                self._connections.take(moment, happened)
            case _:
                alone = happening(moment, happened)
                if alone is not None:
                    self._steps.add(moment, alone)

    def unreadable(self, moment: Moment, kind: str, why: str) -> None:
        """Take in an entry that verifies and cannot be read, for example one of a newer pairlock."""
        self._steps.add(moment, step(moment, "ledger", f"unreadable: {kind}", why, tags=["failed"]))

    def broken(self, moment: Moment, why: str, raw: bytes) -> None:
        """Take in an entry that does not hold; nothing behind it can be believed, and nothing is shown."""
        parts = [self._bodies.prose(raw, "the line as it stands")] if raw else []
        told = f"{why}; nothing behind it is shown"
        self._steps.add(moment, step(moment, "ledger", "BROKEN ENTRY", told, tags=["broken"], parts=parts))

    def _opened(self, moment: Moment, opened: event.SessionOpened) -> None:
        rows = [
            ["grant", opened.grant],
            ["policy", f"{opened.policy_origin}, digest {opened.policy_digest}"],
            ["workspace", opened.workspace or "none"],
            ["model", f"{opened.backend} {opened.model}"],
            ["started by", f"session {opened.parent}" if opened.parent else "a person or a program"],
        ]
        origin = "a person's own words" if opened.task_is_origin else "not taken as a person's own words"
        parts = [
            self._bodies.part(opened.task, "task", form="text"),
            Table(label="started with", head=("what", "value"), rows=rows, folded=True),
        ]
        self._steps.add(moment, step(moment, "message", "task", "", notes=[origin], parts=parts))

    def _message(self, moment: Moment, added: event.MessageAdded) -> None:
        is_system = added.role == "system"
        name = "told to the model at first" if is_system else "told to the model"
        part = self._bodies.part(added.content, "text", form="text", folded=is_system)
        self._steps.add(moment, step(moment, "message", name, "", parts=[part]))

    def _asked(self, moment: Moment, asked: event.ModelAsked) -> None:
        if self._turn is not None and self._turn.name == f"turn {asked.turn}":
            return  # the same question once more, after an attempt that failed
        model = f"{asked.backend} {asked.model}"
        notes = [] if model == self._model else [model]
        self._model = model
        self._turn = self._steps.add(moment, step(moment, "model", f"turn {asked.turn}", "", notes=notes))

    def _turn_of(self, moment: Moment, turn: int) -> Step:
        if self._turn is None:
            self._turn = self._steps.add(moment, step(moment, "model", f"turn {turn}", ""))
        self._steps.changed(self._turn)
        return self._turn

    def _answered(self, moment: Moment, answered: event.ModelAnswered) -> None:
        found, self._turn = self._turn_of(moment, answered.turn), None
        self._actions.answered(answered)
        found.notes.extend(_tokens(answered))
        if answered.text is not None:
            found.parts.append(self._bodies.part(answered.text, "says", form="text"))
        if answered.tool_calls:
            text = "\n".join(
                f"{call.name}{' ' if call.name else ''}{call.arguments}" for call in answered.tool_calls
            )
            calls = counted(len(answered.tool_calls), "call")
            found.title = "" if answered.text is not None else f"asks for {calls}"
            label = f"{calls}, as the model spelled {'it' if len(answered.tool_calls) == 1 else 'them'}"
            found.parts.append(self._bodies.prose(text.encode("utf-8", "surrogatepass"), label, folded=True))

    def _failed(self, moment: Moment, failed: event.ModelFailed) -> None:
        found = self._turn_of(moment, failed.turn)
        again = "is tried again" if failed.will_retry else "is given up"
        told = f"attempt {failed.attempt} after {duration(failed.duration_ms)}: {failed.error}"
        found.parts.append(Prose(label=f"no answer, {again}", text=told))
        if not failed.will_retry:
            found.tag("failed")
            self._turn = None


def _tokens(answered: event.ModelAnswered) -> list[str]:
    cached = f" ({number(answered.cached_tokens)} cached)" if answered.cached_tokens else ""
    first = answered.first_token_ms
    return [
        duration(answered.duration_ms),
        *([f"first token {duration(first)}"] if first is not None else []),
        f"{number(answered.input_tokens)} tokens in{cached}, {number(answered.output_tokens)} out",
        *([f"${answered.cost_micros / 1_000_000:.4f}"] if answered.cost_micros else []),
        *([f"stopped: {answered.stop}"] if answered.stop else []),
    ]
