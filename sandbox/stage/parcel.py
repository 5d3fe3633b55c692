"""Send what the agent may see as a tar stream, and note what was sent; `collecting` takes it back.

For sessions whose workspace no mount can reach: a remote engine, a state folder on an overlay, a name that
means something in mount options. After `collect`, such a stage reads as one that was an overlay.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from sandbox.stage.base import Seen, untouched
from sandbox.stage.errors import PathRefusedError, StageBrokenError
from sandbox.stage.layout import write_private
from sandbox.stage.opened import READ_BYTES
from sandbox.stage.tars import BLOCK_BYTES, TarEntry, TarKind, tar_header
from sandbox.stage.upper import finish_deleted, read_upper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stage.beneath import Beneath
    from sandbox.stage.layout import StageFolder
    from sandbox.stage.opened import OpenStage


class Sent(NamedTuple):
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
    sent: dict[str, Sent] = {}
    upper = read_upper(stage.folder)
    merged = dict.fromkeys((path for path in stage.record if path not in upper.deleted), stage.live)
    merged |= dict.fromkeys(upper.entries, stage.upper)
    for path in sorted(merged):
        source = merged[path]
        if path:
            try:
                yield from _packed(source, path, own=source is stage.live, uid=uid, gid=gid, sent=sent)
            except PathRefusedError:  # the user removed it meanwhile; what was not sent is not missed later
                continue
    yield b"\0" * (2 * BLOCK_BYTES)
    _note_what_was_sent(stage, sent)


def _packed(  # noqa: PLR0913 - one caller; they travel together
    source: Beneath, path: str, *, own: bool, uid: int, gid: int, sent: dict[str, Sent]
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
        sent[path] = Sent("folder", mode, "", own)
    elif seen.is_symlink:
        target = source.readlink(path)
        entry = TarEntry(path=path, kind=TarKind.SYMLINK, mode=0o777, size=0, target=target)
        yield tar_header(entry, uid=uid, gid=gid, mtime=mtime)
        sent[path] = Sent("symlink", 0o777, target, own)
    elif seen.is_file:
        with source.file(path) as descriptor:
            size = os.fstat(descriptor).st_size
            entry = TarEntry(path=path, kind=TarKind.FILE, mode=mode, size=size, target="")
            yield tar_header(entry, uid=uid, gid=gid, mtime=mtime)
            digest = hashlib.sha256()
            yield from _content(descriptor, size, digest, path)
        sent[path] = Sent("file", mode, digest.hexdigest(), own)


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


def _note_what_was_sent(stage: OpenStage, sent: dict[str, Sent]) -> None:
    write_private(stage.folder.sent, json.dumps(sent).encode())
    for path, item in sent.items():
        now = stage.live_seen(path) if item.own and item.kind == "file" else None
        if now is not None and untouched(stage.record[path], now):
            stage.hashes[path] = item.content
    stage.keep_learnt()


def load_sent(stage: OpenStage) -> dict[str, Sent]:
    """Return what was sent, by path.

    Raises:
        StageBrokenError: When nobody knows.
    """
    try:
        told = json.loads(stage.folder.sent.read_bytes())
        return {str(path): Sent(*item) for path, item in told.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StageBrokenError(f"what was sent to the session cannot be read: {error}") from error


def is_out(folder: StageFolder) -> bool:
    """Tell whether what was sent has not come back: what was changed in it is lost with its container.

    One that was killed when it had taken its place, and before that was noted, has come back.

    Raises:
        StageBrokenError: When the list of its deletions is damaged.
    """
    finish_deleted(folder)
    return folder.sent.exists()
