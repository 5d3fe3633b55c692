"""Carry out the steps of an apply on the user's folder, each atomic, each beneath it, each undoable.

New content waits in a private folder at the top of the workspace (the same filesystem), and is exchanged with
the old one by one rename; what was displaced is compared with what was expected, and put back if the user was
faster. Nothing here decides what is to be applied.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, assert_never

from sandbox.stage.base import Seen
from sandbox.stage.beneath import split
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.journal import Step, Verb
from sandbox.stage.swap import ASIDE, bring_back, exchange, rename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.stage.beneath import Beneath

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class StepConflictError(Exception):
    """Raised when the user's folder is not, or is no longer, what a step expects; nothing was changed.

    Args:
        path: The step's path.
        reason: What was found instead.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


@dataclass(slots=True)
class Yard:
    """An apply's own folder, and the means to carry out its steps."""

    live: Beneath
    name: str
    folder: int
    """Descriptor of the folder."""
    undo: list[Callable[[], None]] = field(default_factory=list)
    """How to take back what was done, last first."""

    @classmethod
    def make(cls, live: Beneath, name: str) -> Self:
        """Make the folder, private; it must not exist."""
        os.mkdir(name, 0o700, dir_fd=live.root)
        return cls(live, name, os.open(name, _FOLDER, dir_fd=live.root))

    @classmethod
    def reopen(cls, live: Beneath, name: str) -> Self | None:
        """Open the folder of an interrupted apply; None when it is gone."""
        try:
            return cls(live, name, os.open(name, _FOLDER, dir_fd=live.root))
        except FileNotFoundError:
            return None

    def close(self, *, remove: bool) -> None:
        """Close the folder, and remove it with all it holds."""
        try:
            if remove:
                for spare in os.listdir(self.folder):  # noqa: PTH208 - a descriptor has no Path
                    os.unlink(spare, dir_fd=self.folder)
                os.rmdir(self.name, dir_fd=self.live.root)
        finally:
            os.close(self.folder)

    @contextmanager
    def new_file(self, spare: str) -> Iterator[int]:
        """Yield a descriptor of a fresh private file in the folder, made durable at the end."""
        descriptor = os.open(spare, _NEW, 0o600, dir_fd=self.folder)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def new_symlink(self, spare: str, target: str) -> None:
        """Make a symlink in the folder; where it points is not looked at."""
        os.symlink(target, spare, dir_fd=self.folder)
        if os.geteuid() == 0:
            above = os.fstat(self.live.root)
            os.chown(spare, above.st_uid, above.st_gid, dir_fd=self.folder, follow_symlinks=False)

    def inode(self, spare: str) -> int:
        """Return the inode of what lies under `spare`; 0 when nothing does."""
        try:
            return os.stat(spare, dir_fd=self.folder, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return 0

    def carry_out(self, step: Step) -> None:
        """Do one step, or nothing when it is done already.

        Raises:
            StepConflictError: When the user was faster, or something is in the way; nothing was changed.
            OSError: When the filesystem refuses.
        """
        try:
            match step.verb:
                case Verb.REMOVE:
                    self._remove(step)
                case Verb.REMOVE_FOLDER:
                    self._remove_folder(step)
                case Verb.MAKE_FOLDER:
                    self._make_folder(step)
                case Verb.PLACE:
                    self._place(step)
                case Verb.SET_MODE:
                    self._set_mode(step)
                case unknown:
                    assert_never(unknown)
        except PathRefusedError as error:
            raise StepConflictError(step.path, error.reason) from error

    def roll_back(self) -> bool:
        """Take back every step of this process, last first; tell whether the filesystem let all of them.

        A path that the user has changed since stays as the user has it.
        """
        refused = False
        while self.undo:
            try:
                self.undo.pop()()
            except (PathRefusedError, StepConflictError, FileExistsError, FileNotFoundError):
                continue
            except OSError:
                refused = True
        return not refused

    def _remove(self, step: Step) -> None:
        parent, name = split(step.path)
        if not self.inode(step.spare):
            with self.live.folder(parent) as folder:
                try:
                    rename(folder, name, self.folder, step.spare)
                except FileNotFoundError:
                    return
        self._check_displaced(step, lambda: self._put_back(step))
        self.undo.append(lambda: self._put_back(step))

    def _place(self, step: Step) -> None:
        self._finish_swap(step)
        if self.inode(step.spare) == step.inode:
            self._exchange(step)
        elif step.expected is None or not self.inode(step.spare):
            return
        if step.expected is not None:
            self._check_displaced(step, lambda: self._exchange(step))
        placed: Seen | None = None
        with suppress(PathRefusedError, OSError):  # it is placed: only where the user keeps it now is unknown
            placed = self._at(step.path)
        self.undo.append(lambda: self._take_back(step, placed))

    def _at(self, path: str) -> Seen | None:
        status = self.live.stat(path)
        return None if status is None else Seen.of(status)

    def _take_back(self, step: Step, placed: Seen | None) -> None:
        """Take new content back from where it was placed, unless the user has changed it since."""
        if placed is None or placed.inode != step.inode or self._at(step.path) != placed:
            return
        if step.expected is None:
            self._unplace(step)
        else:
            self._exchange(step)
        if not _renamed(placed, self._spared(step)):
            self._exchange(step)

    def _exchange(self, step: Step) -> None:
        """Swap the new content with the old, or put it where nothing was."""
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            try:
                if step.expected is None:
                    rename(self.folder, step.spare, folder, name)
                else:
                    exchange(self.folder, step.spare, folder, name)
            except FileExistsError as error:
                raise StepConflictError(step.path, "it appeared meanwhile") from error
            except FileNotFoundError as error:
                raise StepConflictError(step.path, "it was deleted meanwhile") from error

    def _finish_swap(self, step: Step) -> None:
        """Undo or finish a swap in three that was killed: what it set aside may be the only copy.

        Raises:
            FileExistsError: When the user has put something there since; nothing is touched.
        """
        aside = step.spare + ASIDE
        if not self.inode(aside):
            return
        if not self.inode(step.spare):
            os.rename(aside, step.spare, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            return
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            bring_back(self.folder, aside, folder, name)

    def _check_displaced(self, step: Step, put_back: Callable[[], None]) -> None:
        """See that what was displaced is what was expected."""
        if step.expected is None or not _renamed(step.expected, self._spared(step)):
            put_back()
            raise StepConflictError(step.path, "it was changed meanwhile")

    def _spared(self, step: Step) -> Seen:
        return Seen.of(os.stat(step.spare, dir_fd=self.folder, follow_symlinks=False))

    def _put_back(self, step: Step) -> None:
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            rename(self.folder, step.spare, folder, name)

    def _unplace(self, step: Step) -> None:
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            rename(folder, name, self.folder, step.spare)

    def _remove_folder(self, step: Step) -> None:
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            try:
                os.rmdir(name, dir_fd=folder)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                    raise
                reason = "it is not empty: what it still holds was not the agent's to remove"
                raise StepConflictError(step.path, reason) from error
        self.undo.append(lambda: self._make(step.path, step.mode))

    def _make_folder(self, step: Step) -> None:
        parent, name = split(step.path)
        with self.live.folder(parent) as folder:
            try:
                os.mkdir(name, 0o700, dir_fd=folder)
            except FileExistsError:
                with self.live.folder(step.path):  # refuses what is no folder
                    return
            if os.geteuid() == 0:
                above = os.fstat(folder)
                os.chown(name, above.st_uid, above.st_gid, dir_fd=folder, follow_symlinks=False)
        self.undo.append(lambda: self._unmake(step.path))

    def _make(self, path: str, mode: int) -> None:
        parent, name = split(path)
        with self.live.folder(parent) as folder:
            os.mkdir(name, 0o700, dir_fd=folder)
        self._set_permissions(path, mode)

    def _unmake(self, path: str) -> None:
        parent, name = split(path)
        with suppress(OSError), self.live.folder(parent) as folder:
            os.rmdir(name, dir_fd=folder)

    def _set_mode(self, step: Step) -> None:
        before = self.live.stat(step.path)
        if before is None:
            raise StepConflictError(step.path, "it was deleted meanwhile")
        self._set_permissions(step.path, step.mode)
        old = stat.S_IMODE(before.st_mode)
        self.undo.append(lambda: self._take_mode_back(step, old))

    def _take_mode_back(self, step: Step, old: int) -> None:
        now = self._at(step.path)
        if now is not None and now.permissions == step.mode:
            self._set_permissions(step.path, old)

    def _set_permissions(self, path: str, mode: int) -> None:
        status = self.live.stat(path)
        opener = self.live.folder if status is not None and stat.S_ISDIR(status.st_mode) else self.live.file
        with opener(path) as descriptor:
            os.fchmod(descriptor, mode)


def _renamed(before: Seen, after: Seen) -> bool:
    """Tell whether both are the same, ctime aside, which a rename changes."""
    return before._replace(ctime_ns=0) == after._replace(ctime_ns=0)
