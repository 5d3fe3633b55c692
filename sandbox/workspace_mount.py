"""Turn a stage's plan into the mount at /workspace, or bring the content in where no mount can."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import stat
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from sandbox import stage
from sandbox.docker_errors import GoneError
from sandbox.errors import ContainerEndedError, SandboxError, SandboxLostError
from sandbox.neutral import require_identity
from sandbox.spec import WORKSPACE, BindMount, DriverMount, VolumeMount
from sandbox.stage.collecting import collect
from sandbox.stage.errors import StageError
from sandbox.stage.opened import open_stage
from sandbox.stage.parcel import pack
from sandbox.stage.start import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from sandbox.docker_engine import DockerEngine
    from sandbox.limits import Limits
    from sandbox.neutral import NeutralNames
    from sandbox.spec import ContainerSpec, Identity, Mount
    from sandbox.stage import StagePlan
    from sandbox.stage.opened import OpenStage
    from sandbox.workspace import Workspace

PARCEL: Final = "workspace.tar"
"""Name of the file in a session's folder in which a workspace waits for its volume."""
LEFT_BEHIND_SECONDS: Final = 120
"""Age of a file of `require_same_folder` that nobody waits for any more: two answers of an engine."""
_NONCE: Final = ".pairlock-"
_LEFT_BEHIND: Final = re.compile(re.escape(_NONCE) + r"[0-9a-f]{32}")
_SPARE_ENTRIES: Final = 16
"""The folder itself, and what a write puts beside a file before it replaces it."""
VOUCH_SECONDS: Final = 120
"""How long the engine may take to say whether a container runs: twice what any answer of it may take."""


def workspace_mount(plan: StagePlan, names: NeutralNames, limits: Limits, identity: Identity) -> Mount | None:
    """Return the mount that a plan asks for; None for a copy that is only read: it needs a volume.

    Args:
        plan: How the stage holds the workspace.
        names: What the mount's options name, in place of this machine's own paths.
        limits: The session's bounds.
        identity: Who owns a copy.
    """
    match plan:
        case stage.Overlay():
            layers = _named(plan, names, plan.lower)
            named = replace(plan, lower=layers, upper=names.name(plan.upper), work=names.name(plan.work))
            return _overlay(named.options, read_only=False)
        case stage.ReadOnly():
            # An empty layer below where there is one only: a bind would show its path, and takes no noexec.
            lower = plan.lower if len(plan.lower) > 1 else (*plan.lower, plan.facts.folder.hidden)
            return _overlay(replace(plan, lower=_named(plan, names, lower)).options, read_only=True)
        case stage.Direct():
            return BindMount(target=WORKSPACE, source=str(plan.source), read_only=False)
        case stage.Copy():
            executable = plan.facts.executable
            return (
                _in_memory(room_of(plan, limits), identity, executable=executable) if plan.writable else None
            )
        case _:
            assert_never(plan)


def _named(plan: StagePlan, names: NeutralNames, layers: tuple[Path, ...]) -> tuple[Path, ...]:
    """Name layers; the workspace must still be the folder that was looked at."""
    identity = plan.facts.workspace.identity
    return tuple(
        names.name(layer, expected=identity) if layer == plan.facts.workspace.path else names.name(layer)
        for layer in layers
    )


def _overlay(options: str, *, read_only: bool) -> DriverMount:
    return DriverMount(target=WORKSPACE, filesystem="overlay", options=options, read_only=read_only)


@dataclass(frozen=True, slots=True)
class Room:
    """How much a workspace that was copied into memory may hold."""

    content_bytes: int
    entries: int


def room_of(plan: stage.Copy, limits: Limits) -> Room:
    """Return the room for what the workspace holds and what a session may add to it, in whole pages.

    What replaces a file takes the room of what it replaces, so a session that deletes first can write more
    than its limits: what it changed is measured when it has come back.
    """
    facts = plan.facts
    added = limits.file_bytes + min(limits.written_files, limits.copy_files) * PAGE_BYTES
    return Room(
        content_bytes=min(limits.copy_bytes, plan.content_bytes + added),
        entries=min(limits.copy_files, facts.entries + limits.written_files + _SPARE_ENTRIES),
    )


def _in_memory(room: Room, identity: Identity, *, executable: bool) -> DriverMount:
    """Return a bounded memory file system for a workspace that travels as a stream."""
    owner = f"uid={identity.uid},gid={identity.gid},mode=0700"
    size = f"size={room.content_bytes},nr_inodes={room.entries}"
    execution = "exec" if executable else "noexec"
    return DriverMount(
        target=WORKSPACE,
        filesystem="tmpfs",
        options=f"{size},{owner},nosuid,nodev,{execution}",
        read_only=False,
    )


