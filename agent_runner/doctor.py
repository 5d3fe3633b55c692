"""Look at what a session needs on this machine, and say of each thing how to mend it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sandbox.docker_engine import DockerEngine
from sandbox.engine import BOUNDS_HINT
from sandbox.errors import SandboxError
from sandbox.runtime.record import RecordFile
from sandbox.stage import kernel
from sandbox.versions import known_holes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.engine import EngineFacts

Standing = Literal["ok", "note", "missing"]
OLDEST_API: Final = (1, 41)
ROOM_BYTES: Final = 2 * 1024**3
CORE_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    standing: Standing
    """`missing` stops a session; `note` does not."""
    text: str
    mend: str = ""
    """How to mend it; empty when there is nothing to mend."""


async def findings(state: Path) -> AsyncIterator[Finding]:
    """Yield each finding as it is made.

    Args:
        state: The state folder; it is not made here.
    """
    yield _python()
    yield _state(state)
    if CORE_PATTERN.exists() and CORE_PATTERN.read_bytes().startswith(b"@"):
        yield _collector()
    try:
        engine = await DockerEngine.connect()
        facts = await engine.describe()
    except SandboxError as error:
        yield Finding(name="engine", standing="missing", text=error.message, mend=error.hint)
        return
    try:
        async for finding in _of_engine(engine, facts, state):
            yield finding
    finally:
        await engine.close()


async def _of_engine(engine: DockerEngine, facts: EngineFacts, state: Path) -> AsyncIterator[Finding]:
    yield _engine(facts)
    yield _seccomp(facts)
    yield _bounds(facts)
    yield _runtimes(facts)
    for hole in known_holes(facts):
        yield Finding(name="known hole", standing="note", text=hole.text, mend=hole.mend)
    yield _overlay(facts, state)
    built = RecordFile(state, facts.engine_id).read()
    yield await _volume(engine, built.runtime.name if built.runtime else None)
    yield await _starter(engine, built.starter.name if built.starter else None)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    system = os.uname()
    if system.sysname == "Linux":
        return Finding(name="machine", standing="ok", text=f"Linux {system.release}, Python {version}")
    return Finding(
        name="machine",
        standing="note",
        text=f"{system.sysname}, Python {version}: the workspace is copied, not overlaid",
    )


def _state(state: Path) -> Finding:
    folder = next(parent for parent in (state, *state.parents) if parent.exists())
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    text = f"state folder {state}, {free // 1024**2} MiB free"
    if not os.access(folder, os.W_OK):
        return Finding(
            name="state", standing="missing", text=f"{text}, not writable", mend="set PAIRLOCK_STATE"
        )
    if free < ROOM_BYTES:
        return Finding(
            name="state", standing="note", text=text, mend="free some room: less than 2 GiB is left"
        )
    return Finding(name="state", standing="ok", text=text)


def _collector() -> Finding:
    """Say what no limit of a session's bounds: fs/coredump.c of Linux 6.16 ignores it for a socket."""
    return Finding(
        name="cores",
        standing="note",
        text="a program that crashes in a session is handed to the socket that `core_pattern` names",
        mend="name a file in /proc/sys/kernel/core_pattern, or a program with `|`: the limit holds there",
    )


def _engine(facts: EngineFacts) -> Finding:
    where = f"at {facts.endpoint} ({facts.found}), {facts.operating_system}"
    text = f"Docker {facts.version} (API {facts.api_version}) {where}"
    if tuple(int(part) for part in facts.api_version.split(".")) < OLDEST_API:
        return Finding(
            name="engine", standing="missing", text=text, mend="update it: API 1.41 (Docker 20.10) or newer"
        )
    return Finding(name="engine", standing="ok", text=text)


def _seccomp(facts: EngineFacts) -> Finding:
    if facts.seccomp:
        return Finding(name="seccomp", standing="ok", text="the engine applies seccomp profiles")
    return Finding(
        name="seccomp",
        standing="missing",
        text="the engine has no seccomp, and no session can do without",
        mend="use an engine and a kernel with CONFIG_SECCOMP_FILTER",
    )


def _bounds(facts: EngineFacts) -> Finding:
    if not facts.unbounded:
        return Finding(
            name="bounds", standing="ok", text="the engine bounds memory, swap, processes and cpus"
        )
    return Finding(
        name="bounds",
        standing="missing",
        text=f"the engine cannot bound {', '.join(facts.unbounded)}, and no session goes without bounds",
        mend=BOUNDS_HINT,
    )


def _runtimes(facts: EngineFacts) -> Finding:
    text = f"runtimes {', '.join(facts.runtimes)}; default {facts.default_runtime}"
    if "runsc" in facts.runtimes:
        return Finding(name="runtimes", standing="ok", text=text)
    return Finding(
        name="runtimes",
        standing="note",
        text=f"{text}; gVisor is not among them",
        mend='for `runtime: gvisor`: `apt-get install runsc`, then in /etc/docker/daemon.json "runtimes": '
        '{"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}}, and restart the engine',
    )


def _overlay(facts: EngineFacts, state: Path) -> Finding:
    if facts.mount_obstacle:
        return Finding(
            name="overlay", standing="note", text=f"the workspace is copied: {facts.mount_obstacle}"
        )
    folder = next(parent for parent in (state, *state.parents) if parent.exists())
    if kernel.filesystem_magic(str(folder)) == kernel.OVERLAYFS_MAGIC:
        return Finding(
            name="overlay",
            standing="note",
            text="the workspace is copied: the state folder lies on an overlay itself",
            mend="set PAIRLOCK_STATE to a folder on ext4, xfs or btrfs",
        )
    owner = " (root's own files are copied first)" if os.getuid() == 0 else ""
    return Finding(name="overlay", standing="ok", text=f"the workspace can be overlaid{owner}")


async def _volume(engine: DockerEngine, name: str | None) -> Finding:
    if name is not None and await engine.volume_exists(name):
        return Finding(name="runtime volume", standing="ok", text=name)
    return Finding(name="runtime volume", standing="note", text="not there yet: the first session builds it")


async def _starter(engine: DockerEngine, name: str | None) -> Finding:
    if name is not None and await engine.image_id(name) is not None:
        return Finding(name="starter image", standing="ok", text=name)
    return Finding(
        name="starter image", standing="note", text="not there yet: the first session that needs it builds it"
    )
