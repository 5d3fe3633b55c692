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
from typing import TYPE_CHECKING

from agent_runner.door import dead_sockets
from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from agent_runner.package import pairlock_version
from agent_runner.person import who
from agent_runner.state_label import state_label
from agent_runner.waiting import Unread, waiting_in
from audit.errors import LedgerLockedError, UnknownSessionError
from audit.escape import escape_line
from audit.event import StageDiscarded
from audit.host import HostLog
from audit.index import read_index
from audit.lock import WriterLock, is_held
from audit.state import SessionFiles, StateFiles
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
    remove: Callable[[], Awaitable[object]]
    """Removes it."""
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
    for volume, session in await engine.owned_volumes(state=label):
        if not running(state, session):
            yield Leftover(f"the volume {escape_line(volume)}", _of(engine.remove_volume, volume))
    for leftover in _on_disk(engine, state, unreviewed=unreviewed):
        yield leftover


def running(state: Path, session: str) -> bool:
    """Tell whether a session has a runner that lives."""
    try:
        return is_held(StateFiles(state).session(session).lock)
    except UnknownSessionError:  # what a battery of `doctor --probe` left when it was killed
        return False


def _on_disk(engine: DockerEngine, state: Path, *, unreviewed: bool) -> Iterator[Leftover]:
    files = StateFiles(state)
    for session in sorted(files.session_ids()):
        folder = files.session(session).folder
        if not _own_folder(folder) or running(state, session):
            continue
        parcel = folder / PARCEL
        if os.path.lexists(parcel):
            yield Leftover(f"the unsent workspace of session {session}", _unlink(parcel))
        if not _has_stage(folder):
            continue
        yield from _stage(engine, state, folder, unreviewed=unreviewed)
    for session in sorted(set(files.session_ids()) - read_index(files).sessions.keys()):
        folder = files.session(session).folder
        if _own_folder(folder) and {entry.name for entry in folder.iterdir()} <= {
            files.session(session).lock.name
        }:
            yield Leftover(f"the empty folder of session {session}", _remove_empty(folder))
    for socket in dead_sockets():
        yield Leftover(f"the socket of session {socket.name}", _unlink(socket))
    yield from _names()


def _stage(engine: DockerEngine, state: Path, folder: Path, *, unreviewed: bool) -> Iterator[Leftover]:
    """Yield a stage that can go; one that cannot be read may hold changes, and is told of."""
    name, remove = f"the stage of session {folder.name}", _discard(engine, state, folder)
    match waiting_in(folder):
        case 0:
            yield Leftover(name, remove)
        case Unread(why=why):
            reviewed = "" if unreviewed else f"it cannot be read ({why}), and `--unreviewed` was not given"
            yield Leftover(name, _recorded(remove, state, folder), kept=reviewed)
        case count:
            if unreviewed:
                yield Leftover(f"{name} with {count} changes", _recorded(remove, state, folder))


def _recorded(
    remove: Callable[[], Awaitable[object]], state: Path, folder: Path
) -> Callable[[], Awaitable[None]]:
    """Write down that a person had changes thrown away, before they are: the session cannot go on."""

    async def discarded() -> None:
        why = "a person had it cleaned away, unreviewed"
        workspace = ""
        with suppress(NoFactsError):
            workspace = read_meta(folder).workspace or ""
        with HostLog(state, writer=pairlock_version()) as log:
            log.append(StageDiscarded(session=folder.name, workspace=workspace, by=who(), why=why))
        await remove()

    return discarded


def _names() -> Iterator[Leftover]:
    for folder in sweep_names(remove=False):
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


def _remove_empty(folder: Path) -> Callable[[], Awaitable[None]]:
    """Remove the folder of a session that never began; one that begins just now finds its lock taken."""

    async def remove() -> None:
        lock = SessionFiles(folder).lock
        with suppress(LedgerLockedError):
            held = WriterLock(lock)
            await asyncio.to_thread(lock.unlink)
            await asyncio.to_thread(folder.rmdir)
            held.release()

    return remove


def _discard(engine: DockerEngine, state: Path, folder: Path) -> Callable[[], Awaitable[None]]:
    """Remove a stage; what overlay left in root's name, a container with that folder alone removes."""

    async def remove() -> None:
        leftover = discard(folder).leftover
        if leftover is None:
            return
        empty = await ready_empty(engine, state=state, progress=_quiet)
        volume = await ready_runtime(engine, state=state, progress=_quiet)
        code = "import os, shutil; [shutil.rmtree(f'/folder/{name}') for name in os.listdir('/folder')]"
        argv = (*volume.argv_prefix[:-1], "-c", code)
        await engine.empty_folder_as_root(leftover, image=empty, guest_volume=volume.name, argv=argv)
        discard(folder)

    return remove


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
