"""Take the agent's tree back from a hostile tar stream, and keep what it changed of what `parcel` sent."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, assert_never

from sandbox.stage import kernel
from sandbox.stage.beneath import Beneath, check_relative, split
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import PathRefusedError, StageLimitError
from sandbox.stage.opened import READ_BYTES
from sandbox.stage.parcel import Sent, load_sent
from sandbox.stage.tars import TarEntry, TarError, TarKind, read_tar
from sandbox.stage.upper import finish_deleted, load_deleted, note_deleted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sandbox.stage.opened import OpenStage
    from sandbox.stage.tars import TarReader


def collect(  # noqa: PLR0913 - the stream's bounds and its witness, from one caller
    stage: OpenStage,
    chunks: Iterable[bytes],
    *,
    limit_bytes: int,
    limit_entries: int,
    prefix: str = "",
    vouch: Callable[[], None] = lambda: None,
) -> int:
    """Take the agent's tree from a tar stream, and keep what it changed in the stage's upper folder.

    The stream is hostile. Until it has been read whole, the stage is as it was.

    Args:
        stage: The stage, whose content was sent with `pack`.
        chunks: The stream.
        limit_bytes: Most bytes of content, what did not change included.
        limit_entries: Most entries.
        prefix: Folder that every path in the stream begins with, as `docker cp` has it; empty for none.
        vouch: Called when the stream has been read whole; raises when it cannot have been the agent's tree.

    Returns:
        How many entries the stream had.

    Raises:
        TarError: When the stream is no tar, or holds paths that a tree cannot hold.
        StageLimitError: When it holds more than the limits.
        StageBrokenError: When what was sent is not known.
    """
    sent = load_sent(stage)
    fresh = stage.folder.path / "upper.new"
    remove_tree(fresh)
    fresh.mkdir(mode=0o700)
    with ExitStack() as stack:
        stack.callback(remove_tree, fresh)
        tree = stack.enter_context(Beneath.open(fresh))
        collection = _Collection(stage, tree, read_tar(chunks), sent, prefix, limit_bytes, limit_entries)
        try:
            collection.run()
        except (PathRefusedError, OSError) as error:
            raise TarError(f"the stream of the agent's files cannot be kept: {error}") from error
        vouch()
        gone_before = load_deleted(stage.folder.deleted)
        gone = sorted(path for path in stage.record if path and collection.is_gone(path, gone_before))
        note_deleted(stage.folder, fresh, gone)
        _exchange(fresh, stage.folder.upper)
        finish_deleted(stage.folder)
    return collection.entries


def _exchange(fresh: Path, upper: Path) -> None:
    """Put a fresh upper folder in the place of the old one, in one step where the filesystem can."""
    try:
        kernel.renameat2(kernel.AT_CWD, str(fresh), kernel.AT_CWD, str(upper), kernel.RENAME_EXCHANGE)
    except OSError:
        aside = upper.with_name("upper.old")
        upper.rename(aside)
        fresh.rename(upper)
        aside.rename(fresh)


@dataclass(slots=True)
class _Collection:
    """A stream on its way into an upper folder."""

    stage: OpenStage
    tree: Beneath
    reader: TarReader
    sent: dict[str, Sent]
    prefix: str
    limit_bytes: int
    limit_entries: int
    entries: int = 0
    taken_bytes: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    """Modes of folders, set at the end."""
    made: set[str] = field(default_factory=set)
    """Folders that the fresh tree has."""
    present: dict[str, Sent] = field(default_factory=dict)
    """What the stream held."""

    def run(self) -> None:
        for entry in self.reader:
            self.entries += 1
            self.taken_bytes += entry.size
            self._check_limits()
            path = self._path(entry.path)
            if path:
                self._entry(path, entry)
        for path in sorted(self.made, reverse=True):
            with self.tree.folder(path) as folder:
                os.fchmod(folder, self.modes.get(path, 0o755))

    def _check_limits(self) -> None:
        if self.entries > self.limit_entries:
            raise StageLimitError(f"the agent's tree holds more than `{self.limit_entries}` entries")
        if self.taken_bytes > self.limit_bytes:
            raise StageLimitError(f"the agent's tree holds more than `{self.limit_bytes}` bytes")

    def is_gone(self, path: str, gone_before: set[str]) -> bool:
        """Tell whether the agent removed a path that it had been sent, or had removed before."""
        return path not in self.present and (path in self.sent or path in gone_before)

    def _path(self, raw: str) -> str:
        path = "" if raw == "." else raw.removeprefix("./")
        if self.prefix:
            if path != self.prefix and not path.startswith(self.prefix + "/"):
                raise TarError(f"the stream of the agent's files holds a path outside `{self.prefix}`")
            path = path[len(self.prefix) + 1 :]
        if path:
            check_relative(path)
        return path

    def _entry(self, path: str, entry: TarEntry) -> None:
        if path in self.present:
            raise TarError("the stream of the agent's files holds a path twice")
        match entry.kind:
            case TarKind.FOLDER:
                if not self._unchanged(path, Sent("folder", entry.mode, "", own=True)):
                    self._make(path)
                self.modes[path] = self._recorded_mode(path, entry.mode)
            case TarKind.SYMLINK:
                if not self._unchanged(path, Sent("symlink", 0o777, entry.target, own=True)):
                    with self._parent(path) as (folder, name):
                        os.symlink(entry.target, name, dir_fd=folder)
            case TarKind.FILE:
                self._file(path, entry.mode, self.reader.body())
            case TarKind.LINK:
                self._link(path, entry)
            case TarKind.SPECIAL:
                self.present[path] = Sent("special", 0, "", own=True)
                with self._parent(path) as (folder, name):
                    os.mkfifo(name, 0o600, dir_fd=folder)
            case unknown:
                assert_never(unknown)

    def _unchanged(self, path: str, found: Sent) -> bool:
        """Note what the stream holds, and tell whether it is what the workspace itself holds there."""
        self.present[path] = found
        return self.sent.get(path) == found

    def _recorded_mode(self, path: str, mode: int) -> int:
        """Return a mode with the special bits that the workspace had there, and that were not sent."""
        recorded, sent = self.stage.record.get(path), self.sent.get(path)
        if recorded is not None and sent is not None and sent.own and sent.mode == mode:
            return recorded.permissions
        return mode

    def _file(self, path: str, mode: int, body: Iterable[bytes]) -> None:
        """Write a file aside while it is hashed; keep it only if it is not what was sent."""
        aside = self.stage.folder.path / "incoming"
        digest = hashlib.sha256()
        with aside.open("wb") as out:
            for chunk in body:
                digest.update(chunk)
                out.write(chunk)
        if self._unchanged(path, Sent("file", mode, digest.hexdigest(), own=True)):
            aside.unlink()
            return
        aside.chmod(self._recorded_mode(path, mode))
        with self._parent(path) as (folder, name):
            os.link(aside, name, dst_dir_fd=folder)
        aside.unlink()

    def _link(self, path: str, entry: TarEntry) -> None:
        """Make a file of its own of a hard link, with the content of the entry that it names."""
        target = self._path(entry.target)
        known = self.present.get(target)
        if known is None or known.kind != "file":
            raise TarError("the stream of the agent's files links to what it does not hold")
        source = self.tree if self.tree.stat(target) is not None else self.stage.live
        with source.file(target) as descriptor:
            self.taken_bytes += os.fstat(descriptor).st_size
            self._check_limits()
            self._file(path, known.mode, iter(partial(os.read, descriptor, READ_BYTES), b""))
        if self.present[path].content != known.content:
            raise TarError("a hard link's content was changed in the workspace meanwhile")

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        parent, name = split(path)
        if parent:
            self._make(parent)
        with self.tree.folder(parent) as folder:
            yield folder, name

    def _make(self, path: str) -> None:
        """Make a folder of the fresh tree, and those above it."""
        if path in self.made:
            return
        with self._parent(path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)
        self.made.add(path)
