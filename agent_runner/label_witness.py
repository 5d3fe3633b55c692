"""Say what a session surely exercised in a workspace that it wrote in at once, by its own ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.meta import capabilities_of
from audit import event
from audit.reader import SessionReader
from cli_tools.catalogue import built_in
from policies.capability import Capability

if TYPE_CHECKING:
    from pathlib import Path

    from audit.index import HostIndex


def surely_exercised(state: Path, session: str, index: HostIndex) -> frozenset[Capability]:
    """Return what came to its end, and so had to be on a label before; nothing where changes are staged.

    Args:
        state: The state folder.
        session: Whose ledger.
        index: The host's log, read.

    Raises:
        audit.errors.AuditError: When its ledger cannot be read.
    """
    needs = {" ".join(command.path): command.needs for command in built_in().commands}
    asked: dict[str, frozenset[Capability]] = {}
    found, direct = frozenset[Capability](), False
    for _, happened in SessionReader(state, session, index=index).events():
        match happened:
            case event.SandboxCreated(stage_strategy=strategy):
                direct = strategy == "direct"
                if not direct:
                    return frozenset()
            case event.ActionIntended(action=action, command=command):
                asked[action] = needs.get(command, frozenset())
            case event.ProcessStarted():
                found |= {Capability.EXEC}
            case event.EgressOpened(verdict="allowed"):
                found |= {Capability.NETWORK}
            case event.ActionFinished(action=action, outcome="ok"):
                found |= asked.get(action, frozenset())
            case _:
                pass
    return found & _granted(session, index) if direct else frozenset()


def _granted(session: str, index: HostIndex) -> frozenset[Capability]:
    """Return what it held: a connector's program is started elsewhere, and is no `exec` of the session's."""
    registered = index.session(session).registered
    return capabilities_of(registered.grant) if registered else frozenset(Capability)
