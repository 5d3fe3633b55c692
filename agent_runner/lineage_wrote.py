"""Say what a session wrote in a workspace, as far as ledgers tell: what a person has to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.meta import capabilities_of
from audit import event
from audit.errors import AuditError
from audit.reader import SessionReader
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from audit.index import HostIndex

_WROTE: Final = frozenset({"created", "changed", "removed", "moved"})
_DIRECT: Final = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """What a session wrote."""

    paths: tuple[str, ...]
    """Relative to its workspace, sorted, each once; not escaped."""
    programs: bool = False
    """Whether programs of it could write there themselves: no list is whole then."""
    unknown: bool = False
    """Whether its ledger cannot be read."""


def wrote(
    state: Path, session: str, applied: Mapping[str, Sequence[str]], index: HostIndex | None = None
) -> Wrote:
    """Return what a session wrote.

    Args:
        state: The state folder.
        session: Its id.
        applied: What `applied_by` found.
        index: The host's log, where it was read already.
    """
    paths, direct, programs, runs = set(applied.get(session, ())), False, False, True
    try:
        for _, happened in SessionReader(state, session, index=index).events():
            match happened:
                case event.SessionOpened(grant=grant):
                    runs = Capability.EXEC in capabilities_of(grant)  # else only connectors start programs
                case event.SandboxCreated(stage_strategy=strategy):
                    direct = direct or strategy == _DIRECT
                case event.ProcessStarted():
                    programs = True
                case event.ActionFinished(files=files) if direct:
                    used = [use for use in files if use.access in _WROTE]
                    paths |= {path for use in used for path in (use.path, use.moved_to) if path}
                case _:
                    pass
    except (AuditError, OSError):
        return Wrote(paths=tuple(sorted(paths)), unknown=True)
    return Wrote(paths=tuple(sorted(paths)), programs=direct and programs and runs)
