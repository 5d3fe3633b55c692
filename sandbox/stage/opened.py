"""Open a stage for reading, from any process: its record, the agent's tree and the user's folder."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox.stage.base import Learnt, Seen, load_learnt, save_learnt, untouched
from sandbox.stage.beneath import Beneath, parents_of
from sandbox.stage.errors import PathRefusedError, StageBrokenError, StageError
from sandbox.stage.layout import StageFolder
from sandbox.stage.record import Record
from sandbox.stage.start import load_record
from sandbox.stage.strategy import STAGE_VERSION
from sandbox.stage.upper import finish_deleted
from sandbox.workspace import WorkspaceIdentity, birth_ns, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStage:
    """A stage and the workspace it was made from, both open."""

    folder: StageFolder
    """Where the stage lies."""
    strategy: str
    """The name of the plan: `Overlay`, `OverlayOnCopy`, `Copy`, `ReadOnly`, `Direct`."""
    workspace: WorkspaceIdentity
    """Which folder the session started on."""
    absent: frozenset[str]
    """Paths that were hidden from the agent."""
    record: Record
    """What the workspace held when the session started."""
    hashes: dict[str, str]
    """Digests of the workspace's content as it was, where they are known; grows as they are learnt."""
    live: Beneath
    """The user's folder, as it is now."""
    upper: Beneath
    """The agent's tree."""
    base: Beneath | None
    """The copy that the session saw, where there was one."""

    def live_seen(self, path: str) -> Seen | None:
        """Return what is at `path` in the workspace now; None when nothing is.

        Raises:
            PathRefusedError: When a mount is in the way, or a symlink on which the session did not start.
        """
        try:
            status = self.live.stat(path)
        except PathRefusedError:
            if not self._behind_its_own_symlink(path):
                raise
            return None
        return None if status is None else Seen.of(status)

    def _behind_its_own_symlink(self, path: str) -> bool:
        """Tell whether a symlink of the start still stands above a path, so that nothing was below it."""
        above = next((parent for parent in parents_of(path) if parent in self.record), "")
        now = self.live.stat(above) if above else None
        return now is not None and Seen.of(now).is_symlink and Seen.of(now) == self.record[above]

    @property
    def known(self) -> tuple[int, int]:
        """Return how much was learnt, to be compared."""
        return len(self.hashes), len(self.record.learnt)

    def keep_learnt(self) -> None:
        """Write down what was learnt of the workspace as it was: it holds, whatever becomes of that."""
        save_learnt(self.folder.hashes, Learnt(self.hashes, self.record.learnt))

    def base_digest(self, path: str) -> str:
        """Return the SHA-256 of a file as it was when the session started; `""` where nobody knows it."""
        if known := self.hashes.get(path):
            return known
        source = self.base_source(path)
        digest = "" if source is None else digest_of(source, path)
        if not self._stood_still(path, source):
            return ""
        self.hashes[path] = digest
        return digest

    def base_target(self, path: str) -> str:
        """Return where a symlink pointed when the session started; `""` where nobody knows it."""
        source = self.base_source(path)
        target = "" if source is None else source.readlink(path)
        return target if self._stood_still(path, source) else ""

    def _stood_still(self, path: str, source: Beneath | None) -> bool:
        """Tell whether what was read from `source` is the base: a user may have saved just before."""
        if source is not self.live:
            return source is not None
        now = self.live_seen(path)
        return now is not None and untouched(self.record[path], now)

    def base_source(self, path: str) -> Beneath | None:
        """Return the folder that still holds `path` as it was; None when the user changed it."""
        before, now = self.record[path], self.live_seen(path)
        if now is not None and untouched(before, now):
            return self.live
        if self.base is None or not before.is_file:
            return self.base
        known = self.hashes.get(path)
        return self.base if known is None or digest_of(self.base, path) == known else None


