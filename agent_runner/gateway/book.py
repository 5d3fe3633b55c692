"""Ask the model for somebody else's agent: within the budget, one question at a time, each in the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agent_runner.backends.aloud import asked_aloud
from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    PricedBackend,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.backends.estimate import estimated, tokens
from agent_runner.backends.failure import ModelServerError
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import RefusedRequestError, cut, named_calls
from agent_runner.gateway.telling import Telling
from agent_runner.hearing import bounded
from agent_runner.transcript import write_tried
from audit import event
from audit.fields import ToolCall
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Backend, Call
    from agent_runner.budget import Budget
    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.gateway.asked import Asked
    from agent_runner.gateway.telling import Pass
    from audit.fields import Commitment
    from audit.journal import Journal
    from cli_tools.schema import Tool

Role = Literal["system", "user", "tool"]
_NO_REPLY: Final = "the model gave no reply; the session's ledger says why"
_HUNG_UP: Final = "the agent hung up before the answer"


class Book:
    """Put an agent's questions to a model, and write each down before and after.

    Every message is written down once, however often an agent sends it again; a question names all of its
    messages by their digests. What is redacted in the ledger is what the model sees.

    Args:
        journal: The session's ledger.
        budget: The session's budget.
        spent: Told when it has run out; the session then ends.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        budget: Budget,
        *,
        spent: Callable[[BudgetExceeded], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._budget = budget
        self._spent = spent
        self._monotonic = monotonic
        # INVARIANT: one question at a time, so that a budget is passed by the cost of one at most.
        self._turn = asyncio.Lock()
        self._known: set[bytes] = set()
        self.model_seconds = 0.0
        self.kept_bytes = 0
        """Written into the ledger's openings: every byte of it is of the agent's making."""

    async def ask(self, backend: Backend, asked: Asked, tell: Pass | None = None) -> Reply:
        """Return the model's reply.

        Args:
            backend: Whom to ask.
            asked: What.
            tell: Told each step of the reply, where the backend tells them as they come, else at its end;
                None where nobody listens.

        Raises:
            RefusedRequestError: When the budget has run out, code `budget`, or the model gave no reply.
            audit.errors.LedgerError: When it cannot be written down; nothing was asked then.
        """
        async with self._turn:
            self._require_budget()
            messages = tuple(map(self._redacted, asked.messages))
            tools = tuple(map(self._redacted_tool, asked.tools))
            await self._write_asked(backend, messages, tools)
            telling = Telling(tell or _silent, asked.stops)
            listener = telling.heard if tell is not None else telling.count
            start = self._monotonic()
            try:
                reply = bounded(await asked_aloud(backend, messages, tools, listener))
            except BackendError as error:
                self._count_unanswered(backend, messages, tools, telling)
                await self._write_broken_off(telling.words)
                await self._write_failed(backend, error, self._monotonic() - start)
                raise _unanswered(error) from error
            except asyncio.CancelledError:
                self._count_unanswered(backend, messages, tools, telling)
                await self._write_broken_off(telling.words)
                await self._journal.record_lazily(self._failed(backend, _HUNG_UP, self._monotonic() - start))
                raise
            elapsed = self._monotonic() - start
            self.model_seconds += elapsed
            self._budget.count(reply.usage)
            await write_tried(self._journal, self._budget.turns, backend, reply.tried)
            await self._write_answered(backend, reply, elapsed)
            await self._tell_rest(telling, reply)
            return _stopped(reply, asked.stops)

    async def _tell_rest(self, telling: Telling, reply: Reply) -> None:
        try:
            await telling.rest(reply)
        except BackendError as error:
            raise RefusedRequestError(error.message, status=502, code="model_failed") from error

    def _require_budget(self) -> None:
        exceeded = self._budget.exceeded()
        if exceeded is not None:
            self._spent(exceeded)
            raise RefusedRequestError(exceeded.reason, status=403, code="budget")

    def _count_unanswered(
        self, backend: Backend, messages: Sequence[Message], tools: Sequence[Tool], telling: Telling
    ) -> None:
        """Count a question without a whole answer: failing and hanging up are no ways around a budget.

        What the model thought, and what stood behind a stop, was told to nobody and costs as much.
        """
        said = tokens(max(len(telling.words), telling.count.characters))
        usage = Usage(input_tokens=estimated(messages, tools), output_tokens=said, estimated=True)
        self._budget.count(backend.priced(usage) if isinstance(backend, PricedBackend) else usage)

    def _redacted(self, message: Message) -> Message:
        match message:
            case UserMessage(media=media) if any(self._holds_secret(each.raw) for each in media):
                raise RefusedRequestError("a picture holds a secret of the session's", code="capability")
            case SystemMessage() | UserMessage() | ObservationMessage():
                return replace(message, text=self._raw(message.text))
            case ModelMessage(reply=reply):
                calls = tuple(map(self._redacted_call, reply.calls))
                return ModelMessage(reply=replace(reply, text=self._raw(reply.text), calls=calls))

    def _redacted_call(self, call: Call) -> Call:
        proposal = call.proposal
        if isinstance(proposal, ToolProposal):
            proposal = replace(proposal, arguments=self._raw(proposal.arguments))
        return replace(call, proposal=proposal)

    def _redacted_tool(self, tool: Tool) -> Tool:
        """Return a tool without secrets; a placeholder needs no escape inside a text of JSON."""
        parameters = json.loads(self._raw(json.dumps(tool.parameters, ensure_ascii=False)))
        return replace(tool, description=self._raw(tool.description), parameters=parameters)

    def _holds_secret(self, content: bytes) -> bool:
        return self._journal.redactor.raw(content) != content

    def _raw(self, text: str) -> str:
        return self._journal.redactor.raw(_bytes(text)).decode("utf-8", "replace")

    # ---- what is written

    async def _write_asked(
        self, backend: Backend, messages: Sequence[Message], tools: Sequence[Tool]
    ) -> None:
        offered = [await self._write_once("tools", "system", _offered(tools))] if tools else []
        digests = [await self._write_once(type(message).__name__, *_told(message)) for message in messages]
        told = {"messages": digests, "tools": [tool.name for tool in tools], "offered": offered}
        await self._journal.record(
            event.ModelAsked(
                turn=self._budget.turns + 1,
                backend=backend.kind,
                model=backend.model,
                messages=self._kept(orjson.dumps(told)),
                message_count=len(messages),
            )
        )

    async def _write_once(self, kind: str, role: Role, words: str, call: str = "") -> str:
        """Write down what the model is told, if nobody has, and return its digest."""
        digest = _digest(kind, role, words, call)
        if digest not in self._known:
            await self._journal.record(
                event.MessageAdded(role=role, content=self._kept(_bytes(words)), call=call)
            )
            self._known.add(digest)
        return digest.hex()

    async def _write_broken_off(self, told: str) -> None:
        """Write down what the agent was told of a reply that never became whole."""
        if told:
            content = self._kept(_bytes(f"of a reply that was not whole, the agent was told:\n{told}"))
            await self._journal.record_lazily(event.MessageAdded(role="system", content=content))

    def _kept(self, content: bytes) -> Commitment:
        self.kept_bytes += len(content)
        return self._journal.commit(content)

    async def _write_answered(self, backend: Backend, reply: Reply, elapsed: float) -> None:
        self._known.add(_digest(ModelMessage.__name__, *_told(ModelMessage(reply=reply))))
        usage, first = reply.usage, reply.first_token_seconds
        await self._journal.record(
            event.ModelAnswered(
                turn=self._budget.turns,
                backend=backend.kind,
                model=reply.by or backend.model,
                text=self._kept(_bytes(reply.text)) if reply.text else None,
                tool_calls=tuple(
                    ToolCall(call=call_id, name=name, arguments=arguments)
                    for call_id, name, arguments in named_calls(reply)
                ),
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                duration_ms=int(elapsed * 1000),
                first_token_ms=first if first is None else int(first * 1000),
                stop=reply.stop,
                cost_micros=usage.cost_micros,
            )
        )

    async def _write_failed(self, backend: Backend, error: BackendError, elapsed: float) -> None:
        await write_tried(self._journal, self._budget.turns, backend, error.tried)
        attempt = len(error.tried) + 1
        await self._journal.record(self._failed(backend, error.message, elapsed, attempt=attempt))

    def _failed(self, backend: Backend, error: str, elapsed: float, *, attempt: int = 1) -> event.ModelFailed:
        return event.ModelFailed(
            turn=self._budget.turns,
            backend=backend.kind,
            model=backend.model,
            error=error,
            attempt=attempt,
            duration_ms=int(elapsed * 1000),
            will_retry=False,
        )


def _unanswered(error: BackendError) -> RefusedRequestError:
    """Return what the agent is told; agents shorten a conversation when they hear that it is too long.

    Only a server's words go there: what a program on the host says may name its files and its settings.
    """
    if not isinstance(error, ModelServerError) or error.failure.kind == "credential":
        return RefusedRequestError(_NO_REPLY, status=502, code="model_failed")
    if error.failure.too_long:
        return RefusedRequestError(error.message, status=400, code="context_length_exceeded")
    return RefusedRequestError(error.message, status=502, code="model_failed")


def _stopped(reply: Reply, stops: tuple[str, ...]) -> Reply:
    """Return a reply that the agent's own stop ends as one that no length did; a call may still be cut."""
    if reply.calls or cut(reply.text, stops) == reply.text:
        return reply
    return replace(reply, stop="")


async def _silent(_: Step) -> None:
    pass


def _told(message: Message) -> tuple[Role, str, str]:
    """Return a message's role in the ledger, its words and the call that it answers."""
    match message:
        case SystemMessage(text=text):
            return "system", text, ""
        case UserMessage(text=text, media=media):
            return "user", "\n".join([*(each.told for each in media), text]), ""
        case ObservationMessage(call_id=call_id, text=text):
            return "tool", text, call_id
        case ModelMessage(reply=reply):
            # What the agent says that the model said; our own replies are known, and never told again.
            calls = [f"{call_id} {name} {arguments}" for call_id, name, arguments in named_calls(reply)]
            return "user", "\n".join(["assistant, as the agent tells it:", reply.text, *calls]), ""


def _offered(tools: Sequence[Tool]) -> str:
    """Return the tools as the ledger keeps them: their descriptions are words to the model, too."""
    listed = [[tool.name, tool.description, tool.parameters] for tool in tools]
    return "tools, as the agent offers them:\n" + json.dumps(listed, ensure_ascii=False)


def _digest(kind: str, role: str, words: str, call: str) -> bytes:
    """Return what names a message: no two that differ in any part have one."""
    parts = [kind, role, call, _bytes(words).decode()]
    return hashlib.sha256(orjson.dumps(parts)).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
