"""Choose how a session sees its workspace, by trying, and prepare the folders; the mount is the engine's."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sandbox.stage import kernel
from sandbox.stage.base import type_bits
from sandbox.stage.basecopy import copy_base
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import StageError
from sandbox.stage.hidden import (
    build_hidden_layer,
    can_make_whiteout,
    can_mark_opaque,
    copy_folder_attributes,
)
from sandbox.stage.layout import MatchNothing, StageFolder, write_private
from sandbox.stage.nothing_hidden import require_nothing_hidden
from sandbox.stage.scan import scan
from sandbox.stage.start import can_tell_later, foreign, load_record, save_record
from sandbox.stage.strategy import (
    Access,
    Copy,
    Direct,
    Overlay,
    OverlayOnCopy,
    ReadOnly,
    StageFacts,
    StagePlan,
    about_plan,
    overlay_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.stage.layout import WalkMatcher
    from sandbox.stage.scan import Scan
    from sandbox.stage.start import Start
    from sandbox.workspace import Workspace

MAX_MOUNT_OPTIONS_BYTES: Final = 3800
"""The kernel takes one page of mount options, 4096 bytes; the rest is for what an engine adds."""

_UNSAFE_IN_OPTIONS: Final = frozenset(",:\\\"'")


def plan_stage(  # noqa: PLR0913 - one call from one place; a type for these would only be unpacked again
    workspace: Workspace,
    session_folder: Path,
    *,
    access: Access,
    hide: WalkMatcher,
    uid: int,
    gid: int,
    engine_obstacle: str,
    executable: bool,
    scanned: Scan | None = None,
) -> StagePlan:
    """Scan the workspace, choose a strategy by trying, and prepare `session_folder/stage` for it.

    Args:
        workspace: The user's folder, already checked.
        session_folder: The session's folder in the state folder; it must hold no stage yet.
        access: What the policy says.
        hide: What the agent must not see.
        uid: The container's uid.
        gid: The container's gid.
        engine_obstacle: Why the engine cannot mount this machine's folders; empty when it may try.
        executable: Whether the session holds `exec`.
        scanned: What a walk of the workspace found a moment ago, by the same `hide`; None to walk now.

    Raises:
        StageError: When the workspace cannot be scanned, or `direct` cannot be had safely.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    if folder.path.exists():
        raise StageError(f"session folder `{session_folder}` already holds a stage")
    folder.make()
    try:
        found = scanned or scan(workspace.path, hide)
        draft = _Draft(workspace, folder, found, access, uid, gid, executable)
        if access is Access.DIRECT:
            require_nothing_hidden(found, hide)
        plan = _choose(draft, engine_obstacle)
        copied = isinstance(plan, Copy | OverlayOnCopy)
        tells = can_tell_later(workspace.path, found.start.folders)
        save_record(folder.record, found.start if tells and not copied else draft.asked)
        write_private(folder.about, about_plan(plan))
    except (StageError, OSError):
        remove_tree(folder.path)
        raise
    return plan


