"""Say what a session exercised of what it held, from its ledger; in doubt, all of it.

An action's entry is durable before it acts, and so is a connection's: what is not in the ledger was not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.descent import kept_line
from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from audit import event
from audit.errors import AuditError
from audit.reader import SessionReader
from cli_tools.catalogue import built_in
from policies.capability import Capability
from policies.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from audit.fields import Event


class _ProgramsRanError(Exception):
    """Raised when programs had a part in it, which nobody watched, or nobody knows who had."""


def exercised(folder: Path, grant: Grant) -> Grant:
    """Return what counts as exercised by a session.

    `files` counts as soon as it is held. As soon as a program ran, or another session below it, everything
    that was held counts, and so does what a delegated session has from those above it.

    Args:
        folder: The session's folder, in the state folder.
        grant: What its policy grants.
    """
    held = kept_line(folder, grant)
    try:
        if read_meta(folder).parent:
            return held
        reader = SessionReader(folder.parent.parent, folder.name)
        used = _used(happened for _, happened in reader.events())
    except (NoFactsError, AuditError, OSError, _ProgramsRanError):
        return held
    return Grant.of(held.capabilities & (used | {Capability.FILES}))


def _used(events: Iterable[Event]) -> frozenset[Capability]:
    """Return what a session's own commands used.

    Raises:
        _ProgramsRanError: When something else may have used anything, or the ledger does not begin.
    """
    needs = {" ".join(command.path): command.needs for command in built_in().commands}
    used: frozenset[Capability] = frozenset()
    begun = False
    for happened in events:
        match happened:
            case event.SessionOpened():
                begun = True
            case event.ActionIntended(verdict="denied"):
                pass
            case event.ActionIntended(command=command):
                used |= needs.get(command, frozenset(Capability))
            case event.ProcessStarted() | event.SessionDelegated():
                raise _ProgramsRanError
            case event.EgressOpened() | event.EgressRequested() | event.EgressClosed():
                used |= {Capability.NETWORK}
            case _:
                pass
    if not begun or Capability.EXEC in used:
        raise _ProgramsRanError
    return used
