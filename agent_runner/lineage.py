"""Hold the rule across sessions: read, raise and lower a workspace's label; each change is recorded."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from agent_runner.descent import kept_line, line_of
from agent_runner.errors import InvalidInputError, NoFactsError, RefusedError
from agent_runner.lineage_places import Place, joined, moved_here, near, overlap
from agent_runner.meta import POLICY, read_meta
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import LabelChanged
from audit.host import HostLog
from audit.lock import is_held
from audit.state import StateFiles
from policies.capability import in_order
from policies.errors import PolicyError
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Allowed, Denied
from policies.source import parse_policy
from sandbox.stage.labels import LabelChange, Labels
from sandbox.workspace import WorkspaceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent_runner.lineage_places import Unreviewed
    from agent_runner.request import SessionRequest
    from policies.grant import Grant
    from sandbox.workspace import Workspace


def labels_of(state: Path) -> Labels:
    """Return the labels of a state folder."""
    return Labels(state / "workspaces")


def require_lineage(state: Path, workspace: Workspace, grant: Grant) -> None:
    """Refuse a session whose grant, joined with the workspace's label, would make three.

    The label of a folder inside the workspace, or around it, counts like its own: what is there can be read.

    Raises:
        RefusedError: When it would; it names the sessions that made the label.
        sandbox.stage.errors.LabelError: When the label cannot be read, which is never an empty label.
    """
    labels, identity = labels_of(state), workspace.identity
    known = near(labels, identity)
    _refuse(decide_lineage(grant, known.whole))
    if isinstance(decide_lineage(grant, known.most), Denied):  # only then is it worth to look for moved ones
        moved = joined(found.label for found in moved_here(known, identity))
        _refuse(decide_lineage(grant, known.whole.joined(moved)))


def hold_lineage(request: SessionRequest, session: str) -> None:
    """Look at what runs beside a session, now that others can see it; label what it writes at once.

    Raises:
        RefusedError: When it would, with what runs beside or was left in its workspace, hold all three.
    """
    files, workspace = request.policy.files, request.workspace
    if workspace is None or files is None:
        return
    writes = files.access == "direct"
    grant = line_of(request.policy.grant, request.descent)
    require_lineage_beside(request.state, workspace.identity, session, grant, writes=writes)
    require_lineage(request.state, workspace, grant)
    if writes:
        why = "the session writes in the workspace directly"
        wrote_unreviewed(request.state, workspace.identity, session, grant, why=why)


def require_lineage_beside(
    state: Path, workspace: WorkspaceIdentity, session: str, grant: Grant, *, writes: bool
) -> None:
    """Refuse what would bring three together with a session that runs beside it on the same files.

    Two sessions that only stage do not see each other's changes; one that writes at once is seen by both.

    Args:
        state: The state folder.
        workspace: The folder.
        session: Who asks; it is registered already, so that of two that start at once one sees the other.
        grant: What it holds.
        writes: Whether it writes in the workspace at once.

    Raises:
        RefusedError: When it would.
    """
    files = StateFiles(state)
    for other in tuple(files.session_ids()):
        if other == session or not is_held(files.session(other).lock):
            continue
        running = _running(files.session(other).folder)
        if running is not None and overlap(workspace, running[0]) and (writes or running[2]):
            beside = Label((Contribution(other, running[1].capabilities),))
            _refuse(decide_lineage(grant, beside))


def _running(folder: Path) -> tuple[WorkspaceIdentity, Grant, bool] | None:
    """Return where a running session works, what it holds, and whether it writes there at once."""
    try:
        meta = read_meta(folder)
        text = (folder / POLICY).read_text("utf-8")
        policy = parse_policy(text, origin=str(folder / POLICY), resolved=True)
    except (NoFactsError, OSError):
        return None  # it has only begun: it will look for us when it has registered
    except PolicyError as error:
        raise RefusedError(
            f"session `{folder.name}` is running, and what it may do cannot be read: {error}",
            hint=f"`pairlock stop {folder.name}`, then try again",
        ) from error
    if meta.workspace is None or policy.files is None:
        return None
    place = WorkspaceIdentity(device=0, inode=0, birth_ns=0, path=meta.workspace)
    return place, kept_line(folder, policy.grant), policy.files.access == "direct"


def _refuse(decision: Allowed | Denied) -> None:
    if isinstance(decision, Denied):
        reason = decision.reasons[0]
        raise RefusedError(reason.message, hint=reason.hint)


def wrote_unreviewed(
    state: Path, workspace: WorkspaceIdentity, session: str, grant: Grant, *, why: str
) -> None:
    """Label a workspace with a session that writes in it, or whose changes nobody looked at.

    Args:
        state: The state folder.
        workspace: The folder.
        session: Whose writes.
        grant: What counts as exercised: of a session that goes on, and may use it yet, all that it holds.
        why: For the host's log.
    """
    added = Label((Contribution(session, grant.capabilities),))
    labels_of(state).raise_to(workspace, added, noted=lambda change: _record(state, change, why=why))


def endorse(state: Path, workspace: WorkspaceIdentity, shown: Iterable[Unreviewed]) -> None:
    """Take off the labels that a person was shown, because they reviewed what is in the workspace.

    A folder around it was not reviewed and keeps its label. So does one that is gone: it may be somewhere
    else, where its label follows it; it only counts no longer where it was.

    Args:
        state: The state folder.
        workspace: The folder that was reviewed.
        shown: What `unreviewed` found and the person saw; nothing else is taken off.

    Raises:
        InvalidInputError: When a session that runs is writing in it.
    """
    _refuse_writing(state, workspace)
    why, labels = f"reviewed by {who()}", labels_of(state)

    def noted(change: LabelChange) -> None:
        _refuse_writing(state, workspace)  # one may have been resumed; a label it raises now comes after this
        _record(state, change, why=why)

    for found in shown:
        match found.place:
            case Place.HERE | Place.INSIDE:
                sessions = frozenset(part.session for part in found.label.contributions)
                labels.lower(found.folder, sessions, noted=noted)
            case Place.GONE:
                _leave(state, found.folder, why=f"its folder is there no longer: {why}")
            case Place.AROUND:
                pass
            case unknown:
                assert_never(unknown)


def removed(state: Path, folder: WorkspaceIdentity) -> None:
    """Take the label off a folder of pairlock's own that was removed with everything in it.

    Raises:
        InvalidInputError: When it is still there.
    """
    if os.path.lexists(folder.path):
        raise InvalidInputError(f"`{folder.path}` is still there, and keeps its label")
    labels, why = labels_of(state), "the folder was removed"
    sessions = frozenset(part.session for part in labels.read(folder).contributions)
    labels.lower(folder, sessions, noted=lambda change: _record(state, change, why=why))


def _leave(state: Path, folder: WorkspaceIdentity, *, why: str) -> None:
    """Keep a folder's label without the path at which the folder no longer is."""

    def noted(change: LabelChange) -> None:
        _record(state, replace(change, workspace=folder), why=why)

    labels_of(state).lower(replace(folder, path=""), frozenset(), noted=noted)


def _refuse_writing(state: Path, workspace: WorkspaceIdentity) -> None:
    """Refuse to call a folder reviewed in which a session is writing: it labelled it once, at its start."""
    files = StateFiles(state)
    for session in tuple(files.session_ids()):
        if not is_held(files.session(session).lock):
            continue
        running = _running(files.session(session).folder)
        if running is not None and running[2] and overlap(workspace, running[0]):
            raise InvalidInputError(f"session `{session}` is writing in it", hint="wait for its end")


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
                contributions=tuple(
                    f"{part.session} {'+'.join(in_order(part.exercised))}"
                    for part in change.after.contributions
                ),
                merged=change.merged,
            )
        )
