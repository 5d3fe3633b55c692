"""Keep what a session without `files` leaves in its outputs folder, and put it in somewhere as a stage.

What is kept is the agent's: regular files and folders only, bounded, in the session's own folder. It reaches
a person's folder in the one way of every change: a stage, a diff, an apply; and with its label.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final

from agent_runner.at_work import runners_kept_out
from agent_runner.errors import InvalidInputError
from agent_runner.exercised import exercised
from agent_runner.lineage import removed, wrote_unreviewed
from agent_runner.review import files_block, read_policy
from agent_runner.waiting import Unread, waiting_in
from sandbox.errors import OperationError
from sandbox.stage import HiddenBy, StageFolder, discard, stage_of_tree
from sandbox.stage.beneath import check_relative
from sandbox.stage.discard import remove_tree
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.opened import open_stage
from sandbox.workspace import identity_of, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit.state import SessionFiles
    from policies.policy import Policy
    from sandbox.guest.objects import Object
    from sandbox.session import Sandbox

FOLDER: Final = "outputs"
"""Name of the folder in a session's folder."""
MAX_FILES: Final = 2000
"""Most files and folders that are kept."""
MAX_DEPTH: Final = 64
"""Deepest nesting that is kept, in folders."""
_FRESH: Final = "outputs.new"
_OLD: Final = "outputs.old"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ_BYTES: Final = 1024 * 1024
"""Bytes that are read at once: the guest's own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOutputs:
    """What was kept."""

    files: int
    """How many files."""
    content_bytes: int
    """What they hold in all, bytes."""
    left_out: tuple[str, ...]
    """One line for each path that was not kept, and why; not escaped."""


@dataclass(slots=True)
class _Keeping:
    """One fetch."""

    sandbox: Sandbox
    name: str
    """The outputs folder's name in the sandbox."""
    target: Path
    limit_bytes: int
    taken_bytes: int = 0
    files: int = 0

    async def one(self, line: bytes) -> str:
        """Keep one entry of the guest's list; return why it was left out, or nothing."""
        try:
            entry = json.loads(line)
            path = str(entry["path"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return "a line of the guest's list cannot be read"
        try:
            return await self._entry(path, entry)
        except (PathRefusedError, OperationError, OSError, ValueError) as error:
            return f"{path}: {error}"

    async def _entry(self, path: str, entry: dict[str, object]) -> str:
        if "path_base64" in entry:
            return f"{path}: its name is not UTF-8"
        check_relative(path)
        here = self.target / path
        if entry.get("kind") == "folder":
            here.mkdir(mode=0o755, parents=True, exist_ok=True)
            return ""
        if entry.get("kind") != "file":
            return f"{path}: it is neither a file nor a folder"
        return await self._file(path, here, executable=bool(int(str(entry.get("mode", 0))) & 0o100))

    async def _file(self, path: str, here: Path, *, executable: bool) -> str:
        """Keep a file whole, or nothing of it."""
        descriptor = os.open(here, _NEW, 0o755 if executable else 0o644)
        fetched = -1
        try:
            with os.fdopen(descriptor, "wb") as out:
                fetched = await self._fetch(path, out)
        except BaseException:
            _drop(here)
            raise
        if fetched < 0:
            _drop(here)
            return f"{path}: left out: the outputs hold more than {self.limit_bytes} bytes"
        self.taken_bytes += fetched
        self.files += 1
        return ""

    async def _fetch(self, path: str, out: BinaryIO) -> int:
        """Write a file's content and return its length, bytes; -1 when it goes past the limit."""
        while True:
            wanted: Object = {
                "path": f"{self.name}/{path}", "offset": out.tell(), "limit_bytes": READ_BYTES,
            }  # fmt: skip
            piece = (await self.sandbox.call("files.read", wanted)).body
            if self.taken_bytes + out.tell() + len(piece) > self.limit_bytes:
                return -1
            out.write(piece)
            if len(piece) < READ_BYTES:
                return out.tell()


def _drop(file: Path) -> None:
    file.unlink()


async def keep_outputs(sandbox: Sandbox, policy: Policy, folder: Path, state: Path) -> KeptOutputs | None:
    """Fetch the outputs folder of a session that ends; None when its policy names none, or it made none.

    What the session kept before it was resumed stays until all that is new is there.

    Args:
        sandbox: The session's, still running.
        policy: Its policy.
        folder: The session's folder.
        state: The state folder; the kept folder is labelled before anything is in it.

    Raises:
        sandbox.errors.SandboxError: When the sandbox no longer answers.
    """
    if policy.outputs is None or policy.files is not None:
        return None
    tidy_outputs(folder)
    try:
        arguments: Object = {"path": policy.outputs, "depth": MAX_DEPTH, "limit": MAX_FILES}
        listed = await sandbox.call("files.list", arguments)
    except OperationError:
        return None
    fresh = folder / _FRESH
    fresh.mkdir(mode=0o700)
    identity = replace(identity_of(fresh), path=str((folder / FOLDER).resolve()))
    why = "outputs of a session, which nobody has reviewed"
    used = await asyncio.to_thread(exercised, folder, policy.grant)
    wrote_unreviewed(state, identity, folder.name, used, why=why)
    keeping = _Keeping(sandbox, policy.outputs, fresh, sandbox.limits.scratch_bytes)
    lines = listed.body.splitlines()
    cut = listed.result.get("truncated") or len(lines) > MAX_FILES
    left_out = ["the list was cut"] if cut else []
    for line in lines[:MAX_FILES]:
        why = await keeping.one(line)
        left_out += [why] if why else []
    _put_in_place(folder, state)
    return KeptOutputs(files=keeping.files, content_bytes=keeping.taken_bytes, left_out=tuple(left_out))


def _put_in_place(folder: Path, state: Path) -> None:
    """Let what was fetched be the session's outputs, in place of what it kept before."""
    if os.path.lexists(folder / FOLDER):
        (folder / FOLDER).rename(folder / _OLD)
    (folder / _FRESH).rename(folder / FOLDER)
    _remove_labelled(folder / _OLD, state)


def _remove_labelled(kept: Path, state: Path) -> None:
    """Remove a folder of outputs, and then its label; of one that a person moved away, the label stays."""
    identity = identity_of(kept) if kept.is_dir() and not kept.is_symlink() else None
    remove_tree(kept)
    if identity is not None:
        removed(state, identity)


def tidy_outputs(folder: Path) -> None:
    """Remove what a runner left that was killed while it kept outputs; what was kept before stays.

    Args:
        folder: The session's folder; no runner may be at work there.
    """
    if not os.path.lexists(folder / FOLDER) and os.path.lexists(folder / _OLD):
        (folder / _OLD).rename(folder / FOLDER)
    for name in (_FRESH, _OLD):
        _remove_labelled(folder / name, _state_of(folder))


def half_kept(folder: Path) -> bool:
    """Tell whether a session's folder holds what `tidy_outputs` clears up."""
    return any(os.path.lexists(folder / name) for name in (_FRESH, _OLD))


def remove_outputs(folder: Path) -> None:
    """Remove what a session kept.

    Args:
        folder: The session's folder; no runner may be at work there.
    """
    tidy_outputs(folder)
    _remove_labelled(folder / FOLDER, _state_of(folder))


def _state_of(folder: Path) -> Path:
    """Return the state folder around a session's folder."""
    return folder.parent.parent


def output_names(session: SessionFiles) -> tuple[str, ...]:
    """Return the paths of what a session left, sorted."""
    top = session.folder / FOLDER
    return tuple(sorted(_names(top, "")))


def put_in(session: SessionFiles, state: Path, target: Path) -> int:
    """Make a session's outputs changes of a folder that wait for a review; return how many files there are.

    Args:
        session: Whose outputs.
        state: The state folder.
        target: The person's folder that they are to go to.

    Raises:
        InvalidInputError: When the session runs, left nothing, or has changes waiting elsewhere.
        sandbox.workspace.WorkspaceError: When `target` cannot be a workspace.
    """
    with runners_kept_out(session):
        return _put_in(session, state, target)


def _put_in(session: SessionFiles, state: Path, target: Path) -> int:
    names = output_names(session)
    if not names:
        raise InvalidInputError(
            f"session `{session.folder.name}` left no outputs",
            hint="`outputs: NAME` in a policy keeps a folder",
        )
    if read_policy(session.folder).files is not None:
        raise InvalidInputError(f"session `{session.folder.name}` has a workspace of its own")
    _refuse_waiting(session.folder)
    if StageFolder(session.folder / "stage").path.exists():
        discard(session.folder)
    stage_of_tree(
        open_workspace(target, state=state),
        session.folder,
        session.folder / FOLDER,
        hide=HiddenBy(files_block(session.folder)),
    )
    return len(names)


def _refuse_waiting(folder: Path) -> None:
    match waiting_in(folder):
        case 0:
            return
        case Unread(why=why):
            raise InvalidInputError(
                f"its outputs wait for a review that cannot be read: {why}",
                hint="`pairlock clean --unreviewed` throws it away",
            )
        case _:
            with open_stage(folder) as stage:
                where = stage.workspace.path
            raise InvalidInputError(
                f"its outputs wait for a review in `{where}`", hint="apply or discard them first"
            )


def _names(folder: Path, prefix: str) -> Iterator[str]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _names(path, f"{prefix}{path.name}/")
        else:
            yield prefix + path.name
