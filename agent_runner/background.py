"""Follow programs in the background through a ledger: which were started, and have no end there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from audit import event

if TYPE_CHECKING:
    from audit.fields import Event
    from audit.journal import Journal

_LOST: Final = "the runner was stopped before the end was recorded, and the program ended with it"


class Background:
    """The programs of one session that were left in the background."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._open: dict[str, None] = {}

    @property
    def without_end(self) -> tuple[str, ...]:
        """Return the actions that started those without an end, in order."""
        return tuple(self._open)

    def take(self, happened: Event) -> None:
        """Take note of one entry."""
        match happened:
            case event.ActionIntended(action=action, command="run") if happened.arguments.get("background"):
                self._asked.add(action)
            case event.ProcessStarted(action=action) if action in self._asked:
                self._open[action] = None
            case event.ActionFinished(action=action, outcome="failed"):  # it was about to start, and was not
                self._open.pop(action, None)
            case event.ProcessEnded(action=action):
                self._open.pop(action, None)
            case _:
                pass


async def settle_programs(journal: Journal, actions: tuple[str, ...]) -> None:
    """Write down the end of programs that were lost with their runner.

    Args:
        journal: The session's ledger.
        actions: Those that started them.
    """
    for action in actions:
        await journal.record(
            event.ProcessEnded(
                action=action,
                outcome="sandbox_failed",
                exit_code=None,
                duration_ms=0,
                output_bytes=0,
                detail=_LOST,
            )
        )
