"""Go on with a stage that exists: the agent's changes stay, what the user did meanwhile shows through."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.stage.apply import recover
from sandbox.stage.base import Learnt, save_learnt
from sandbox.stage.beneath import Beneath
from sandbox.stage.changes import compute_changes, removed_paths
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import StageError
from sandbox.stage.hidden import build_hidden_layer
from sandbox.stage.layout import StageFolder, write_private
from sandbox.stage.opened import open_stage
from sandbox.stage.record import Record
from sandbox.stage.scan import Scan, scan
from sandbox.stage.start import can_tell_later, save_record
from sandbox.stage.strategy import Access, Copy, Overlay, OverlayOnCopy, StageFacts, StagePlan, about_plan
from sandbox.stage.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.stage.apply import Recovery
    from sandbox.stage.base import Seen
    from sandbox.stage.layout import WalkMatcher
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.start import Start
    from sandbox.stage.upper import UpperTree
    from sandbox.workspace import Workspace


def resume_stage(
    workspace: Workspace,
    session_folder: Path,
    *,
    hide: WalkMatcher,
    executable: bool,
    noted: Callable[[Recovery], None] = lambda _: None,
) -> StagePlan:
    """Return the plan of a writable stage that was made before, ready to be mounted or sent again.

    The workspace is scanned again: what must be hidden now is covered, and what the agent has not changed
    gets a new base, since the agent sees it as it is now. What the agent has changed keeps the base it had.

    Args:
        workspace: The user's folder; it must be the one that the session started on.
        session_folder: The session's folder; its old container must be gone.
        hide: What the agent must not see.
        executable: Whether the session holds `exec`.
        noted: Told of an apply that was killed and is finished first.

    Raises:
        StageError: When there is no such stage, it is not writable, or the workspace is another folder.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    with open_stage(session_folder) as stage:
        recover(stage, noted=noted)
        if not stage.workspace.same_folder(workspace.identity):
            raise StageError("the session started on another workspace", hint="pass the one it started on")
        kept = _kept(stage)
    about = json.loads(folder.about.read_bytes())
    if about["access"] != Access.STAGE.value:
        raise StageError("only a session with `access: stage` leaves a stage to go on with")
    found = scan(workspace.path, hide)
    facts = _facts(workspace, folder, found, about, executable=executable)
    plan = _plan(facts, found.start, str(about["strategy"]))
    if not isinstance(plan, OverlayOnCopy):
        _refresh_record(plan, found, kept)
    write_private(folder.about, about_plan(plan))
    return plan


def _facts(
    workspace: Workspace, folder: StageFolder, found: Scan, about: dict[str, object], *, executable: bool
) -> StageFacts:
    return StageFacts(
        workspace=workspace,
        folder=folder,
        access=Access.STAGE,
        executable=executable,
        uid=int(str(about["uid"])),
        gid=int(str(about["gid"])),
        entries=len(found.start) - 1,
        folders=found.watched,
        hidden=tuple(sorted({*found.hidden, *found.linked})),
        special=found.special,
        unreadable=found.unreadable,
        other_mounts=found.other_mounts,
        scan_seconds=found.seconds,
        moment=found.start.moment,
        reason=f"the session goes on as it was: {str(about['reason']).removeprefix(_AGAIN)}",
    )


_AGAIN = "the session goes on as it was: "


def _plan(facts: StageFacts, start: Start, strategy: str) -> StagePlan:
    folder = facts.folder
    if strategy == Copy.__name__:
        return _copy(facts, start)
    if strategy == OverlayOnCopy.__name__:
        # The copy holds only what was visible at the start, and nothing was added to it since.
        return OverlayOnCopy(facts=facts, lower=(folder.base,), upper=folder.upper, work=folder.work)
    remove_tree(folder.hidden)
    folder.hidden.mkdir(mode=0o700)
    lower: tuple[Path, ...] = (facts.workspace.path,)
    if facts.absent:
        try:
            build_hidden_layer(folder.hidden, facts.workspace.path, facts.absent)
        except PermissionError:
            return _copy(replace(facts, reason="this user cannot make whiteouts in the state folder"), start)
        lower = (folder.hidden, *lower)
    return Overlay(facts=facts, lower=lower, upper=folder.upper, work=folder.work)


def _copy(facts: StageFacts, start: Start) -> Copy:
    """Return the plan of a copy; the record is left as it is until the new one takes its place."""
    return Copy(facts=facts, writable=True, content_bytes=start.asked(facts.workspace.path).content_bytes)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a stage goes on to have as its base: of what the agent changed, what was there before it did."""

    paths: frozenset[str]
    """What the agent changed, wrote or removed."""
    before: dict[str, Seen]
    """What of it was there, and what it was."""
    hashes: dict[str, str]
    """Digests of that, where they are known."""
    upper: UpperTree
    """What the agent wrote and removed."""


def _kept(stage: OpenStage) -> _Kept:
    """Return what the stage keeps.

    Raises:
        StageError: When that cannot be told while the clock is wrong: it would be a conflict for good.
    """
    changed = (change.path for change in compute_changes(stage).changes)
    upper = read_upper(stage.folder)
    mine = frozenset({*changed, *upper.entries, *removed_paths(stage.record, upper)})
    there = [path for path in mine if path in stage.record]
    if not stage.record.start.moment.holds() and not all(map(stage.record.told, there)):
        raise StageError(
            "the clock was set back since the session started, so nobody can tell what it started on",
            hint="try again when it is right, or take its changes: `pairlock apply`",
        )
    before = {path: stage.record[path] for path in there}
    return _Kept(mine, before, {path: stage.hashes[path] for path in mine if path in stage.hashes}, upper)


def _refresh_record(plan: StagePlan, found: Scan, kept: _Kept) -> None:
    """Take what is there now as the base of everything that the agent has not changed, and sees.

    What a user puts into a folder that the agent removed is behind its mark: it neither saw nor removed it.
    """
    folder, root = plan.facts.folder, plan.facts.workspace.path
    tells = can_tell_later(root, found.start.folders) and not isinstance(plan, Copy)
    start = found.start if tells else found.start.asked(root)
    with Beneath.open(root) as live:
        unseen = removed_paths(Record(start, live), kept.upper) - kept.paths
    save_record(folder.record, start.with_base(kept.paths | unseen, kept.before))
    save_learnt(folder.hashes, Learnt(kept.hashes, {}))
    folder.set_back.unlink(missing_ok=True)  # all of that session's that nobody knows is written down now
