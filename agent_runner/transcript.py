"""Keep the conversation, which only ever grows at its end, and write each of its steps into the ledger.

`fold` reads the same steps back: what is written here is all that `resume` has.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import orjson

from agent_runner.backends.backend import (
    Backend,
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.cancelling import cancelled
from agent_runner.compaction import KEPT_TURNS, LONG_CHARACTERS, compacted, length
from agent_runner.repeating import Repeating
from agent_runner.spelling import plain, raw
from agent_runner.transcript_model import heard_from
from audit import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.past import Past
    from agent_runner.transcript_model import Heard
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


@runtime_checkable
class BudgetWatcher(Protocol):
    """A watcher that also looks at the budgets while a session runs."""

    def follow(self, states: Callable[[], list[BudgetExceeded]]) -> None:
        """Look at them from now on."""
        ...


class Transcript:
    """Hold the messages of one session.

    Args:
        journal: The session's ledger.
        record: The gate's record, which is told the turn and call.
        watcher: Who looks on.
        long_characters: From which length on the conversation is shortened, to half of it.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        record: Record,
        watcher: Watcher,
        *,
        long_characters: int = LONG_CHARACTERS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._record = record
        self._watcher = watcher
        self._monotonic = monotonic
        self._long_characters = long_characters
        self._characters = 0
        self._messages: list[Message] = []
        self._calls: deque[Call] = deque()
        self._digest = hashlib.sha256()
        self._reminders: list[str] = []
        self._unshown: list[Callable[[], None]] = []
        self._repeating = Repeating()
        self._ahead: asyncio.Task[Heard] | None = None
        self.turn = 0
        self.model_seconds = 0.0

    def go_on(self, past: Past) -> None:
        """Take up a conversation that an earlier runner left, none of which is written again."""
        for message in past.messages:
            self._grow(message)
        self._calls.extend(past.calls)
        self._repeating = past.repeating
        self._record.turn = self.turn = past.used.turns
        self.model_seconds = past.totals.model_ms / 1000

    def show_open(self) -> None:
        """Show the reply that an earlier runner left, with those of its calls that have no answer yet."""
        last = next((each for each in reversed(self._messages) if isinstance(each, ModelMessage)), None)
        if self._calls and last is not None:
            left = replace(last.reply, calls=tuple(self._calls))
            self._unshown.append(partial(self._watcher.said, self.turn, left))

    async def begin(self, system: str, task: str) -> None:
        """Write the first two messages, or those of them that are not there yet."""
        for message in (SystemMessage(text=system), UserMessage(text=task))[len(self._messages) :]:
            await self._add(message)

    async def notes(self, texts: Iterable[str]) -> None:
        """Tell the model something of the runner's own, in the user's place, before the next question."""
        if self._ahead is not None:
            self._reminders.extend(texts)
            return
        for text in (*self._reminders, *texts):
            await self._add(UserMessage(text=text))
        self._reminders.clear()

    async def shorten(self) -> None:
        """Shorten a conversation that has grown long, at a boundary: every call is answered.

        Rarely, because it is shortened to half: what the model's server has cached of it is lost each time.
        """
        if self._characters <= self._long_characters or self._calls or self._ahead is not None:
            return
        most = self._long_characters // 2
        fits_without_thoughts = sum(map(length, self._messages)) <= most
        kept = len(self._messages) if fits_without_thoughts else KEPT_TURNS
        shorter = compacted(self._messages, kept_turns=kept, most_characters=most)
        after = sum(map(length, shorter))
        if after > self._long_characters * 3 // 4:
            return  # the last turn alone is so long: the next one may leave room
        await self._journal.record(
            event.TranscriptCompacted(
                turn=self.turn,
                kept_turns=kept,
                most_characters=most,
                characters_before=self._characters,
                characters_after=after,
            )
        )
        self._messages, self._characters, self._digest = [], 0, hashlib.sha256()
        for message in shorter:
            self._grow(message)

    def remind(self, text: str) -> None:
        """Put a note before the next question; calls that are open are answered first."""
        self._reminders.append(text)

    async def ask(self, backend: Backend, tools: tuple[Tool, ...]) -> Reply:
        """Ask the model for its next words; the question is durable before, and with it all that it rests on.

        The answer is with the next entry that is: the first call's intent, or at the latest when `settled`.
        """
        if self._ahead is None:
            await self._write_question(backend)
            heard = await self._put(backend, tools)
        else:
            heard = await self._ahead
            self._ahead = None
        self.model_seconds += heard.seconds
        self._grow(ModelMessage(reply=heard.reply))
        self._repeating.take(heard.reply.calls)
        self._calls.extend(heard.calls)
        self._unshown.append(partial(self._watcher.said, self.turn, heard.reply))
        return heard.reply

    async def ask_ahead(self, backend: Backend, tools: tuple[Tool, ...]) -> None:
        """Put a question whose answer the next `ask` returns; until then the conversation has none."""
        await self._write_question(backend)
        self._ahead = asyncio.ensure_future(self._put(backend, tools))

    async def give_up(self) -> Reply | None:
        """Take a question back whose answer nobody came for; return one that was there all the same."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        await cancelled(ahead)
        if not ahead.done() or ahead.cancelled() or ahead.exception() is not None:
            return None  # why the session ended before says more
        self.model_seconds += ahead.result().seconds
        return ahead.result().reply

    async def _write_question(self, backend: Backend) -> None:
        self.turn += 1
        self._record.turn = self.turn
        await self._journal.record(
            event.ModelAsked(
                turn=self.turn,
                backend=backend.kind,
                model=backend.model,
                messages=self._journal.commit(f"sha256:{self._digest.hexdigest()}"),
                message_count=len(self._messages),
            )
        )
        self.show()

    async def _put(self, backend: Backend, tools: tuple[Tool, ...]) -> Heard:
        messages, turn = tuple(self._messages), self.turn
        return await heard_from(backend, messages, tools, self._journal, turn=turn, monotonic=self._monotonic)

    def show(self) -> None:
        """Show whoever looks on what they were not shown yet; it is durable now."""
        while self._unshown:
            self._unshown.pop(0)()

    async def settled(self) -> None:
        """Return when all that was said and seen is durable, and shown."""
        await self._journal.settled()
        self.show()

    def next_call(self) -> Call | None:
        """Return the next call of the last reply that has no answer, None when all have."""
        if not self._calls:
            return None
        self._record.call = self._calls[0].call_id
        return self._calls[0]

    @property
    def calls_left(self) -> int:
        """Return how many calls of the last reply have no answer."""
        return len(self._calls)

    def observe(self, call: Call, seen: Observation) -> None:
        """Tell the model what came of a call; what an outcome's own entry does not hold is written first."""
        if seen.kind == "done":
            self.answered(call, seen.text)
        else:
            self.refused(call, seen.text)
        self._unshown.append(partial(self._watcher.saw, seen))

    def answered(self, call: Call, text: str) -> None:
        """Tell the model what came of a call whose outcome is in the ledger."""
        self._answer(ObservationMessage(call_id=call.call_id, text=self._redacted(text), refused=False))

    def refused(self, call: Call, text: str) -> None:
        """Tell the model why a call was not carried out, or that nobody knows."""
        message = ObservationMessage(call_id=call.call_id, text=self._redacted(text), refused=True)
        content = self._journal.commit(raw(message.text))
        self._journal.record_ahead(event.MessageAdded(role="tool", content=content, call=message.call_id))
        self._answer(message)

    def repeats(self) -> int:
        """Return how often the last reply's calls were made in a row; 0 when it made none."""
        return self._repeating.times

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
        self.show()

    async def _add(self, message: SystemMessage | UserMessage) -> None:
        message = replace(message, text=self._redacted(message.text))
        content = self._journal.commit(raw(message.text))
        role: Literal["system", "user"] = "system" if isinstance(message, SystemMessage) else "user"
        await self._journal.record(event.MessageAdded(role=role, content=content))
        self._grow(message)

    def _answer(self, message: ObservationMessage) -> None:
        self._grow(message)
        self._calls.popleft()

    def _grow(self, message: Message) -> None:
        """Append a message; the running digest stands for the whole conversation at a constant cost."""
        self._messages.append(message)
        self._characters += length(message)
        if isinstance(message, ModelMessage):  # they go back until it is shortened
            self._characters += len(message.reply.reasoning)
            self._characters += sum(len(thought.sealed) for thought in message.reply.thoughts)
        self._digest.update(orjson.dumps(plain(message)) + b"\n")

    def _redacted(self, text: str) -> str:
        """Return text as the ledger has it: what is redacted there, the model does not see either."""
        redactor = self._journal.redactor
        if text.isascii() and not redactor.knows:
            return text
        return redactor.raw(raw(text)).decode("utf-8", "surrogateescape")
