"""Hold the rule across sessions: read, raise and lower a workspace's label; each change is recorded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.descent import carried
from agent_runner.errors import InvalidInputError
from agent_runner.label_log import came_beside_each
from agent_runner.lineage_beside import refuse_who_wrote, refuse_writing, require_lineage_beside
from agent_runner.lineage_places import Place, joined, moved_here, near, unreviewed
from agent_runner.lineage_told import cannot_go_on, refusal
from agent_runner.meta import note_found
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import LabelChanged
from audit.host import HostLog
from audit.state import StateFiles
from policies.capability import in_order
from policies.lineage import Contribution, Label, decide_lineage
from policies.request import Denied
from sandbox.stage.labels import LabelChange, Labels
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from agent_runner.lineage_places import Unreviewed
    from agent_runner.request import SessionRequest
    from policies.capability import Capability
    from policies.grant import Grant
    from sandbox.workspace import Workspace, WorkspaceIdentity

NOTHING: Final = Label()


def labels_of(state: Path) -> Labels:
    """Return the labels of a state folder."""
    return Labels(state / "workspaces")


def require_lineage(state: Path, workspace: Workspace, grant: Grant, brought: Label = NOTHING) -> Label:
    """Refuse a session whose grant, joined with the workspace's label, would make three.

    The label of a folder inside the workspace, or around it, counts like its own: what is there can be read.

    Args:
        state: The state folder.
        workspace: The folder.
        grant: What the session holds.
        brought: What it brings along, from the sessions above it and from its own life so far.

    Returns:
        What counts for the workspace.

    Raises:
        RefusedError: When it would; it names the sessions that made the label.
        sandbox.stage.errors.LabelError: When the label cannot be read, which is never an empty label.
    """
    identity = workspace.identity
    known = near(labels_of(state), identity)
    counting = _grown(state, known.placed)
    _refuse(grant, identity, counting, brought)
    if not known.most.capabilities <= known.whole.capabilities:  # only then is it worth to look
        counting = (*counting, *_grown(state, moved_here(known, identity)))
        _refuse(grant, identity, counting, brought)
    return joined(found.label for found in counting)


def require_lineage_sent(state: Path, folder: WorkspaceIdentity, grant: Grant) -> None:
    """Refuse to give files of a folder to a session that has no workspace, where that would make three.

    Args:
        state: The state folder.
        folder: Where the files lie. They were read before: who wrote them had raised the label before that.
        grant: What the session holds.

    Raises:
        RefusedError: When it would; it names the sessions that made the label.
        sandbox.stage.errors.LabelError: When a label cannot be read.
    """
    _refuse(grant, folder, _grown(state, unreviewed(labels_of(state), folder)), NOTHING)


def counting_for(state: Path, workspace: WorkspaceIdentity) -> Label:
    """Return all that counts for a folder, as one label: for what is copied from it.

    Raises:
        sandbox.stage.errors.LabelError: When a label cannot be read.
    """
    return joined(found.label for found in _grown(state, unreviewed(labels_of(state), workspace)))


def _grown(state: Path, counting: Sequence[Unreviewed]) -> tuple[Unreviewed, ...]:
    """Let who wrote around a folder count with what came while they ran, from places that it does not see.

    They may have carried it over after they had last raised their own part.
    """
    return tuple(
        replace(found, label=found.label.joined(_came(state, found)))
        if found.place is Place.AROUND
        else found
        for found in counting
    )


def _came(state: Path, found: Unreviewed, *, but: AbstractSet[str] = frozenset()) -> Label:
    """Return what came in reach of a labelled folder while those ran who are on its label."""
    sessions = [part.session for part in found.label.contributions if part.session not in but]
    came = came_beside_each(state, sessions, found.folder)
    return Label(tuple(Contribution(session, held) for session, held in came.items()))


def hold_lineage(request: SessionRequest, session: str) -> frozenset[Capability]:
    """Look at what runs beside a session, now that others can see it, and note what it finds unreviewed.

    Returns:
        What sessions had exercised whose writes nobody has reviewed, and which it can read.

    Raises:
        RefusedError: When it would, with what runs beside or was left in its workspace, hold all three.
    """
    files, workspace = request.policy.files, request.workspace
    if workspace is None or files is None:
        return frozenset()
    state, grant = request.state, request.policy.grant
    folder = StateFiles(state).session(session).folder
    above = request.descent.line if request.descent else frozenset()
    brought = above | carried(folder)
    require_lineage_beside(
        state, workspace.identity, session, grant.capabilities | brought, writes=files.access == "direct"
    )
    whose = request.descent.parent if request.descent else session
    own = Label((Contribution(whose, brought),))
    if whose == session and isinstance(decide_lineage(grant, own), Denied):
        raise cannot_go_on(session, grant, brought)
    found = require_lineage(state, workspace, grant, own).capabilities
    note_found(folder, found)
    return found


def _refuse(
    grant: Grant, workspace: WorkspaceIdentity, counting: Sequence[Unreviewed], brought: Label
) -> None:
    whole = joined(found.label for found in counting).joined(brought)
    if isinstance(decide_lineage(grant, whole), Denied):
        raise refusal(grant, workspace, counting, brought)


def wrote_unreviewed(
    state: Path, workspace: WorkspaceIdentity, session: str, exercised: frozenset[Capability], *, why: str
) -> None:
    """Label a workspace with a session that writes in it, or whose changes nobody looked at.

    Args:
        state: The state folder.
        workspace: The folder.
        session: Whose writes.
        exercised: What counts as exercised by it.
        why: For the host's log.

    Raises:
        sandbox.stage.errors.LabelError: When the label cannot be read or written.
        audit.errors.LedgerError: When the change cannot be written down; the label may hold it already.
    """
    added = Label((Contribution(session, exercised),))
    labels_of(state).raise_to(workspace, added, noted=noted_as(state, why=why))


def label_copy(state: Path, copy: WorkspaceIdentity, whole: Label, *, why: str) -> None:
    """Let what counts where something is copied from count for the copy; noted only where that is new."""
    labels = labels_of(state)
    there = labels.read(copy)
    if there.joined(whole) != there:
        labels.raise_to(copy, whole, noted=noted_as(state, why=why))


def endorse(state: Path, workspace: WorkspaceIdentity, shown: Iterable[Unreviewed]) -> None:
    """Take off the labels that a person was shown, because they reviewed what is in the workspace.

    A folder around it was not reviewed and keeps its label. So does one that is gone: it may be somewhere
    else, where its label follows it; it only counts no longer where it was.

    Args:
        state: The state folder.
        workspace: The folder that was reviewed.
        shown: What `unreviewed` found and the person saw; nothing else is taken off.

    Raises:
        InvalidInputError: When a session that runs is writing in it, or one of those shown wrote since.
    """
    why, labels, shown = f"reviewed by {who()}", labels_of(state), tuple(shown)

    def still_as_shown() -> None:
        refuse_writing(state, workspace)
        for found in shown:
            refuse_who_wrote(state, found.since, (part.session for part in found.label.contributions))

    def noted(change: LabelChange) -> None:
        still_as_shown()  # one may have been resumed; a label it raises now comes after this
        _record(state, change, why=why)

    still_as_shown()
    _deepen(state, workspace, shown)
    for found in shown:
        match found.place:
            case Place.HERE | Place.INSIDE:
                labels.lower(found.folder, found.label, noted=noted)
            case Place.GONE:
                _leave(state, found.folder, why=f"its folder is there no longer: {why}")
            case Place.AROUND:
                pass
            case unknown:
                assert_never(unknown)


def _deepen(state: Path, workspace: WorkspaceIdentity, shown: Sequence[Unreviewed]) -> None:
    """Let who stays on any label in reach count with what came while they ran: it may be in what they wrote.

    It stood beside theirs, on this label or on one inside or around it; now it may be taken off alone.
    """
    taken = {
        found.folder.key: {part.session for part in found.label.contributions}
        for found in shown
        if found.place in {Place.HERE, Place.INSIDE}
    }
    why = "it wrote while others did, whose part is reviewed"
    for found in unreviewed(labels_of(state), workspace) if shown else ():
        came = _came(state, found, but=taken.get(found.folder.key, frozenset()))
        if found.label.joined(came) != found.label:
            labels_of(state).raise_to(found.folder, came, noted=noted_as(state, why=why))


def removed(state: Path, folder: WorkspaceIdentity) -> None:
    """Take the label off a folder of pairlock's own that was removed with everything in it.

    Raises:
        InvalidInputError: When it is still there.
    """
    with suppress(OSError):
        if folder.same_folder(identity_of(Path(folder.path))):
            raise InvalidInputError(f"`{folder.path}` is still there, and keeps its label")
    labels, why = labels_of(state), "the folder was removed"
    label = labels.read(folder)
    if label.contributions:
        labels.lower(folder, label, noted=noted_as(state, why=why))


def _leave(state: Path, folder: WorkspaceIdentity, *, why: str) -> None:
    """Keep a folder's label without the path at which the folder no longer is."""

    def noted(change: LabelChange) -> None:
        _record(state, replace(change, workspace=folder), why=why)

    labels_of(state).lower(replace(folder, path=""), NOTHING, noted=noted)


def noted_as(state: Path, *, why: str) -> Callable[[LabelChange], None]:
    """Return what writes a change of a label to the host's log."""
    return lambda change: _record(state, change, why=why)


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
