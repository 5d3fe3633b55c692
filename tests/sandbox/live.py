"""Open sandboxes on the real engine: as asked for, or with the create request changed on its way."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policies.capability import Capability
from sandbox.docker_engine import DockerEngine
from sandbox.docker_request import create_request
from sandbox.launch import open_sandbox
from sandbox.limits import MIB, Limits
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import CLEARED_ENVIRONMENT, ready_runtime
from sandbox.spec import (
    WORKSPACE,
    ContainerSpec,
    DriverMount,
    GuestStart,
    Identity,
    Mount,
    SessionLabels,
    container_spec,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from policies.grant import Grant
    from sandbox.session import Sandbox

NOBODY = 65532
LIMITS = Limits(
    memory_bytes=256 * MIB, scratch_bytes=16 * MIB, scratch_files=512, processes=64, action_seconds=60
)
Request = dict[str, Any]


class ChangingEngine(DockerEngine):
    """The real engine, whose create requests somebody changes on their way."""

    change: Callable[[Request], object]

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container that is not what the spec says."""
        request: Request = create_request(spec)
        self.change(request)
        reply = await self._ask(lambda client: client.create_container_from_config(request, spec.name))
        return str(reply["Id"])


@dataclass
class Ground:
    """A place where containers are opened."""

    state: Path
    folder: Path
    opened: list[str]
    """Ids of every container that was made."""

    async def spec(
        self,
        grant: Grant,
        *,
        runtime: str = "runc",
        image: str | None = None,
        limits: Limits = LIMITS,
        workspace: Mount | None = None,
    ) -> ContainerSpec:
        """Return the spec of a session on this machine; a workspace is an overlay on a folder of the test."""
        engine = await DockerEngine.connect()
        try:
            empty = await ready_empty(engine, state=self.state, progress=_quiet)
            volume = await ready_runtime(engine, state=self.state, progress=_quiet)
            facts = await engine.image_facts(image or empty)
            about = await engine.describe()
        finally:
            await engine.close()
        assert facts is not None
        return container_spec(
            grant,
            limits=limits,
            image=facts,
            guest=GuestStart(
                volume=volume.name,
                argv=volume.argv_prefix,
                environment=volume.environment,
                cleared=CLEARED_ENVIRONMENT,
            ),
            workspace=(workspace or self.overlay()) if grant.holds(Capability.FILES) else None,
            identity=Identity(uid=os.getuid() or NOBODY, gid=os.getgid() or NOBODY),
            labels=SessionLabels(session=secrets.token_hex(6), owner=os.getuid(), state="pairlock-test"),
            runtime=runtime,
            architecture=about.architecture,
        )

    def overlay(self) -> DriverMount:
        """Make the three folders of an overlay, and return its mount."""
        place = self.folder / secrets.token_hex(4)
        for name in ("lower", "upper", "work"):
            (place / name).mkdir(parents=True)
            if os.getuid() == 0:
                os.chown(place / name, NOBODY, NOBODY)
        layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        options = "userxattr,redirect_dir=nofollow,metacopy=off,index=off,nosuid,nodev,noexec"
        return DriverMount(
            target=WORKSPACE, filesystem="overlay", options=f"{layers},{options}", read_only=False
        )

    @asynccontextmanager
    async def opened_sandbox(
        self,
        spec: ContainerSpec,
        *,
        change: Callable[[Request], object] = bool,
        limits: Limits = LIMITS,
    ) -> AsyncIterator[Sandbox]:
        """Open a sandbox; `change` does to its create request what the spec knows nothing of."""
        engine = await ChangingEngine.connect()
        assert isinstance(engine, ChangingEngine)
        engine.change = change

        async def made(container_id: str) -> None:
            self.opened.append(container_id)

        try:
            async with open_sandbox(engine, spec, limits=limits, local=True, made=made) as sandbox:
                yield sandbox
        finally:
            await engine.close()


async def still_there(container_id: str) -> bool:
    """Say whether the engine knows a container, running or not."""
    engine = await DockerEngine.connect()
    try:
        return not await engine.wait_gone(container_id, timeout_seconds=0.1)
    finally:
        await engine.close()


async def docker(*words: str) -> str:
    """Run one command of Docker's own client and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        "docker", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().strip()


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
