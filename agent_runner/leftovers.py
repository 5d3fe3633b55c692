"""Find what sessions left on the engine and on the disk; never changes that wait for a review.

What belongs to a session whose runner lives is no leftover: a runner holds its session's lock for its whole
life. Nothing in the state folder is followed: a link that stands where a folder should be is left alone.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agent_runner.ci.result_tree import dead_trees, take_away
from agent_runner.discarding import note_discarded
from agent_runner.door import dead_sockets
from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from agent_runner.outputs import half_kept, output_names, remove_outputs, tidy_outputs
from agent_runner.state_label import errands_of, state_label
from agent_runner.waiting import Unread, waiting_in
from audit.errors import LedgerError, LedgerLockedError, UnknownSessionError
from audit.escape import escape_line
from audit.index import read_index
from audit.lock import WriterLock, is_held
from audit.state import SessionFiles, StateFiles
from sandbox.errors import SandboxError
from sandbox.neutral import sweep_names
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import ready_runtime
from sandbox.stage import discard
from sandbox.stage.layout import StageFolder
from sandbox.workspace_mount import PARCEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from sandbox.docker_engine import DockerEngine


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that can go."""

    name: str
    """What it is, for people; escaped."""
    remove: Callable[[], Awaitable[str | None]]
    """Removes it, or says why it stays after all."""
    kept: str = ""
    """Why it is not to go; empty for what can."""


async def leftovers(engine: DockerEngine, state: Path, *, unreviewed: bool) -> AsyncIterator[Leftover]:
    """Yield what can go, in an order in which it can; what comes later is looked at once that is gone.

    Args:
        engine: Where containers and volumes are.
        state: The state folder.
        unreviewed: Whether changes that nobody has reviewed count as well.
    """
    label = state_label(state)
    for found in await engine.owned(state=label):
        if not running(state, found.session):
            name = f"the container of session {escape_line(found.session)}"
            yield Leftover(name, _of(engine.remove, found.container_id))
    for container, name in await engine.dead_errands():
        yield Leftover(f"the container {escape_line(name.lstrip('/'))}", _of(engine.remove, container))
    for image in await engine.dead_images():
        yield Leftover(f"the unfinished image {escape_line(image)}", _of(engine.remove_image, image))
    for volume, session in await engine.owned_volumes(state=label):
        if not running(state, session):
            yield Leftover(f"the volume {escape_line(volume)}", _of(engine.remove_volume, volume))
    for leftover in _on_disk(engine, state, unreviewed=unreviewed):
        yield leftover


def running(state: Path, session: str) -> bool:
    """Tell whether a session has a runner that lives."""
    try:
        return is_held(StateFiles(state).session(session).lock)
    except UnknownSessionError:  # a battery's of `doctor --probe`
        return errands_of(state).probing(session)


def _on_disk(engine: DockerEngine, state: Path, *, unreviewed: bool) -> Iterator[Leftover]:
    files = StateFiles(state)
    for session in sorted(files.session_ids()):
        folder = files.session(session).folder
        if not _own_folder(folder) or running(state, session):
            continue
        parcel = folder / PARCEL
        if os.path.lexists(parcel):
            remove = _alone(folder, _unlink(parcel))
            yield Leftover(f"the unsent workspace of session {session}", remove)
        if _has_stage(folder):
            yield from _stage(engine, state, folder, unreviewed=unreviewed)
        yield from _outputs(state, folder, unreviewed=unreviewed)
    for session in sorted(set(files.session_ids()) - read_index(files).sessions.keys()):
        folder = files.session(session).folder
        if not _own_folder(folder) or running(state, session):
            continue
        if {entry.name for entry in folder.iterdir()} <= {files.session(session).lock.name}:
            yield Leftover(f"the empty folder of session {session}", _remove_empty(folder))
    for socket in dead_sockets():
        yield Leftover(f"the socket of session {socket.name}", _unlink(socket))
    for tree in dead_trees(state):
        yield Leftover(
            f"the checked result of a task, {tree}", partial(asyncio.to_thread, take_away, tree, state)
        )
    yield from _names()


def _stage(engine: DockerEngine, state: Path, folder: Path, *, unreviewed: bool) -> Iterator[Leftover]:
    """Yield a stage that can go; one that cannot be read may hold changes, and is told of."""
    name, waits = f"the stage of session {folder.name}", waiting_in(folder)
    remove = _alone(folder, lambda: _discard_seen(engine, state, folder, waits))
    match waits:
        case 0:
            yield Leftover(name, remove)
        case Unread(why=why):
            reviewed = "" if unreviewed else f"it cannot be read ({why}), and `--unreviewed` was not given"
            yield Leftover(name, remove, kept=reviewed)
        case count:
            if unreviewed:
                yield Leftover(f"{name} with {count} changes", remove)