async def read_only_copy(
    engine: DockerEngine, folder: Path, identity: Identity, *, image: str, labels: Mapping[str, str]
) -> VolumeMount:
    """Fill a volume with what the agent may see, and mount it read-only; its owner removes it at the end.

    Args:
        engine: Where.
        folder: The session's folder, with its stage.
        identity: Who owns the files inside.
        image: Of the container through which it is filled, and which never starts.
        labels: Whose volume it is.
    """
    name = f"pairlock-workspace-{folder.name}-{secrets.token_hex(4)}"
    parcel = folder / PARCEL
    await engine.create_volume(name, labels=labels)
    try:
        await asyncio.to_thread(_write, folder, parcel, identity)
        await engine.fill_volume(name, image=image, path=WORKSPACE, tar=parcel)
    except BaseException:
        await engine.remove_volume(name)
        raise
    finally:
        parcel.unlink(missing_ok=True)
    return VolumeMount(target=WORKSPACE, name=name, read_only=True)


async def require_same_folder(engine: DockerEngine, container_id: str, workspace: Workspace) -> None:
    """See to it that a container's workspace, a bind, is this machine's folder of that path.

    A file with a random name is there for as long as the engine takes to find it through the mount. It cannot
    be done without, as for overlays: a runtime opens a bind's source in a mount namespace of its own.

    Raises:
        StageError: When the engine finds no such file there.
    """
    path, name = str(workspace.path), f"{_NONCE}{secrets.token_hex(16)}"
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        require_identity(folder, workspace.identity)
        _remove_left_behind(folder)
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
        try:
            found = await engine.has_path(container_id, f"{WORKSPACE}/{name}")
        finally:
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
    if not found:
        raise StageError(
            f"`access: direct` cannot be had: what the engine finds at `{path}` is another folder",
            hint="use `access: stage`, which can be copied",
        )


def _remove_left_behind(folder: int) -> None:
    """Remove the files of checks that were killed; one of a check that may still go on stays."""
    for name in os.listdir(folder):
        if _LEFT_BEHIND.fullmatch(name):
            with suppress(OSError):  # gone meanwhile, or in a folder that is not ours: it does no harm
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
                if ours and status.st_size == 0 and time.time() - status.st_mtime > LEFT_BEHIND_SECONDS:
                    os.unlink(name, dir_fd=folder)


def _write(folder: Path, parcel: Path, identity: Identity) -> None:
    with open_stage(folder) as opened, parcel.open("xb") as stream:
        for chunk in pack(opened, uid=identity.uid, gid=identity.gid):
            stream.write(chunk)


@asynccontextmanager
async def copied_in(  # noqa: PLR0913 - one caller; they travel together
    engine: DockerEngine,
    container_id: str,
    folder: Path,
    spec: ContainerSpec,
    limits: Limits,
    *,
    tell: Callable[[str], object],
) -> AsyncIterator[None]:
    """Bring the workspace in as a stream, and fetch what became of it at the end.

    Args:
        engine: Where the container is.
        container_id: The container.
        folder: The session's folder, with its stage.
        spec: What the container was made from.
        limits: The session's bounds.
        tell: Is told when the copy is lost while something else goes wrong, which is what is raised.

    Raises:
        ContainerEndedError: When the container ended before everything was fetched.
    """
    identity = spec.identity
    with open_stage(folder) as opened:
        await engine.put_folder(container_id, WORKSPACE, pack(opened, uid=identity.uid, gid=identity.gid))
        try:
            yield
        except SandboxLostError:
            tell("the workspace travelled as a copy, and what changed in it is lost with its container")
            raise
        except BaseException:
            try:
                await _fetched(engine, container_id, opened, spec, limits)
            except (SandboxError, OSError) as error:
                tell(f"what changed in the workspace's copy is lost: {error}")
            raise
        await _fetched(engine, container_id, opened, spec, limits)


async def _fetched(
    engine: DockerEngine, container_id: str, opened: OpenStage, spec: ContainerSpec, limits: Limits
) -> None:
    loop = asyncio.get_running_loop()

    async def require_running() -> None:
        if not (await engine.inspect(container_id, spec)).running:
            raise ContainerEndedError

    def vouch() -> None:
        # A container that ended has lost its memory file system: an empty folder would read as all deleted.
        asyncio.run_coroutine_threadsafe(require_running(), loop).result(VOUCH_SECONDS)

    def take(tar: Iterable[bytes]) -> None:
        collect(
            opened,
            tar,
            limit_bytes=limits.copy_bytes,
            limit_entries=limits.copy_files,
            prefix=WORKSPACE.strip("/"),
            vouch=vouch,
        )

    try:
        await engine.get_folder(container_id, WORKSPACE, take)
    except GoneError as error:
        raise ContainerEndedError from error
