"""Say what a session exercised of what it held, from its ledger; in doubt, all of it.

An action's entry is durable before it acts, and so is a connection's: what is not in the ledger was not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.descent import carried, kept_line
from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from audit import event
from audit.errors import AuditError
from audit.reader import SessionReader
from cli_tools.catalogue import built_in
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from audit.fields import Event
    from policies.grant import Grant


class _ProgramsRanError(Exception):
    """Raised when programs had a part in it, which nobody watched, or nobody knows who had."""


def exercised(folder: Path, grant: Grant) -> frozenset[Capability]:
    """Return what counts as exercised by a session.

    `files` counts as soon as it is held. As soon as a program ran, or another session below it, everything
    that was held counts, and so does what a delegated session has from those above it. What unreviewed work
    in its workspace had exercised counts as well: what the session wrote may be made of that.

    Args:
        folder: The session's folder, in the state folder.
        grant: What its policy grants.

    Raises:
        audit.errors.AuditError: When the host's log cannot be read.
    """
    try:
        if read_meta(folder).parent:
            return kept_line(folder, grant)
        own = used(folder.parent.parent, folder.name, grant)
    except (NoFactsError, AuditError, OSError):
        return kept_line(folder, grant)
    return own | carried(folder)


def used(state: Path, session: str, grant: Grant) -> frozenset[Capability]:
    """Return what a session itself exercised of its grant, as its ledger tells.

    Raises:
        audit.errors.AuditError: When its ledger cannot be read.
    """
    reader = SessionReader(state, session)
    try:
        found = _used(happened for _, happened in reader.events())
    except _ProgramsRanError:
        return grant.capabilities
    return grant.capabilities & (found | {Capability.FILES})


def _used(events: Iterable[Event]) -> frozenset[Capability]:
    """Return what a session's own commands used.

    Raises:
        _ProgramsRanError: When something else may have used anything, or the ledger does not begin.
    """
    needs = {" ".join(command.path): command.needs for command in built_in().commands}
    network, begun = False, False
    asked: dict[str, frozenset[Capability]] = {}
    for happened in events:
        match happened:
            case event.SessionOpened():
                begun = True
            case event.ActionIntended(verdict="denied"):
                pass
            case event.ActionIntended(action=action, command=command):
                also = asked.get(action, frozenset())
                asked[action] = also | needs.get(command, frozenset(Capability))
            case event.ActionFinished(action=action, outcome="denied"):
                asked.pop(action, None)  # a person was asked, and it was not done
            case event.ProcessStarted() | event.SessionDelegated():
                raise _ProgramsRanError
            case event.EgressOpened() | event.EgressRequested() | event.EgressClosed():
                network = True
            case _:
                pass
    found = frozenset({Capability.NETWORK} if network else ()).union(*asked.values())
    if not begun or Capability.EXEC in found:
        raise _ProgramsRanError
    return found
