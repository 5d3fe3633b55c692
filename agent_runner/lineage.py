"""Hold the rule across sessions: read, raise and lower a workspace's label; each change is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.errors import RefusedError
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import LabelChanged
from audit.host import HostLog
from policies.capability import in_order
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Denied
from sandbox.stage.labels import LabelChange, Labels

if TYPE_CHECKING:
    from pathlib import Path

    from policies.grant import Grant
    from sandbox.workspace import Workspace, WorkspaceIdentity


def labels_of(state: Path) -> Labels:
    """Return the labels of a state folder."""
    return Labels(state / "workspaces")


def require_lineage(state: Path, workspace: Workspace, grant: Grant) -> None:
    """Refuse a session whose grant, joined with the workspace's label, would make three.

    Raises:
        RefusedError: When it would; it names the sessions that made the label.
        sandbox.stage.errors.LabelError: When the label cannot be read, which is never an empty label.
    """
    decision = decide_lineage(grant, labels_of(state).read(workspace.identity))
    if isinstance(decision, Denied):
        reason = decision.reasons[0]
        raise RefusedError(reason.message, hint=reason.hint)


def wrote_unreviewed(
    state: Path, workspace: WorkspaceIdentity, session: str, grant: Grant, *, why: str
) -> None:
    """Label a workspace with a session that writes in it, or whose changes nobody looked at.

    The whole grant counts as exercised: what its programs did with it, nobody watched.
    """
    added = Label((Contribution(session, grant.capabilities),))
    _record(state, labels_of(state).raise_to(workspace, added), why=why)


def reviewed(state: Path, workspace: WorkspaceIdentity) -> Label:
    """Take the label off, because a person reviewed what is in the workspace; return what it was."""
    labels = labels_of(state)
    before = labels.read(workspace)
    sessions = frozenset(part.session for part in before.contributions)
    _record(state, labels.lower(workspace, sessions), why=f"reviewed by {who()}")
    return before


def _record(state: Path, change: LabelChange, *, why: str) -> None:
    with HostLog(state, writer=pairlock_version()) as log:
        log.append(
            LabelChanged(
                workspace=change.workspace.path,
                identity=change.workspace.key,
                before=in_order(change.before.capabilities),
                after=in_order(change.after.capabilities),
                sessions=tuple(
                    part.session for part in (change.after.contributions or change.before.contributions)
                ),
                why=why,
            )
        )
