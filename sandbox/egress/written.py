"""Write the egress process's events down, and the ends of the connections that it took with it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, assert_never

from sandbox.egress.events import Closed, Decided, Spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sandbox.egress.events import Event

    Journal = Callable[[Event], Awaitable[None]]

MOST_WATCHED: Final = 20
"""Refusals that somebody who watches is told of."""


class Written:
    """What was written down of one egress process, in the order in which it happened.

    Args:
        journal: Writes one event down, and returns when it is durable.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[str, Decided] = {}
        self._watching: list[list[Decided]] = []
        self.failure: BaseException | None = None

    async def write(self, event: Event) -> bool:
        """Return whether an event was written down. INVARIANT: after one that was not, nothing is."""
        self._take_in(event)
        try:
            await self._journal(event)
        except BaseException as error:
            self.failure = error
            if not isinstance(error, Exception):
                raise
            return False
        return True

    @contextmanager
    def refusals(self) -> Iterator[list[Decided]]:
        """Yield a list to which refusals are added while the block lasts, at most `MOST_WATCHED`."""
        refused: list[Decided] = []
        self._watching.append(refused)
        try:
            yield refused
        finally:
            self._watching = [each for each in self._watching if each is not refused]

    def _take_in(self, event: Event) -> None:
        match event:
            case Decided(verdict="allowed"):
                self._open[event.connection] = event
            case Decided():
                for refused in self._watching:
                    if len(refused) < MOST_WATCHED:
                        refused.append(event)
            case Closed():
                self._open.pop(event.connection, None)
            case Spent():
                pass
            case _:
                assert_never(event)

    async def lose(self) -> None:
        """Write down that connections ended with the process; what they carried since is not known."""
        for event in self._open.values() if self.failure is None else ():
            await self._journal(_lost(event))


def _lost(event: Decided) -> Closed:
    return Closed(
        connection=event.connection,
        host=event.host,
        port=event.port,
        address="",
        sent_bytes=0,
        received_bytes=0,
        status=0,
        duration_ms=0,
        why="lost",
        action=event.action,
        rule=event.rule,
        method=event.method,
        path=event.path,
    )
