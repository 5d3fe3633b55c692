"""Write the egress process's events down, and the ends of the connections that it took with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.egress.events import Closed, Decided

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.egress.events import Event

    Journal = Callable[[Event], Awaitable[None]]


class Written:
    """What was written down of one egress process, in the order in which it happened.

    Args:
        journal: Writes one event down, and returns when it is durable.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[str, Decided] = {}
        self.failure: BaseException | None = None

    async def write(self, event: Event) -> bool:
        """Return whether an event was written down. INVARIANT: after one that was not, nothing is."""
        if isinstance(event, Decided) and event.verdict == "allowed":
            self._open[event.connection] = event
        elif isinstance(event, Closed):
            self._open.pop(event.connection, None)
        try:
            await self._journal(event)
        except BaseException as error:
            self.failure = error
            if not isinstance(error, Exception):
                raise
            return False
        return True

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
