"""Remember how long the logs were when a person looked at what sessions left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """The lengths of the logs at one moment; by default nobody has looked at anything."""

    log_bytes: int = 0
    """The host's log."""
    ledgers: Mapping[str, int] = field(default_factory=dict)
    """Session -> bytes of its ledger; 0 where there is none."""

    @classmethod
    def now(cls, state: Path, sessions: Iterable[str]) -> Since:
        """Return how long they are at this moment."""
        files = StateFiles(state)
        return cls(
            log_bytes=_size(files.log),
            ledgers={session: _ledger_bytes(files, session) for session in sessions},
        )

    def grew(self, state: Path, session: str) -> bool:
        """Tell whether a session's ledger is another since."""
        return _ledger_bytes(StateFiles(state), session) != self.ledgers.get(session, 0)


def _ledger_bytes(files: StateFiles, session: str) -> int:
    return sum(_size(path) for _, path in files.session(session).segments())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