@contextmanager
def open_stage(session_folder: Path, *, moved_to: Path | None = None) -> Iterator[OpenStage]:
    """Open the stage of a session, and the workspace that it was made from.

    Args:
        session_folder: The session's folder in the state folder.
        moved_to: Where the workspace lies now, if it was moved; it must be the same folder.

    Raises:
        StageError: When the workspace is gone or another folder is in its place.
        StageBrokenError: When the stage's own files are missing or damaged.
    """
    folder = StageFolder(session_folder.resolve() / "stage")
    about = _about(folder)
    finish_deleted(folder)
    try:
        identity = WorkspaceIdentity(**about["workspace"])
        strategy, absent = str(about["strategy"]), frozenset(map(str, about["absent"]))
    except (KeyError, TypeError) as error:
        raise StageBrokenError(f"the stage `{folder.path}` does not say what it was made from") from error
    if moved_to is not None:
        identity = replace(identity, path=str(moved_to))
    learnt = load_learnt(folder.hashes)
    with ExitStack() as stack:
        live = stack.enter_context(_open_workspace(identity))
        base = stack.enter_context(Beneath.open(folder.base)) if strategy == "OverlayOnCopy" else None
        yield OpenStage(
            folder=folder,
            strategy=strategy,
            workspace=identity,
            absent=absent,
            record=Record(load_record(folder.record), live, learnt.facts, folder.set_back),
            hashes=learnt.hashes,
            live=live,
            upper=stack.enter_context(Beneath.open(folder.upper)),
            base=base,
        )


def _about(folder: StageFolder) -> dict[str, Any]:
    try:
        about = json.loads(folder.about.read_bytes())
    except FileNotFoundError:
        raise StageBrokenError(
            f"session `{folder.path.parent.name}` has no stage: it ended before it had one, or stages nothing"
        ) from None
    except (OSError, ValueError) as error:
        raise StageBrokenError(f"the stage `{folder.path}` cannot be read: {error}") from error
    if isinstance(about, dict) and about.get("version") == 1:
        raise StageBrokenError(
            f"the stage `{folder.path}` was made by an earlier pairlock",
            hint=f"apply it with that one, or {_by_hand(folder)}",
        )
    if not isinstance(about, dict) or about.get("version") != STAGE_VERSION:
        raise StageBrokenError(
            f"the stage `{folder.path}` is not of version {STAGE_VERSION}", hint=_by_hand(folder)
        )
    return about


def _by_hand(folder: StageFolder) -> str:
    return f"copy what you want of `{folder.upper}`, where the agent's files lie, then `pairlock discard`"


def _open_workspace(identity: WorkspaceIdentity) -> Beneath:
    """Open the workspace at its path, and see that it is the folder it was."""
    try:
        live = Beneath.open(Path(identity.path))
    except PathRefusedError as error:
        message = f"the session's workspace `{shown(identity.path)}` cannot be opened: {error.reason}"
        raise StageError(message) from error
    status = os.fstat(live.root)
    if (status.st_ino, birth_ns(identity.path)) != (identity.inode, identity.birth_ns):
        os.close(live.root)
        raise StageError(
            f"`{shown(identity.path)}` is another folder than the one the session started on",
            hint="say where the folder lies now, or discard the session's changes",
        )
    return live


def digest_of(folder: Beneath, path: str) -> str:
    """Return the SHA-256 of a regular file, hexadecimal.

    Raises:
        PathRefusedError: When it is not a regular file, or cannot be opened.
    """
    digest = hashlib.sha256()
    with folder.file(path) as descriptor:
        while chunk := os.read(descriptor, READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def content_of(folder: Beneath, path: str, limit_bytes: int) -> bytes | None:
    """Return a regular file's content; None when it is longer than `limit_bytes`.

    Raises:
        PathRefusedError: When it is not a regular file, or cannot be opened.
    """
    with folder.file(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as stream:
        content = stream.read(limit_bytes + 1)
    return content if len(content) <= limit_bytes else None
