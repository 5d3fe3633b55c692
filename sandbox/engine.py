"""Say what pairlock needs of a container engine; knows no engine itself. All of it is asynchronous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from asyncio import WriteTransport
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.spec import ContainerSpec, ImageFacts

BOUNDS_HINT: Final = (
    "it needs cgroups; a rootless engine: version 2, with cpu, memory and pids delegated to it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine says of itself."""

    engine_id: str
    version: str
    api_version: str
    endpoint: str
    """For people: `unix:///var/run/docker.sock`, `ssh://…`."""
    found: str
    """For people: what named it, and what protects the way there."""
    local: bool
    """Whether it is reached over a socket of this machine; that its paths are ours is tried later."""
    operating_system: str
    architecture: str
    """`x86_64` or `aarch64`."""
    runtimes: tuple[str, ...]
    default_runtime: str
    seccomp: bool
    rootless: bool
    user_namespace: bool
    """Whether the engine remaps user ids."""
    first_ids: tuple[int, int] = (0, 0)
    """Uid and gid on the engine's machine that are 0 inside, where the engine itself remaps users."""
    unbounded: tuple[str, ...]
    """What this engine cannot bound, though it takes the request without a word: `memory`, `swap`, …"""
    memory_bytes: int
    processors: int
    components: Mapping[str, str]
    """Versions: `containerd`, `runc`, …"""

    @property
    def maps_ids(self) -> bool:
        """Tell whether a uid inside a container is another one outside."""
        return self.rootless or self.user_namespace

    @property
    def mount_obstacle(self) -> str:
        """Say why this engine's containers cannot mount this machine's folders; empty when they may."""
        if not self.local:
            return "the engine is on another machine"
        if self.maps_ids:
            return "the engine maps user ids, so a session would not own what it mounts"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that was read back, and whether it is as it should be."""

    check: str
    expected: str
    observed: str
    source: str
    """`engine`, `host` or `guest`."""
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an engine really made, compared with what it was asked for."""

    evidence: tuple[Evidence, ...]
    running: bool
    process: int
    """Process id of the container's first process on the engine's machine; 0 when not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedContainer:
    """A container that carries our labels."""

    container_id: str
    session: str
    state: str
    """`created`, `running`, `exited`, …"""


class ByteReader(Protocol):
    """Read the container's stdout."""

    async def pour(self, take: Callable[[bytes], None], /) -> None:
        """Hand what comes to `take`, piece by piece, until the end; raise what it raises."""
        ...


class ByteWriter(Protocol):
    """Write the container's stdin."""

    @property
    def transport(self) -> WriteTransport:
        """Return what can be cut off."""
        ...

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait until the queue is short again."""
        ...

    def close(self) -> None:
        """Close stdin."""
        ...

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        ...


class Attachment(Protocol):
    """Hold a container's stdio, attached before it starts."""

    @property
    def reader(self) -> ByteReader:
        """Return the container's stdout."""
        ...

    @property
    def writer(self) -> ByteWriter:
        """Return the container's stdin."""
        ...

    @property
    def errors(self) -> bytes:
        """Return the last bytes of stderr: for people, never protocol."""
        ...

    async def close(self) -> object:
        """Close the connection; the container's stdin ends."""
        ...


class Engine(Protocol):
    """Make, watch and remove containers.

    Every method raises an error of `sandbox.errors`: EngineMissingError when nothing answers,
    EnginePermissionError when this user may not ask, EngineRefusedError for the rest.
    """

    async def describe(self) -> EngineFacts:
        """Return what the engine says of itself."""
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id; a warning of the engine's is an error."""
        ...

    async def attach(self, container_id: str) -> Attachment:
        """Attach to a container that has not started."""
        ...

    async def start(self, container_id: str) -> None:
        """Start a container."""
        ...

    async def inspect(self, container_id: str, spec: ContainerSpec) -> Inspection:
        """Read back what was made."""
        ...

    async def wait_gone(self, container_id: str, *, timeout_seconds: float) -> bool:
        """Wait until a container no longer exists; False when it still does after the time."""
        ...

    async def kill(self, container_id: str) -> None:
        """Kill every process of a container; one that is gone already is no error."""
        ...

    async def remove(self, container_id: str) -> None:
        """Remove a container and its nameless volumes; one that is gone already is no error."""
        ...

    async def owned(self, *, state: str) -> tuple[OwnedContainer, ...]:
        """Return the containers whose labels name this state folder."""
        ...

    async def image_facts(self, reference: str) -> ImageFacts | None:
        """Return what the engine says of an image, None when it has none of that name."""
        ...

    async def empty_folder_as_root(
        self, folder: Path, *, image: str, guest_volume: str, argv: tuple[str, ...]
    ) -> None:
        """Run one command as root over one folder of this machine, with nothing else of it (`# SAFETY`)."""
        ...
