"""Send what the agent may see as a tar stream, and fetch what became of it into an upper folder.

For sessions whose workspace no mount can reach: a remote engine, a state folder on an overlay, a name that
means something in mount options. After `collect`, such a stage reads as one that was an overlay.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from sandbox.stage import kernel
from sandbox.stage.base import Seen, save_hashes, untouched
from sandbox.stage.beneath import Beneath, check_relative, split
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import PathRefusedError, StageBrokenError, StageLimitError
from sandbox.stage.layout import write_private
from sandbox.stage.opened import READ_BYTES
from sandbox.stage.tars import BLOCK_BYTES, TarEntry, TarError, TarKind, read_tar, tar_header
from sandbox.stage.upper import load_deleted, read_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sandbox.stage.layout import StageFolder
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.tars import TarReader

_SENT: Final = "sent.json"
"""Name of the file in a stage's folder that says what was sent; it is there until that has come back."""


class _Sent(NamedTuple):
    """What one entry was when it was sent."""

    kind: str
    mode: int
    content: str
    """A file's SHA-256, a symlink's target."""
    own: bool
    """Whether it came from the workspace, and not from what the agent had changed before."""


def pack(stage: OpenStage, *, uid: int, gid: int) -> Iterator[bytes]:
    """Yield a tar stream of what the agent may see: the workspace, and over it what it changed before.

    What was sent is written down when the last chunk has been taken; `collect` needs it.

    Args:
        stage: The stage.
        uid: Owner of every entry.
        gid: Group of every entry.

    Raises:
        StageBrokenError: When a file gets shorter while it is read.
    """
    sent: dict[str, _Sent] = {}
    upper = read_upper(stage.folder)
    merged = {path: (stage.live, seen) for path, seen in stage.record.items() if path not in upper.deleted}
    merged |= {path: (stage.upper, seen) for path, seen in upper.entries.items()}
    for path in sorted(merged):
        source, _ = merged[path]
        if path:
            try:
                yield from _packed(source, path, own=source is stage.live, uid=uid, gid=gid, sent=sent)
            except PathRefusedError:  # the user removed it meanwhile; what was not sent is not missed later
                continue
    yield b"\0" * (2 * BLOCK_BYTES)
    _note_what_was_sent(stage, sent)


def _packed(  # noqa: PLR0913 - one caller; they travel together
    source: Beneath, path: str, *, own: bool, uid: int, gid: int, sent: dict[str, _Sent]
) -> Iterator[bytes]:
    status = source.stat(path)
    if status is None:
        return
    seen = Seen.of(status)
    mtime = int(seen.mtime_ns // 1_000_000_000)
    mode = seen.permissions & 0o777
    if seen.is_folder:
        entry = TarEntry(path=path, kind=TarKind.FOLDER, mode=mode, size=0, target="")
        yield tar_header(entry, uid=uid, gid=gid, mtime=mtime)
        sent[path] = _Sent("folder", mode, "", own)
    elif seen.is_symlink:
        target = source.readlink(path)
        entry = TarEntry(path=path, kind=TarKind.SYMLINK, mode=0o777, size=0, target=target)
        yield tar_header(entry, uid=uid, gid=gid, mtime=mtime)
        sent[path] = _Sent("symlink", 0o777, target, own)
    elif seen.is_file:
        with source.file(path) as descriptor:
            size = os.fstat(descriptor).st_size
            entry = TarEntry(path=path, kind=TarKind.FILE, mode=mode, size=size, target="")
            yield tar_header(entry, uid=uid, gid=gid, mtime=mtime)
            digest = hashlib.sha256()
            yield from _content(descriptor, size, digest, path)
        sent[path] = _Sent("file", mode, digest.hexdigest(), own)


def _content(descriptor: int, size: int, digest: hashlib._Hash, path: str) -> Iterator[bytes]:
    left = size
    while left:
        chunk = os.read(descriptor, min(left, READ_BYTES))
        if not chunk:
            raise StageBrokenError(f"`{path}` got shorter while it was read")
        left -= len(chunk)
        digest.update(chunk)
        yield chunk
    yield b"\0" * (-size % BLOCK_BYTES)


def _note_what_was_sent(stage: OpenStage, sent: dict[str, _Sent]) -> None:
    write_private(_sent_file(stage), json.dumps(sent).encode())
    for path, item in sent.items():
        now = stage.live_seen(path) if item.own and item.kind == "file" else None
        if now is not None and untouched(stage.record[path], now):
            stage.hashes[path] = item.content
    save_hashes(stage.folder.hashes, stage.hashes)


def _sent_file(stage: OpenStage) -> Path:
    return stage.folder.path / _SENT


def _load_sent(stage: OpenStage) -> dict[str, _Sent]:
    try:
        told = json.loads(_sent_file(stage).read_bytes())
        return {str(path): _Sent(*item) for path, item in told.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StageBrokenError(f"what was sent to the session cannot be read: {error}") from error


def is_out(folder: StageFolder) -> bool:
    """Tell whether what was sent has not come back: what was changed in it is lost with its container."""
    return (folder.path / _SENT).exists()


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
    sent = _load_sent(stage)
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
        _exchange(fresh, stage.folder.upper)
        write_private(stage.folder.deleted, json.dumps(gone).encode())
        _sent_file(stage).unlink()
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
    sent: dict[str, _Sent]
    prefix: str
    limit_bytes: int
    limit_entries: int
    entries: int = 0
    taken_bytes: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    """Modes of folders, set at the end."""
    made: set[str] = field(default_factory=set)
    """Folders that the fresh tree has."""
    present: dict[str, _Sent] = field(default_factory=dict)
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
                if not self._unchanged(path, _Sent("folder", entry.mode, "", own=True)):
                    self._make(path)
                self.modes[path] = self._recorded_mode(path, entry.mode)
            case TarKind.SYMLINK:
                if not self._unchanged(path, _Sent("symlink", 0o777, entry.target, own=True)):
                    with self._parent(path) as (folder, name):
                        os.symlink(entry.target, name, dir_fd=folder)
            case TarKind.FILE:
                self._file(path, entry.mode, self.reader.body())
            case TarKind.LINK:
                self._link(path, entry)
            case TarKind.SPECIAL:
                self.present[path] = _Sent("special", 0, "", own=True)
                with self._parent(path) as (folder, name):
                    os.mkfifo(name, 0o600, dir_fd=folder)
            case unknown:
                assert_never(unknown)

    def _unchanged(self, path: str, found: _Sent) -> bool:
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
        if self._unchanged(path, _Sent("file", mode, digest.hexdigest(), own=True)):
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