def stage_of_tree(workspace: Workspace, session_folder: Path, tree: Path, *, hide: WalkMatcher) -> None:
    """Make a stage whose changes are what a tree holds, as if an agent had written it over the workspace.

    Args:
        workspace: The folder that the changes are to go to.
        session_folder: The session's folder; it must hold no stage.
        tree: Files and folders, pairlock's own copy of them.
        hide: What is hidden in the workspace.

    Raises:
        StageError: When the workspace cannot be scanned, or the tree not be copied.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    folder.make()
    uid, gid = os.geteuid(), os.getegid()
    try:
        found = scan(workspace.path, hide)
        draft = _Draft(workspace, folder, found, Access.STAGE, uid, gid, executable=False)
        save_record(folder.record, draft.asked)
        folder.upper.rmdir()
        there = draft.asked.known
        copied = scan(tree, MatchNothing()).start.asked(tree).known
        copy_base(tree, folder.upper, copied, uid=uid, gid=gid)
        for path in sorted(copied, reverse=True):
            before = there.get(path)
            if before is not None and type_bits(before.mode) == type_bits(copied[path].mode):
                (folder.upper / path).chmod(before.permissions)
        plan = draft.copy("the outputs of a session without `files`")
        write_private(folder.about, about_plan(plan))
    except (StageError, OSError):
        remove_tree(folder.path)
        raise


def fall_back_to_copy(plan: StagePlan, reason: str) -> Copy:
    """Return the copy plan for a stage whose mount the engine tried in vain, or was not this folder.

    Raises:
        StageError: When the plan is `direct`, which has no substitute.
    """
    if isinstance(plan, Direct):
        raise StageError(
            f"the workspace cannot be mounted: {reason}", hint="use `access: stage`, which can be copied"
        )
    facts = replace(plan.facts, reason=reason)
    start = load_record(facts.folder.record).asked(facts.workspace.path)
    save_record(facts.folder.record, start)
    copy = Copy(facts=facts, writable=facts.access is Access.STAGE, content_bytes=start.content_bytes)
    write_private(facts.folder.about, about_plan(copy))
    return copy


@dataclass(frozen=True)
class _Draft:
    """What is known before the strategy is."""

    workspace: Workspace
    folder: StageFolder
    scan: Scan
    access: Access
    uid: int
    gid: int
    executable: bool

    @cached_property
    def asked(self) -> Start:
        """What there is, every path asked: for copies, and where files cannot tell later."""
        return self.scan.start.asked(self.workspace.path)

    def copy(self, reason: str) -> Copy:
        return Copy(
            facts=self.facts(reason),
            writable=self.access is Access.STAGE,
            content_bytes=self.asked.content_bytes,
        )

    def facts(self, reason: str) -> StageFacts:
        return StageFacts(
            workspace=self.workspace,
            folder=self.folder,
            access=self.access,
            executable=self.executable,
            uid=self.uid,
            gid=self.gid,
            entries=len(self.scan.start) - 1,
            folders=self.scan.watched,
            hidden=tuple(sorted({*self.scan.hidden, *self.scan.linked})),
            special=self.scan.special,
            unreadable=self.scan.unreadable,
            other_mounts=self.scan.other_mounts,
            scan_seconds=self.scan.seconds,
            moment=self.scan.start.moment,
            reason=reason,
        )


def _choose(draft: _Draft, engine_obstacle: str) -> StagePlan:
    if draft.access is Access.DIRECT:
        return _direct(draft, engine_obstacle)
    obstacle = engine_obstacle or _obstacle(draft)
    if obstacle:
        return draft.copy(obstacle)
    if _needs_owner(draft):
        return _on_copy(draft)
    lower = (*_hidden_layer(draft, draft.workspace.path), draft.workspace.path)
    if draft.access is Access.READ:
        return ReadOnly(facts=draft.facts("the policy gives no writing"), lower=lower)
    copy_folder_attributes(draft.workspace.path, draft.folder.upper)
    return Overlay(
        facts=draft.facts("the workspace belongs to the session's uid and overlayfs can hold its changes"),
        lower=lower,
        upper=draft.folder.upper,
        work=draft.folder.work,
    )


def _direct(draft: _Draft, engine_obstacle: str) -> Direct:
    if engine_obstacle:
        raise StageError(f"`access: direct` cannot be had: {engine_obstacle}", hint="use `access: stage`")
    if draft.scan.special:
        first = draft.scan.special[0]
        raise StageError(
            f"`access: direct` would show the agent `{first}`, a socket, pipe or device of this machine",
            hint="remove it, or use `access: stage`, where such files are absent",
        )
    return Direct(facts=draft.facts("the policy asks for it"), source=draft.workspace.path)


def _obstacle(draft: _Draft) -> str:
    """Say what stands in the way of an overlay; nothing when nothing does."""
    folder = draft.folder
    if problem := _unfit_path(draft.workspace.path) or _unfit_path(folder.path):
        return problem
    lower = (folder.hidden, draft.workspace.path)
    if len(overlay_options(lower, folder.upper, folder.work, executable=False)) > MAX_MOUNT_OPTIONS_BYTES:
        return "the paths are too long for mount options"
    if kernel.filesystem_magic(str(folder.upper)) == kernel.OVERLAYFS_MAGIC:
        return "the state folder lies on an overlay itself"
    if draft.scan.absent and not can_make_whiteout(folder.hidden):
        return "this user cannot make whiteouts in the state folder"
    if not can_mark_opaque(folder.upper):
        return "the state folder keeps no user attributes"
    return ""


def _unfit_path(path: Path) -> str:
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a path is not UTF-8"
    if _UNSAFE_IN_OPTIONS & set(text) or not text.isprintable():
        return "a path holds characters that mean something in mount options"
    return ""


def _needs_owner(draft: _Draft) -> bool:
    """Tell whether the session's uid could not write what it sees; only root can do something about it."""
    if draft.workspace.owner_uid != draft.uid:
        return True
    return os.geteuid() == 0 and foreign(draft.workspace.path, draft.scan.start, draft.uid)


def _on_copy(draft: _Draft) -> OverlayOnCopy | ReadOnly:
    folder = draft.folder
    copy_base(draft.workspace.path, folder.base, draft.asked.known, uid=draft.uid, gid=draft.gid)
    reason = f"the workspace's files belong to another uid than {draft.uid}, so a copy stands in for them"
    facts = draft.facts(reason)
    if draft.access is Access.READ:
        return ReadOnly(facts=facts, lower=(folder.base,))
    copy_folder_attributes(folder.base, folder.upper)
    return OverlayOnCopy(facts=facts, lower=(folder.base,), upper=folder.upper, work=folder.work)


def _hidden_layer(draft: _Draft, workspace: Path) -> tuple[Path, ...]:
    """Build the layer of whiteouts and return it; none when nothing is hidden."""
    if not draft.scan.absent:
        return ()
    build_hidden_layer(draft.folder.hidden, workspace, draft.scan.absent)
    return (draft.folder.hidden,)
