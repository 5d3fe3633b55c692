"""Use what is built on the engine once for a whole run, and run containers without any of our precautions."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.runtime.images import ready_empty, ready_starter
from sandbox.runtime.volume import RuntimeVolume, ready_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import docker

RUNTIMES = [pytest.param("runc"), pytest.param("runsc", marks=pytest.mark.gvisor)]


@dataclass(frozen=True, slots=True)
class Steps:
    """A listener that keeps what it was told."""

    messages: list[str] = field(default_factory=list)

    def __call__(self, message: str, /, *, done: int, total: int) -> None:
        """Keep the message."""
        self.messages.append(f"{message} {done}/{total}")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is built on the engine."""

    state: Path
    volume: RuntimeVolume
    empty: str
    starter: str


@asynccontextmanager
async def connected() -> AsyncIterator[DockerEngine]:
    """Speak to the engine for the length of a test."""
    engine = await DockerEngine.connect()
    try:
        yield engine
    finally:
        await engine.close()


async def build(state: Path) -> Setting:
    """Build everything that is not there yet, as the first session on a machine does."""
    steps = Steps()
    async with connected() as engine:
        volume = await ready_runtime(engine, state=state, progress=steps)
        starter = await ready_starter(engine, state=state, progress=steps)
        empty = await ready_empty(engine, state=state, progress=steps)
    return Setting(state=state, volume=volume, empty=empty, starter=starter.image)


def run(  # noqa: PLR0913  a container has that many sides
    client: docker.DockerClient,
    image: str,
    command: list[str],
    *,
    runtime: str = "runc",
    volume: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run one container to its end as uid 65532, read-only and without network: code, stdout, stderr."""
    mounts: dict[str, Any] = {volume: {"bind": "/rt", "mode": "ro"}} if volume else {}
    container = client.containers.create(
        image,
        entrypoint=command[:1],
        command=command[1:],
        runtime=runtime,
        environment=dict(environment or {}),
        user="65532:65532",
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "size=64m,mode=1777"},
        volumes=mounts,
        working_dir="/",
    )
    try:
        container.start()
        code = int(container.wait(timeout=120)["StatusCode"])
        return code, container.logs(stderr=False).decode(), container.logs(stdout=False).decode()
    finally:
        container.remove(force=True, v=True)
