"""Turn accepted changes into steps, and write the new content where it waits; nothing is changed yet."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.stage.beneath import parents_of, split
from sandbox.stage.changes import ChangeKind
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.journal import Step, Verb
from sandbox.stage.opened import READ_BYTES
from sandbox.stage.sides import EntryKind, Side, conflict_of, side_of
from sandbox.stage.verdict import NotApplied, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.stage.base import Seen
    from sandbox.stage.changes import Change
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.yard import Yard

KEPT_MODE_BITS: Final = 0o775
"""Permission bits that an apply sets: no setuid, setgid or sticky bit, nothing for everyone to write."""

_ACCESS_LIST: Final = "system.posix_acl_access"
_DEFAULT_ACCESS_LIST: Final = "system.posix_acl_default"
_SET_GROUP: Final = 0o2000
_OWNER_MAY_WORK: Final = 0o300


@dataclass(frozen=True, slots=True)
class Preparation:
    """One apply, before anything has happened."""

    stage: OpenStage
    contents: Mapping[str, bytes]
    """Content to write instead of the agent's, for files of which only some hunks were chosen."""
    changes: Mapping[str, Change]
    """Every change of the session by path, chosen or not."""

    def prepare(self, yard: Yard, accepted: list[Change]) -> tuple[list[Step], list[NotApplied]]:
        """Write new content into the yard and return the steps, in order, with what cannot be done after all.

        Raises:
            OSError: When the disk is full, or the workspace cannot be written.
        """
        steps: list[Step] = []
        failed: list[NotApplied] = []
        for number, change in enumerate(accepted):
            try:
                steps += self._steps(yard, change, str(number))
            except PathRefusedError as error:
                failed.append(NotApplied(path=change.path, code=Refusal.CONFLICT, reason=error.reason))
            except _NotNowError as error:
                failed.append(NotApplied(path=change.path, code=error.code, reason=str(error)))
        return _ordered([*steps, *self._missing_parents(steps)]), failed

    def _missing_parents(self, steps: list[Step]) -> Iterator[Step]:
        """Make the new folders that chosen files need, with the modes that the agent gave them."""
        made = {step.path for step in steps if step.verb is Verb.MAKE_FOLDER}
        wanted = {p for s in steps if s.verb in {Verb.PLACE, Verb.MAKE_FOLDER} for p in parents_of(s.path)}
        for path in wanted - made:
            change = self.changes.get(path)
            if change is not None and change.kind is ChangeKind.ADDED and change.after is not None:
                yield Step(verb=Verb.MAKE_FOLDER, path=path, mode=change.after.mode & KEPT_MODE_BITS)

    def _steps(self, yard: Yard, change: Change, spare: str) -> Iterator[Step]:
        """Look again at what the user has, and say what to do about one change."""
        if conflict := conflict_of(self.stage, change.path, change.before, change.after):
            raise _NotNowError(Refusal.CONFLICT, conflict)
        now, after = self.stage.live_seen(change.path), change.after
        if now is not None and (after is None or _kinds_clash(now, after)):
            yield _removal(change.path, now, spare)
        if after is None:
            return
        if after.kind is EntryKind.FOLDER:
            yield from _folder_steps(change, after, now)
        elif change.kind is ChangeKind.MODE:
            yield Step(verb=Verb.SET_MODE, path=change.path, mode=after.mode & KEPT_MODE_BITS)
        elif not self._already(change, after, now):
            expected = None if now is None or now.is_folder else now
            self._write(yard, change, after, spare=spare, expected=expected)
            inode = yard.inode(spare)
            yield Step(verb=Verb.PLACE, path=change.path, spare=spare, expected=expected, inode=inode)

    def _already(self, change: Change, after: Side, now: Seen | None) -> bool:
        if now is None or change.path in self.contents:
            return False
        found = side_of(self.stage.live, change.path, now)
        if change.before is None:  # the user made the same, and it keeps the mode that the user gave it
            return found.same_thing(after)
        return found.same_thing(after) and found.mode == after.mode & KEPT_MODE_BITS

    def _write(self, yard: Yard, change: Change, after: Side, *, spare: str, expected: Seen | None) -> None:
        if after.kind is EntryKind.SYMLINK:
            if self.stage.upper.readlink(change.path) != after.target:
                raise _stage_changed()
            yard.new_symlink(spare, after.target)
            return
        with yard.new_file(spare) as descriptor:
            self._fill(descriptor, change, after)
            self._take_owner(descriptor, change.path, expected)
            if expected is None or not expected.is_file:
                self._take_default_access(descriptor, change.path)
            os.fchmod(descriptor, _mode(change, after, expected))
            if expected is not None and expected.is_file:
                self._take_attributes(descriptor, change.path)

    def _fill(self, descriptor: int, change: Change, after: Side) -> None:
        """Copy the content, and see that it is what was reviewed."""
        given = self.contents.get(change.path)
        if given is not None:
            _write_all(descriptor, given)
            return
        digest = hashlib.sha256()
        with self.stage.upper.file(change.path) as source:
            while chunk := os.read(source, READ_BYTES):
                digest.update(chunk)
                _write_all(descriptor, chunk)
        if digest.hexdigest() != after.digest:
            raise _stage_changed()

    def _take_owner(self, descriptor: int, path: str, expected: Seen | None) -> None:
        """Give new content the owner of what it replaces, or of its folder, where this user may."""
        status = self.stage.live.stat(path) if expected is not None else self._nearest_folder(path)
        if status is None:
            return
        if os.geteuid() == 0:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        elif expected is not None or status.st_mode & _SET_GROUP:
            with suppress(PermissionError):
                os.fchown(descriptor, -1, status.st_gid)

    def _take_default_access(self, descriptor: int, path: str) -> None:
        """Give a new file the access list that its folder gives new files, and not the yard's (acl(5))."""
        with suppress(OSError):
            os.removexattr(descriptor, _ACCESS_LIST)
        with suppress(OSError), self.stage.live.folder(self._nearest(path)) as folder:
            os.setxattr(descriptor, _ACCESS_LIST, os.getxattr(folder, _DEFAULT_ACCESS_LIST))

    def _nearest_folder(self, path: str) -> os.stat_result | None:
        """Return what the nearest folder above `path` is that the user has already."""
        return self.stage.live.stat(self._nearest(path))

    def _nearest(self, path: str) -> str:
        folder, _ = split(path)
        while folder and not ((now := self.stage.live_seen(folder)) and now.is_folder):
            folder, _ = split(folder)
        return folder

    def _take_attributes(self, descriptor: int, path: str) -> None:
        """Keep the user's own attributes and access list of a file that is replaced."""
        with self.stage.live.file(path) as old:
            for name in os.listxattr(old):
                if name.startswith("user.") or name == _ACCESS_LIST:
                    with suppress(OSError):
                        os.setxattr(descriptor, name, os.getxattr(old, name))


