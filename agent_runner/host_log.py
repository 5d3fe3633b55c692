"""Look at the host's log again only where it has changed since, for whoever looks often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.index import read_index
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

    from audit.index import HostIndex


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what differs once a file that is appended to, or replaced, was; empty where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size)


class HostLogLook:
    """The host's log as it stands, read when it is first wanted.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._files = StateFiles(state)
        self._stamp: tuple[int, ...] = ()
        self._index: HostIndex | None = None

    def index(self) -> HostIndex:
        """Return it.

        Raises:
            audit.errors.LedgerLockedError: When a writer keeps everybody else waiting for too long.
        """
        stamp = stamp_of(self._files.log)  # first: what is written meanwhile is seen the next time
        if self._index is None or stamp != self._stamp:
            self._index, self._stamp = read_index(self._files), stamp
        return self._index
