"""Place entries on a session's running time: while it lies interrupted, none passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from audit.chain import Entry

_BEGINS: Final = ("log.opened", "session.recovered")


class RunningTime:
    """Makes one time that never falls out of monotonic times, which compare within one run only.

    Attributes:
        interruptions: Where, in milliseconds, another runner took over.
        now_ms: The time of the last entry, in milliseconds.
    """

    def __init__(self) -> None:
        self._base_us = 0
        self._began_us = 0
        self._latest_us = 0
        self.interruptions: list[int] = []

    def place(self, entry: Entry) -> int:
        """Return the entry's time in milliseconds; entries have to come in order."""
        if entry.type in _BEGINS:
            self._base_us += self._latest_us - self._began_us
            self._began_us = self._latest_us = entry.mono_us
            if entry.type == "session.recovered":
                self.interruptions.append(self._base_us // 1000)
        self._latest_us = max(self._latest_us, entry.mono_us)
        return self.now_ms

    @property
    def now_ms(self) -> int:
        """The time of the last entry, in milliseconds."""
        return (self._base_us + self._latest_us - self._began_us) // 1000