def _outputs(state: Path, folder: Path, *, unreviewed: bool) -> Iterator[Leftover]:
    """Yield what a session without `files` kept, which stays unless it is asked for."""
    if half_kept(folder):
        name = f"the unfinished outputs of session {folder.name}"
        yield Leftover(name, _alone(folder, lambda: asyncio.to_thread(tidy_outputs, folder)))
    if not output_names(SessionFiles(folder)):
        return

    async def remove() -> None:
        await asyncio.to_thread(_record, state, folder)
        await asyncio.to_thread(remove_outputs, folder)

    kept = "" if unreviewed else f"`pairlock discard {folder.name}` or `--unreviewed` removes them"
    yield Leftover(f"the outputs of session {folder.name}", _alone(folder, remove), kept=kept)


def _alone(folder: Path, remove: Callable[[], Awaitable[str | None]]) -> Callable[[], Awaitable[str | None]]:
    """Remove what is a session's as its only writer: `resume` may have come since it was looked at."""

    async def locked() -> str | None:
        try:
            lock = WriterLock(SessionFiles(folder).lock)
        except LedgerLockedError:
            return "a runner has just gone on with the session"
        except LedgerError as error:
            return escape_line(str(error))
        try:
            return await remove()
        finally:
            lock.release()

    return locked


async def _discard_seen(engine: DockerEngine, state: Path, folder: Path, waits: int | Unread) -> str | None:
    """Remove a stage, if no more waits in it than was seen before its session was locked."""
    if waiting_in(folder) != waits:
        return "its changes are others than a moment ago"
    if waits != 0:
        _record(state, folder)
    await _discard(engine, state, folder)
    return None


def _record(state: Path, folder: Path) -> None:
    """Write down that a person had changes thrown away, before they are: the session cannot go on."""
    why = "a person had it cleaned away, unreviewed"
    workspace = ""
    with suppress(NoFactsError):
        workspace = read_meta(folder).workspace or ""
    note_discarded(folder, state, workspace=workspace, why=why)


def _names() -> Iterator[Leftover]:
    try:
        found = sweep_names(remove=False)
    except (SandboxError, OSError) as error:  # another user may have made the folder in /tmp first
        yield Leftover("the links of mounts", _swept, kept=escape_line(str(error)))
        return
    for folder in found:
        yield Leftover(f"the links of a mount in {folder}", _swept)


async def _swept() -> None:
    sweep_names()


def _has_stage(folder: Path) -> bool:
    """Tell whether a session's folder holds a stage, or what is left of one; a link is none of ours."""
    stage = StageFolder(folder / "stage").path
    return _own_folder(stage) or (
        not os.path.lexists(stage) and any(map(_own_folder, folder.glob("stage.discarded*")))
    )


def _own_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _of(remove: Callable[[str], Awaitable[None]], name: str) -> Callable[[], Awaitable[None]]:
    return lambda: remove(name)


def _unlink(path: Path) -> Callable[[], Awaitable[None]]:
    async def remove() -> None:
        await asyncio.to_thread(path.unlink, missing_ok=True)

    return remove


def _remove_empty(folder: Path) -> Callable[[], Awaitable[str | None]]:
    """Remove the folder of a session that never began; one that begins just now finds its lock taken."""

    async def remove() -> str | None:
        try:
            await asyncio.to_thread(SessionFiles(folder).lock.unlink)
            await asyncio.to_thread(folder.rmdir)
        except OSError as error:
            return (error.strerror or "it does not go").lower()
        return None

    return _alone(folder, remove)


async def _discard(engine: DockerEngine, state: Path, folder: Path) -> None:
    """Remove a stage; what overlay left in root's name, a container with that folder alone removes."""
    leftover = discard(folder).leftover
    if leftover is None:
        return
    empty = await ready_empty(engine, state=state, progress=_quiet)
    volume = await ready_runtime(engine, state=state, progress=_quiet)
    code = "import os, shutil; [shutil.rmtree(f'/folder/{name}') for name in os.listdir('/folder')]"
    argv = (*volume.argv_prefix[:-1], "-c", code)
    await engine.empty_folder_as_root(leftover, image=empty, guest_volume=volume.name, argv=argv)
    left = discard(folder).leftover
    if left is not None:
        raise SandboxError(
            f"`{left}` is root's and could not be emptied",
            hint="remove it as root, or run `pairlock clean` again",
        )


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
