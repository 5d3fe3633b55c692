"""Remember the newest things by name, and forget the oldest, so that a long log needs no more memory."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

MOST: Final = 2048
T = TypeVar("T")


class Recent(Generic[T]):
    """What was put in last, by name.

    Args:
        most: How many things are remembered.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._things: dict[str, T] = {}

    def put(self, name: str, thing: T) -> None:
        """Remember a thing; the oldest is forgotten where there is no room."""
        self._things.pop(name, None)
        self._things[name] = thing
        if len(self._things) > self._most:
            del self._things[next(iter(self._things))]

    def get(self, name: str) -> T | None:
        """Return a thing; None when it was never put in, or is forgotten."""
        return self._things.get(name)
