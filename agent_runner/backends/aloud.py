"""Tell a reply while the model still speaks it; which steps it comes in, and who can tell them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never, runtime_checkable

from agent_runner.backends.wording import unique_ids
from agent_runner.hearing import ARGUMENT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Backend, Message, Reply
    from agent_runner.backends.pieces import PartialCall, Pieces
    from cli_tools.schema import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTold:
    """More of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTold:
    """The next call begins."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsTold:
    """More of the arguments of the call that began last."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """More of the reply came, whether it is told or not: reasoning, too, and what cannot be told in order."""

    characters: int


Step = TextTold | CallTold | ArgumentsTold
Tell = Callable[[Step | Spoken], Awaitable[None]]


class Counting:
    """Count a reply that nobody hears before it is whole: its question may still be put anew.

    A backend that says nothing of what is `Spoken` is counted by what it tells.
    """

    def __init__(self) -> None:
        self._spoken = 0
        self._told = 0

    @property
    def characters(self) -> int:
        """Return how many came so far, of all attempts together."""
        return max(self._spoken, self._told)

    async def __call__(self, step: Step | Spoken) -> None:
        """Count a step."""
        match step:
            case Spoken(characters=characters):
                self._spoken += characters
            case TextTold(text=text) | ArgumentsTold(text=text):
                self._told += len(text)
            case CallTold(call_id=call_id, name=name):
                self._told += len(call_id) + len(name)
            case _:
                assert_never(step)


@runtime_checkable
class AloudBackend(Protocol):
    """A backend that can tell a reply while it comes."""

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None) -> Reply:
        """Return the model's next words, as `ask` does.

        INVARIANT: what was told is the beginning of what is returned: its text, then its calls, in order.
        A question of which something was told is not put anew, neither there nor to another model.

        Args:
            messages: As `ask` has them.
            tools: As `ask` has them.
            tell: Told each step as it comes, and how much is `Spoken`; None where nobody listens. What a
                `Counting` is told was told to nobody.

        Raises:
            agent_runner.errors.BackendError: When no whole reply could be had.
        """
        ...


async def asked_aloud(
    backend: Backend, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None
) -> Reply:
    """Ask a backend; one that tells nothing on the way is asked for the whole."""
    if tell is not None and isinstance(backend, AloudBackend):
        return await backend.ask_aloud(messages, tools, tell)
    return await backend.ask(messages, tools)


class Aloud:
    """Tell what is new in the pieces of a reply.

    A call's pieces may come between another's; its beginning is told when the one before is whole. What
    cannot be told in order is left to whoever has the whole reply, and so are the calls behind more arguments
    than are read of one call: looking whether they are whole holds up the runner.

    Args:
        taken: The ids of all calls of the conversation so far.
        tell: Who listens; None for nobody.
    """

    def __init__(self, taken: set[str], tell: Tell | None) -> None:
        self._taken = taken
        self._tell = tell
        self._texts = 0
        self._place = 0
        self._open = False
        self._arguments = 0
        self._calls_seen = 0
        self._looked_left = ARGUMENT_CHARACTERS
        self.begun = False
        """Whether something was told, so that the question cannot be put anew."""
        self.in_vain_tokens = 0
        """What the model said in attempts that broke off: paid for, and nobody's reply."""

    async def more(self, pieces: Pieces) -> None:
        """Tell what has come since the last time."""
        if self._tell is None:
            return
        await self._tell(Spoken(characters=pieces.newly_come()))
        if isinstance(self._tell, Counting):
            return
        if not self._place and not self._open:
            text = "".join(pieces.text[self._texts :])
            self._texts = len(pieces.text)
            if text:
                await self._say(TextTold(text=text))
        while self._place < len(pieces.calls) and await self._told_call(pieces.calls):
            self._place, self._open, self._arguments, self._calls_seen = self._place + 1, False, 0, 0

    async def _told_call(self, calls: list[PartialCall]) -> bool:
        """Tell what is new of the call in its turn; return whether it is whole, and another has begun."""
        call = calls[self._place]
        if not call.arguments:
            return False  # its name may still grow
        if not self._open:
            self._open = True
            ids = unique_ids([each.call_id for each in calls[: self._place + 1]], self._taken)
            await self._say(CallTold(call_id=ids[-1], name=call.name))
        new = "".join(call.arguments[self._arguments :])
        self._arguments = len(call.arguments)
        if new:
            await self._say(ArgumentsTold(text=new))
        if len(calls) == self._calls_seen or len(calls) == self._place + 1:
            return False
        self._calls_seen = len(calls)  # looked at once for each call that begins: the arguments may be long
        if self._looked_left >= 0:
            self._looked_left -= sum(map(len, call.arguments))
        return self._looked_left >= 0 and _is_json("".join(call.arguments))

    async def _say(self, step: Step) -> None:
        self.begun = True
        if self._tell is not None:
            await self._tell(step)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