class _NotNowError(Exception):
    """Raised when a change that was accepted cannot be prepared.

    Args:
        code: Why.
        reason: The same in words.
    """

    def __init__(self, code: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _stage_changed() -> _NotNowError:
    return _NotNowError(Refusal.STAGE_CHANGED, "the stage was changed after it was reviewed")


def _kinds_clash(now: Seen, after: Side) -> bool:
    """Tell whether one of the two is a folder and the other is not, so that a rename cannot exchange them."""
    return now.is_folder != (after.kind is EntryKind.FOLDER)


def _removal(path: str, now: Seen, spare: str) -> Step:
    if now.is_folder:
        return Step(verb=Verb.REMOVE_FOLDER, path=path, mode=now.permissions)
    return Step(verb=Verb.REMOVE, path=path, spare=spare + ".removed", expected=now)


def _folder_steps(change: Change, after: Side, now: Seen | None) -> Iterator[Step]:
    mode = after.mode & KEPT_MODE_BITS
    if now is None or not now.is_folder:
        yield Step(verb=Verb.MAKE_FOLDER, path=change.path, mode=mode)
    elif change.before is not None and now.permissions != after.mode:
        yield Step(verb=Verb.SET_MODE, path=change.path, mode=mode)


def _mode(change: Change, after: Side, expected: Seen | None) -> int:
    """Return the user's own mode where the agent did not change it, else the safe part of the agent's."""
    kept = change.before is not None and change.before.mode == after.mode
    if expected is not None and expected.is_file and kept:
        return expected.permissions & 0o777
    return after.mode & KEPT_MODE_BITS


def _ordered(steps: list[Step]) -> list[Step]:
    """Sort steps so that each finds what it needs: room first, then folders, content, and closed doors."""
    folders = [s for s in steps if s.verb is Verb.MAKE_FOLDER]
    new_modes = [Step(verb=Verb.SET_MODE, path=s.path, mode=s.mode) for s in folders]
    opening = [s for s in steps if s.verb is Verb.SET_MODE and s.mode & _OWNER_MAY_WORK == _OWNER_MAY_WORK]
    closing = [s for s in (*steps, *new_modes) if s.verb is Verb.SET_MODE and s not in opening]
    return [
        *(s for s in steps if s.verb is Verb.REMOVE),
        *sorted((s for s in steps if s.verb is Verb.REMOVE_FOLDER), key=_depth, reverse=True),
        *sorted(opening, key=_depth),
        *sorted(folders, key=_depth),
        *(s for s in steps if s.verb is Verb.PLACE),
        *sorted(closing, key=_depth, reverse=True),
    ]


def _depth(step: Step) -> int:
    return step.path.count("/")


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
