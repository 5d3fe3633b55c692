"""Go on with a stage that exists: the agent's changes stay, what the user did meanwhile shows through."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.stage.apply import recover
from sandbox.stage.base import load_record, packed_record, save_record
from sandbox.stage.changes import compute_changes, removed_paths
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import StageError
from sandbox.stage.hidden import build_hidden_layer
from sandbox.stage.layout import StageFolder, write_private
from sandbox.stage.opened import open_stage
from sandbox.stage.plan import fall_back_to_copy
from sandbox.stage.scan import Scan, scan
from sandbox.stage.strategy import Access, Copy, Overlay, OverlayOnCopy, StageFacts, StagePlan, about_plan
from sandbox.stage.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.stage.apply import Recovery
    from sandbox.stage.base import Seen
    from sandbox.stage.layout import WalkMatcher
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
        changed = frozenset(change.path for change in compute_changes(stage).changes)
    about = json.loads(folder.about.read_bytes())
    if about["access"] != Access.STAGE.value:
        raise StageError("only a session with `access: stage` leaves a stage to go on with")
    found = scan(workspace.path, hide, uid=int(about["uid"]))
    facts = _facts(workspace, folder, found, about, executable=executable)
    plan = _plan(facts, str(about["strategy"]))
    if not isinstance(plan, OverlayOnCopy):
        _refresh_record(folder, found, changed)
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
        entries=found.count - 1,
        folders=found.folders,
        content_bytes=found.content_bytes,
        hidden=tuple(sorted({*found.hidden, *found.linked})),
        special=found.special,
        unreadable=found.unreadable,
        other_mounts=found.other_mounts,
        foreign=found.foreign,
        scan_seconds=found.seconds,
        reason=f"the session goes on as it was: {str(about['reason']).removeprefix(_AGAIN)}",
    )


_AGAIN = "the session goes on as it was: "


def _plan(facts: StageFacts, strategy: str) -> StagePlan:
    folder = facts.folder
    if strategy == Copy.__name__:
        return Copy(facts=facts, writable=True)
    if strategy == OverlayOnCopy.__name__:
        # The copy holds only what was visible at the start, and nothing was added to it since.
        kept = replace(facts, foreign=0)
        return OverlayOnCopy(facts=kept, lower=(folder.base,), upper=folder.upper, work=folder.work)
    remove_tree(folder.hidden)
    folder.hidden.mkdir(mode=0o700)
    lower: tuple[Path, ...] = (facts.workspace.path,)
    if facts.absent:
        try:
            build_hidden_layer(folder.hidden, facts.workspace.path, facts.absent)
        except PermissionError:
            return fall_back_to_copy(
                Overlay(facts=facts, lower=lower, upper=folder.upper, work=folder.work),
                "this user cannot make whiteouts in the state folder",
            )
        lower = (folder.hidden, *lower)
    return Overlay(facts=facts, lower=lower, upper=folder.upper, work=folder.work)


def _refresh_record(folder: StageFolder, found: Scan, changed: frozenset[str]) -> None:
    """Take what is there now as the base of everything that the agent has not changed."""
    old = load_record(folder.record)
    upper = read_upper(folder)
    mine = changed | upper.entries.keys() | removed_paths(old, upper)
    fresh: dict[str, Seen] = {path: seen for path, seen in found.entries().items() if path not in mine}
    kept = {path: seen for path, seen in old.items() if path in mine}
    save_record(folder.record, packed_record(fresh | kept))
