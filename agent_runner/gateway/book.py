"""Ask the model for somebody else's agent: within the budget, one question at a time, each in the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import RefusedRequestError, named_calls
from agent_runner.hearing import bounded
from audit import event
from audit.fields import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Backend
    from agent_runner.budget import Budget, BudgetExceeded
    from agent_runner.gateway.asked import Asked
    from audit.journal import Journal

_CHARACTERS_PER_TOKEN: Final = 4
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

    async def ask(self, backend: Backend, asked: Asked) -> Reply:
        """Return the model's reply.

        Raises:
            RefusedRequestError: When the budget has run out, code `budget`, or the model gave no reply.
            audit.errors.LedgerError: When it cannot be written down; nothing was asked then.
        """
        async with self._turn:
            self._require_budget()
            messages = tuple(map(self._redacted, asked.messages))
            await self._write_asked(backend, messages, asked)
            start = self._monotonic()
            try:
                reply = bounded(await backend.ask(messages, asked.tools))
            except BackendError as error:
                await self._write_failed(backend, error, self._monotonic() - start)
                raise RefusedRequestError(error.message, status=502, code="model_failed") from error
            except asyncio.CancelledError:
                await self._hung_up(backend, messages, self._monotonic() - start)
                raise
            elapsed = self._monotonic() - start
            self.model_seconds += elapsed
            self._budget.count(reply.usage)
            await self._write_answered(backend, reply, elapsed)
            return reply

    def _require_budget(self) -> None:
        exceeded = self._budget.exceeded()
        if exceeded is not None:
            self._spent(exceeded)
            raise RefusedRequestError(exceeded.reason, status=403, code="budget")

    def _redacted(self, message: Message) -> Message:
        raw = self._journal.redactor.raw
        match message:
            case SystemMessage() | UserMessage() | ObservationMessage():
                text = raw(_bytes(message.text)).decode("utf-8", "replace")
                return replace(message, text=text)
            case ModelMessage(reply=reply):
                said = raw(_bytes(reply.text)).decode("utf-8", "replace")
                return ModelMessage(reply=replace(reply, text=said))

    # ---- what is written

    async def _write_asked(self, backend: Backend, messages: Sequence[Message], asked: Asked) -> None:
        digests = [await self._write_message(message) for message in messages]
        turn = self._budget.turns + 1
        told = {"messages": digests, "tools": [tool.name for tool in asked.tools]}
        await self._journal.record(
            event.ModelAsked(
                turn=turn,
                backend=backend.kind,
                model=backend.model,
                messages=self._journal.commit(orjson.dumps(told)),
                message_count=len(messages),
            )
        )

    async def _write_message(self, message: Message) -> str:
        """Write a message down, if nobody has, and return its digest."""
        role, words, call = _told(message)
        digest = hashlib.sha256(_bytes(f"{role}\0{call}\0{words}"))
        if digest.digest() not in self._known:
            content = self._journal.commit(_bytes(words))
            await self._journal.record(event.MessageAdded(role=role, content=content, call=call))
            self._known.add(digest.digest())
        return digest.hexdigest()

    async def _write_answered(self, backend: Backend, reply: Reply, elapsed: float) -> None:
        role, words, call = _told(ModelMessage(reply=reply))
        self._known.add(hashlib.sha256(_bytes(f"{role}\0{call}\0{words}")).digest())
        usage, first = reply.usage, reply.first_token_seconds
        await self._journal.record(
            event.ModelAnswered(
                turn=self._budget.turns,
                backend=backend.kind,
                model=reply.by or backend.model,
                text=self._journal.commit(_bytes(reply.text)) if reply.text else None,
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
        await self._journal.record(
            event.ModelFailed(
                turn=self._budget.turns + 1,
                backend=backend.kind,
                model=backend.model,
                error=error.message,
                attempt=1,
                duration_ms=int(elapsed * 1000),
                will_retry=False,
            )
        )

    async def _hung_up(self, backend: Backend, messages: Sequence[Message], elapsed: float) -> None:
        """Count a question whose answer nobody waited for: hanging up is no way around a budget."""
        sent = sum(len(_told(message)[1]) for message in messages)
        self._budget.count(Usage(input_tokens=-(-sent // _CHARACTERS_PER_TOKEN), estimated=True))
        failed = event.ModelFailed(
            turn=self._budget.turns,
            backend=backend.kind,
            model=backend.model,
            error=_HUNG_UP,
            attempt=1,
            duration_ms=int(elapsed * 1000),
            will_retry=False,
        )
        await self._journal.record_lazily(failed)


def _told(message: Message) -> tuple[Literal["system", "user", "tool"], str, str]:
    """Return a message's role in the ledger, its words and the call that it answers."""
    match message:
        case SystemMessage(text=text):
            return "system", text, ""
        case UserMessage(text=text):
            return "user", text, ""
        case ObservationMessage(call_id=call_id, text=text):
            return "tool", text, call_id
        case ModelMessage(reply=reply):
            # What the agent says that the model said; our own replies are known, and never told again.
            calls = [f"{call_id} {name} {arguments}" for call_id, name, arguments in named_calls(reply)]
            return "user", "\n".join(["assistant, as the agent tells it:", reply.text, *calls]), ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
