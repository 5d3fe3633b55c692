"""Keep the conversation, which only ever grows at its end, and write each of its steps into the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

import orjson

from agent_runner.backends.backend import (
    Backend,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.errors import BackendError
from audit import event
from audit.fields import ToolCall
from cli_tools.action import LineProposal, Proposal

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.budget import BudgetExceeded
    from audit.journal import Journal
    from cli_tools.observation import Observation
    from cli_tools.record import Record
    from cli_tools.schema import Tool


class Watcher(Protocol):
    """Be told what happens, for a person's eyes; never part of the record."""

    def said(self, turn: int, reply: Reply) -> None:
        """Take note of a reply."""
        ...

    def saw(self, observation: Observation) -> None:
        """Take note of what came of an action."""
        ...


class Transcript:
    """Hold the messages of one session.

    Args:
        journal: The session's ledger.
        record: The gate's record, which is told the turn and call.
        watcher: Who looks on.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        record: Record,
        watcher: Watcher,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._record = record
        self._watcher = watcher
        self._monotonic = monotonic
        self._messages: list[Message] = []
        self.turn = 0
        self.model_seconds = 0.0

    async def begin(self, system: str, task: str) -> None:
        """Write the first two messages."""
        for role, text in (("system", system), ("user", task)):
            await self._add(SystemMessage(text=text) if role == "system" else UserMessage(text=text))

    async def ask(self, backend: Backend, tools: tuple[Tool, ...]) -> Reply:
        """Ask the model for its next words; question and answer are durable around it."""
        self.turn += 1
        self._record.turn = self.turn
        await self._journal.record(
            event.ModelAsked(
                turn=self.turn,
                backend=backend.kind,
                model=backend.model,
                messages=self._journal.commit(_encoded(self._messages)),
                message_count=len(self._messages),
            )
        )
        start = self._monotonic()
        try:
            reply = await backend.ask(tuple(self._messages), tools)
        except BackendError as error:
            await self._failed(backend, error, self._monotonic() - start)
            raise
        elapsed = self._monotonic() - start
        self.model_seconds += elapsed
        await self._answered(backend, reply, elapsed)
        self._messages.append(ModelMessage(reply=reply))
        self._watcher.said(self.turn, reply)
        return reply

    def about(self, call_id: str) -> None:
        """Say which call the next action belongs to."""
        self._record.call = call_id

    async def observe(self, call_id: str, seen: Observation) -> None:
        """Tell the model what came of a call."""
        self._messages.append(
            ObservationMessage(call_id=call_id, text=seen.text, refused=seen.kind != "done")
        )
        self._watcher.saw(seen)

    async def limit(self, exceeded: BudgetExceeded) -> None:
        """Write down that a budget ran out."""
        await self._journal.record(
            event.LimitHit(
                limit=f"budget.{exceeded.name.replace(' ', '_')}",
                bound=exceeded.bound,
                observed=exceeded.observed,
                unit=exceeded.unit,
            )
        )

    async def _add(self, message: SystemMessage | UserMessage) -> None:
        role: Literal["system", "user"] = "system" if isinstance(message, SystemMessage) else "user"
        content = self._journal.commit(message.text.encode("utf-8", "surrogateescape"))
        await self._journal.record(event.MessageAdded(role=role, content=content))
        self._messages.append(message)

    async def _answered(self, backend: Backend, reply: Reply, elapsed: float) -> None:
        text = reply.text.encode("utf-8", "surrogateescape")
        await self._journal.record(
            event.ModelAnswered(
                turn=self.turn,
                backend=backend.kind,
                model=backend.model,
                text=self._journal.commit(text) if text else None,
                tool_calls=tuple(_tool_call(call.call_id, call.proposal) for call in reply.calls),
                input_tokens=reply.usage.input_tokens,
                output_tokens=reply.usage.output_tokens,
                cached_tokens=reply.usage.cached_tokens,
                duration_ms=int(elapsed * 1000),
            )
        )

    async def _failed(self, backend: Backend, error: BackendError, elapsed: float) -> None:
        await self._journal.record(
            event.ModelFailed(
                turn=self.turn,
                backend=backend.kind,
                model=backend.model,
                error=error.message,
                attempt=1,
                duration_ms=int(elapsed * 1000),
                will_retry=False,
            )
        )


def _tool_call(call_id: str, proposal: Proposal) -> ToolCall:
    if isinstance(proposal, LineProposal):
        return ToolCall(call=call_id, name="", arguments=proposal.line)
    return ToolCall(call=call_id, name=proposal.tool, arguments=proposal.arguments)


def _encoded(messages: list[Message]) -> bytes:
    """Write the conversation as the bytes that the commitment stands for."""
    return orjson.dumps([_plain(message) for message in messages], default=repr)


def _plain(message: Message) -> dict[str, object]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "text": _safe(text)}
        case UserMessage(text=text):
            return {"role": "user", "text": _safe(text)}
        case ModelMessage(reply=reply):
            calls = [[call.call_id, _safe(repr(call.proposal))] for call in reply.calls]
            return {"role": "model", "text": _safe(reply.text), "calls": calls}
        case ObservationMessage(call_id=call_id, text=text):
            return {"role": "observation", "call": call_id, "text": _safe(text)}
        case _:
            assert_never(message)


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
