"""Translate a conversation that only grows at its end message by message, each of them once."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Message

T = TypeVar("T")


class Wired(Generic[T]):
    """Keep what was made of the last conversation's messages for the next one, which mostly begins as it did.

    What is kept is as long as the conversation. It is handed out again as it is: nobody may change it.

    Args:
        translate: Makes of one message what is sent; pure.
    """

    def __init__(self, translate: Callable[[Message], T]) -> None:
        self._translate = translate
        self._messages: list[Message] = []
        self._made: list[T] = []

    def of(self, messages: Sequence[Message]) -> list[T]:
        """Return what each message is sent as, in order, in a list of the caller's own."""
        pairs = zip(self._messages, messages, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))
        del self._messages[same:], self._made[same:]
        for message in messages[same:]:
            self._made.append(self._translate(message))
            self._messages.append(message)
        return list(self._made)
