"""Hold the rule across sessions: read, raise and lower a workspace's label; each change is recorded."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.errors import NoFactsError, RefusedError
from agent_runner.meta import POLICY, read_meta
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import LabelChanged
from audit.host import HostLog
from audit.lock import is_held
from audit.state import StateFiles
from policies.capability import in_order
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Allowed, Denied
from policies.source import parse_policy
from sandbox.stage.labels import LabelChange, Labels
from sandbox.workspace import WorkspaceIdentity, birth_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    whole = label_around(state, workspace.identity)
    _refuse(decide_lineage(grant, whole))
    _refuse(decide_lineage(grant, _moved_inside(state, workspace.identity, grant, whole)))


def _moved_inside(state: Path, workspace: WorkspaceIdentity, grant: Grant, whole: Label) -> Label:
    """Add the labels of folders that were moved into the workspace since they were labelled.

    It is looked for, folder by folder, only where there is a label that would matter and whose path no longer
    leads to its folder.
    """
    matters = {
        (identity.device, identity.inode): (identity, label)
        for identity, label in labels_of(state).all()
        if isinstance(decide_lineage(grant, whole.joined(label)), Denied) and not _is_there(identity)
    }
    for folder, names, _ in os.walk(workspace.path) if matters else ():
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - of a whole tree, as text
            with suppress(OSError):
                status = os.lstat(path)
                found = matters.get((status.st_dev, status.st_ino))
                if found is not None and birth_ns(path) == found[0].birth_ns:
                    whole = whole.joined(found[1])
    return whole


def _is_there(identity: WorkspaceIdentity) -> bool:
    """Tell whether a labelled folder is still where it was labelled."""
    try:
        status = os.lstat(identity.path)
    except OSError:
        return False
    return (status.st_ino, birth_ns(identity.path)) == (identity.inode, identity.birth_ns)


def labels_beside(state: Path, workspace: WorkspaceIdentity) -> tuple[tuple[WorkspaceIdentity, Label], ...]:
    """Return the labels of folders inside a workspace and around it, its own not among them."""
    return tuple(
        (other, label)
        for other, label in labels_of(state).all()
        if label.contributions and not other.same_folder(workspace) and _overlap(workspace, other)
    )


def label_around(state: Path, workspace: WorkspaceIdentity) -> Label:
    """Return the label of a workspace, joined with those of the folders inside it and around it."""
    labels = labels_of(state)
    whole = labels.read(workspace)
    for other, label in labels.all():
        if _overlap(workspace, other):
            whole = whole.joined(label)
    return whole


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
        if running is not None and _overlap(workspace, running[0]) and (writes or running[2]):
            beside = Label((Contribution(other, running[1].capabilities),))
            _refuse(decide_lineage(grant, beside))


def _running(folder: Path) -> tuple[WorkspaceIdentity, Grant, bool] | None:
    """Return where a running session works, what it holds, and whether it writes there at once."""
    try:
        meta = read_meta(folder)
        policy = parse_policy((folder / POLICY).read_text("utf-8"), origin=str(folder / POLICY))
    except (NoFactsError, OSError):
        return None  # it has only begun: it will look for us when it has registered
    if meta.workspace is None or policy.files is None:
        return None
    place = WorkspaceIdentity(device=0, inode=0, birth_ns=0, path=meta.workspace)
    return place, policy.grant, policy.files.access == "direct"


def _overlap(one: WorkspaceIdentity, other: WorkspaceIdentity) -> bool:
    """Tell whether one folder is the other, or lies within it: by name, and by what the names lead to."""
    if one.path == other.path or one.same_folder(other):
        return True
    inner, outer = sorted((Path(one.path), Path(other.path)), key=lambda path: len(path.parts), reverse=True)
    if inner.is_relative_to(outer):
        return True
    try:
        reached = outer.stat()
        return any((up.st_dev, up.st_ino) == (reached.st_dev, reached.st_ino) for up in _upwards(inner))
    except OSError:
        return False


def _upwards(folder: Path) -> Iterator[os.stat_result]:
    return (parent.stat() for parent in folder.parents)


def _refuse(decision: Allowed | Denied) -> None:
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
    """Take the label off, because a person reviewed what is in the workspace; return what it was.

    Folders inside it were reviewed with it; folders around it were not.
    """
    labels = labels_of(state)
    for other, _ in labels_beside(state, workspace):
        if Path(other.path).is_relative_to(workspace.path):
            reviewed(state, other)
    sessions = frozenset(part.session for part in labels.read(workspace).contributions)
    why = f"reviewed by {who()}"
    return labels.lower(workspace, sessions, noted=lambda change: _record(state, change, why=why)).before


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
