"""Make the folder that a task's changes lead to: what the agent saw of the workspace, and what it changed.

It is a copy, this user's alone, and goes away again. What `pairlock apply` would refuse is not in it, so that
what is checked is what can be taken. It is labelled before anything is in it: programs run on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.exercised import exercised
from agent_runner.lineage import counting_for, label_copy, labels_of, removed
from agent_runner.review import opened, read_policy
from agent_runner.state_label import state_label
from sandbox.stage import ChangeSet, MatchNothing
from sandbox.stage.basecopy import copy_base
from sandbox.stage.beneath import Beneath, parents_of
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.sides import EntryKind
from sandbox.stage.verdict import decide
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from audit.state import SessionFiles
    from sandbox.stage import Change, OpenStage
    from sandbox.stage.sides import Side
    from sandbox.workspace import WorkspaceIdentity

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES: Final = 1024 * 1024
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ResultTree:
    """What a task's changes lead to."""

    folder: Path
    changes: ChangeSet
    """Everything that the agent changed, what would be refused among it."""


@asynccontextmanager
async def result_tree(session: SessionFiles, state: Path) -> AsyncIterator[ResultTree]:
    """Give the folder that a session's changes lead to, and take it away at the end.

    Args:
        session: The agent's, over, with a stage.
        state: The state folder.

    Raises:
        sandbox.stage.errors.StageError: When the stage or the workspace cannot be read.
    """
    around, held = _new_folder(state)
    identity = identity_of(around)
    try:
        making = asyncio.ensure_future(
            asyncio.to_thread(_make, around / "workspace", identity, session, state)
        )
        try:
            yield await asyncio.shield(making)
        finally:
            await asyncio.wait((making,))  # a thread cannot be cancelled: it must not write behind our back
    finally:
        try:
            await asyncio.to_thread(_take_away, around, identity, state)
        finally:
            os.close(held)


def dead_trees(state: Path) -> Iterator[Path]:
    """Yield what killed processes of this state folder left of such folders, each locked until the next.

    A folder in use is locked by whoever uses it, and not among them.
    """
    prefix = _prefix(state)
    for entry in sorted(Path(tempfile.gettempdir()).iterdir()):
        if not entry.name.startswith(prefix):
            continue
        with suppress(OSError):  # another user's, or it has just gone
            held = os.open(entry, _FOLDER)
            try:
                if os.fstat(held).st_uid == os.getuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield entry.resolve()
            finally:
                os.close(held)


def sweep_trees(state: Path) -> int:
    """Take away what killed processes of this state folder left, and return how many folders there were."""
    swept = 0
    for folder in dead_trees(state):
        take_away(folder, state)
        swept += 1
    _forget_gone(state)
    return swept


def _forget_gone(state: Path) -> None:
    """Take off labels that a process left which was killed between the folder's removal and its label's.

    Every later start would look for that folder in the whole of its workspace.
    """
    for folder, _ in labels_of(state).all():
        if Path(folder.path).name.startswith(_prefix(state)) and not os.path.lexists(folder.path):
            removed(state, folder)


def take_away(around: Path, state: Path) -> None:
    """Remove such a folder, and then its label."""
    _take_away(around, identity_of(around), state)


def _prefix(state: Path) -> str:
    return f"pairlock-result-{state_label(state)}-"


def _new_folder(state: Path) -> tuple[Path, int]:
    """Make the folder, and hold its lock; whoever sweeps may be quicker, and then it is made again.

    It is not waited for whoever sweeps: that process may be stopped.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(state))).resolve()
        with suppress(FileNotFoundError):
            held = os.open(folder, _FOLDER)
            with suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if folder.exists():
                    return folder, held
            os.close(held)


def _make(folder: Path, identity: WorkspaceIdentity, session: SessionFiles, state: Path) -> ResultTree:
    with opened(session.folder) as (stage, changes):
        kept = [change for change in changes.changes if decide(change, MatchNothing()) is None]
        label_result(identity, session, state, stage.workspace)
        _copy_kept(stage, kept, folder)
        for change in kept:
            _put(stage.upper, change, folder)
        label_result(identity, session, state, stage.workspace)  # what others wrote there while it was copied
    return ResultTree(folder, changes)


def _take_away(around: Path, identity: WorkspaceIdentity, state: Path) -> None:
    remove_tree(around)
    removed(state, identity)


def label_result(
    identity: WorkspaceIdentity, session: SessionFiles, state: Path, workspace: WorkspaceIdentity
) -> None:
    """Let everything that counts for the workspace count there, and what the session exercised."""
    held = exercised(session.folder, read_policy(session.folder).grant)
    whole = counting_for(state, workspace).written_by(session.folder.name, held)
    label_copy(state, identity, whole, why="the result of a task, to be checked")


def _copy_kept(stage: OpenStage, changes: list[Change], folder: Path) -> None:
    """Copy what the agent saw and left as it was."""
    other = {
        change.path for change in changes if not (_is_folder(change.before) and _is_folder(change.after))
    }
    entries = {
        path: seen
        for path, seen in stage.record.items()
        if path not in other and other.isdisjoint(parents_of(path))
    }
    copy_base(Path(stage.workspace.path), folder, entries, uid=os.getuid(), gid=os.getgid())


def _is_folder(side: Side | None) -> bool:
    return side is not None and side.kind is EntryKind.FOLDER


def _put(upper: Beneath, change: Change, folder: Path) -> None:
    """Write one change; nothing is ever written through a link, whatever the agent made of its parents."""
    after, place = change.after, folder / change.path
    if after is None:
        return
    for parent in reversed([*parents_of(change.path)]):
        if (folder / parent).is_symlink() or not (folder / parent).is_dir():
            raise PathRefusedError(
                change.path, "a folder above it is not among the changes that can be taken"
            )
    match after.kind:
        case EntryKind.FOLDER:
            place.mkdir(exist_ok=True)
            place.chmod(after.mode & 0o777 | 0o700)
        case EntryKind.SYMLINK:
            place.symlink_to(after.target)
        case EntryKind.FILE:
            with upper.file(change.path) as source, os.fdopen(os.open(place, _NEW, 0o600), "wb") as out:
                while chunk := os.read(source, _CHUNK_BYTES):
                    out.write(chunk)
            place.chmod(after.mode & 0o777)
        case EntryKind.SPECIAL:
            raise PathRefusedError(change.path, "it is a device, socket or pipe")
