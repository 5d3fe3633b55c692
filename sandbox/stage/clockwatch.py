"""Notice that the clock is set back while a session runs, and keep that: stamps tell what a file was."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.stage.layout import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.stage.moment import Moment


@dataclass(slots=True)
class ClockWatch:
    """Watches the clock for one session."""

    moment: Moment
    """When the session started."""
    marker: Path
    """Is made once the clock was seen set back (`StageFolder.set_back`); it outlives the session."""
    seen: bool = False
    kept: bool = False

    def look(self) -> None:
        """Look at the clock; once it was set back, that stays, also when it is set forward again."""
        self.seen = self.seen or not self.moment.holds()
        if self.seen and not self.kept:
            with suppress(OSError):  # a full disk ends the session elsewhere; the next look tries again
                write_private(self.marker, b"")
                self.kept = True
