"""Tell an agent a reply while the model still speaks it: as bounded as a whole one, and never another."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from agent_runner.backends.aloud import ArgumentsTold, CallTold, Counting, Spoken, Step, TextTold
from agent_runner.backends.wording import safe_text
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import cut, named_calls
from agent_runner.hearing import ARGUMENT_CHARACTERS, MOST_CALLS, TEXT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_runner.backends.backend import Reply

    Pass = Callable[[Step], Awaitable[None]]

STEP_CHARACTERS: Final = 64 * 1024
"""Text of one step; a longer one is told in several."""


class Telling:
    """Pass on what a model says, and remember it.

    Args:
        send: Who listens.
        stops: Texts before which the reply is cut.
    """

    def __init__(self, send: Pass, stops: tuple[str, ...] = ()) -> None:
        self._send = send
        self.count = Counting()
        """All that the model said, whether it was passed on or not."""
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=1)
        self._held = ""
        self._stopped = False
        self._room = TEXT_CHARACTERS
        self._arguments_room = 0
        self._texts: list[str] = []
        self._calls: list[tuple[str, str, list[str]]] = []

    @property
    def words(self) -> str:
        """Return all that was told, as a ledger keeps it."""
        calls = (f"\n{call_id} {name} {''.join(arguments)}" for call_id, name, arguments in self._calls)
        return "".join([*self._texts, *calls])

    async def heard(self, step: Step | Spoken) -> None:
        """Take a step from the model."""
        await self.count(step)
        match step:
            case Spoken():
                pass
            case TextTold(text=text):
                words = safe_text(text)[: self._room]
                self._room -= len(words)
                await self._text(self._before_a_stop(words))
            case CallTold(call_id=call_id, name=name):
                self._arguments_room = ARGUMENT_CHARACTERS if len(self._calls) < MOST_CALLS else 0
                if self._arguments_room:
                    await self._let_go()
                    await self._call(safe_text(call_id), safe_text(name))
            case ArgumentsTold(text=text):
                words = safe_text(text)[: self._arguments_room]
                self._arguments_room -= len(words)
                await self._more_arguments(words)

    async def rest(self, reply: Reply) -> None:
        """Tell what of the whole reply was not told yet.

        Args:
            reply: It, bounded.

        Raises:
            BackendError: When what was told is not its beginning; then nothing more is told.
        """
        calls, begun = named_calls(reply), len(self._calls)
        more = "" if self._stopped else self._text_left(reply.text)
        arguments = self._arguments_left(calls)
        if not begun:
            await self._text(more)
        await self._more_arguments(arguments)
        for call_id, name, whole in calls[begun:]:
            await self._call(call_id, name)
            await self._more_arguments(whole)
        if begun:
            await self._text(more)

    def _text_left(self, text: str) -> str:
        """Return what was not told of the text; a stop may begin before a call, and end after it."""
        told, clear = "".join(self._texts), cut(text, self._stops)
        return _after(told, clear if len(clear) >= len(told) or not self._calls else text[: len(told)])

    def _arguments_left(self, calls: list[tuple[str, str, str]]) -> str:
        """Return what was not told of the call that began last; those before it were told whole."""
        left = ""
        for (call_id, name, parts), whole in zip_longest(self._calls, calls[: len(self._calls)]):
            if left or whole is None or (call_id, name) != whole[:2]:
                raise _another_reply()
            left = _after("".join(parts), whole[2])
        return left

    def _before_a_stop(self, text: str) -> str:
        """Return what stands before any stop, and keep back what may be the beginning of one."""
        if not self._stops or self._stopped:
            return "" if self._stopped else text
        text = self._held + text
        clear = cut(text, self._stops)
        self._stopped = len(clear) < len(text)
        sure = len(clear) if self._stopped else max(0, len(text) - self._longest + 1)
        self._held = text[sure:]
        return text[:sure]

    async def _let_go(self) -> None:
        """Tell what was kept back: a call comes, so that it is no beginning of a stop."""
        held, self._held = self._held, ""
        await self._text("" if self._stopped else held)

    async def _text(self, text: str) -> None:
        for part in _parts(text):
            self._texts.append(part)
            await self._send(TextTold(text=part))

    async def _call(self, call_id: str, name: str) -> None:
        self._calls.append((call_id, name, []))
        await self._send(CallTold(call_id=call_id, name=name))

    async def _more_arguments(self, text: str) -> None:
        for part in _parts(text):
            self._calls[-1][2].append(part)
            await self._send(ArgumentsTold(text=part))


def _parts(text: str) -> list[str]:
    return [text[place : place + STEP_CHARACTERS] for place in range(0, len(text), STEP_CHARACTERS)]


def _after(told: str, whole: str) -> str:
    if not whole.startswith(told):
        raise _another_reply()
    return whole[len(told) :]


def _another_reply() -> BackendError:
    return BackendError("the model's reply is not the one that it began, or is too long")
