"""Speak to a Docker engine about containers; `docker_asking` has the way there, `docker_store` the rest."""

from __future__ import annotations

import asyncio
from typing import Final

from sandbox import attachment, docker_compare, docker_request
from sandbox.docker_asking import id_of
from sandbox.docker_errors import gone_is_fine
from sandbox.docker_store import DockerStore
from sandbox.endpoint import UnixEndpoint
from sandbox.engine import EngineFacts, Inspection, OwnedContainer
from sandbox.errands import CONTAINER
from sandbox.errors import EngineRefusedError
from sandbox.spec import LABEL_SESSION, LABEL_STATE, ContainerSpec

# What `info` says of the bounds that the machine's cgroups can hold. A rootless engine without cgroups takes
# a create request with all of them, warns of nothing, and shows them in inspect (tried, Docker 20.10).
_BOUNDS: Final = {
    "memory": "MemoryLimit",
    "swap": "SwapLimit",
    "processes": "PidsLimit",
    "cpus": "CpuCfsQuota",
}
_REMOVAL_TRIES: Final = 5
_REMOVAL_PAUSE_SECONDS: Final = 1.0
_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


class DockerEngine(DockerStore):
    """Implement `sandbox.engine.Engine` and `RuntimeEngine`; `DockerEngine.connect()` makes one."""

    async def describe(self) -> EngineFacts:
        """Return what the engine says of itself."""
        info, version = await self._ask(lambda client: client.info()), self._version
        self._engine_id = id_of(info)
        options = [str(option) for option in info.get("SecurityOptions") or []]
        components = {
            str(part.get("Name")): str(part.get("Version")) for part in version.get("Components") or []
        }
        remaps = any(option.startswith("name=userns") for option in options)
        return EngineFacts(
            engine_id=self._engine_id,
            version=str(version.get("Version", "")),
            api_version=self.api_version,
            endpoint=self._address.url,
            found=self._address.found,
            local=isinstance(self._address.endpoint, UnixEndpoint),
            operating_system=str(info.get("OperatingSystem", "")),
            architecture=_ARCHITECTURES.get(str(info.get("Architecture")), str(info.get("Architecture"))),
            runtimes=tuple(sorted(info.get("Runtimes") or {})),
            default_runtime=str(info.get("DefaultRuntime", "")),
            seccomp=any(option.startswith("name=seccomp") for option in options),
            rootless=any(option.startswith("name=rootless") for option in options),
            user_namespace=remaps,
            first_ids=_first_ids(str(info.get("DockerRootDir", ""))) if remaps else (0, 0),
            unbounded=tuple(name for name, flag in _BOUNDS.items() if not info.get(flag)),
            memory_bytes=int(info.get("MemTotal") or 0),
            processors=int(info.get("NCPU") or 0),
            components=components,
        )

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id."""
        request = docker_request.create_request(spec)
        reply = await self._ask(lambda client: client.create_container_from_config(request, spec.name))
        warnings = [str(warning) for warning in reply.get("Warnings") or []]
        container_id = str(reply["Id"])
        if warnings:
            await self.remove(container_id)
            raise EngineRefusedError(
                f"the engine warned that it would not hold the sandbox to its spec: `{warnings[0]}`",
                hint="docs/isolation.md says what each warning takes away",
            )
        return container_id

    async def attach(self, container_id: str) -> attachment.StdioAttachment:
        """Attach to a container that has not started."""
        return await attachment.attach(self._address.endpoint, self.api_version, container_id)

    async def start(self, container_id: str) -> None:
        """Start a container."""
        await self._ask(lambda client: client.start(container_id))

    async def inspect(self, container_id: str, spec: ContainerSpec) -> Inspection:
        """Read back what was made."""
        inspected = await self._ask(lambda client: client.inspect_container(container_id))
        state = inspected.get("State") or {}
        return Inspection(
            evidence=docker_compare.compare(spec, inspected),
            running=bool(state.get("Running")),
            process=int(state.get("Pid") or 0),
        )

    async def wait_gone(self, container_id: str, *, timeout_seconds: float) -> bool:
        """Wait until a container no longer exists."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while asyncio.get_running_loop().time() < deadline:
            found = await self._ask(
                lambda client: client.containers(all=True, quiet=True, filters={"id": container_id})
            )
            if not found:
                return True
            await asyncio.sleep(0.02)
        return False

    async def kill(self, container_id: str) -> None:
        """Kill every process of a container."""
        with gone_is_fine():
            await self._ask(lambda client: client.kill(container_id))

    async def remove(self, container_id: str) -> None:
        """Remove a container and its nameless volumes.

        An engine answers with an error while it has not yet heard that a killed container ended (a paused one
        of gVisor's takes seconds, Docker 20.10): it is asked again.
        """
        for tries_left in reversed(range(_REMOVAL_TRIES)):
            try:
                with gone_is_fine():
                    await self._ask(lambda client: client.remove_container(container_id, v=True, force=True))
            except EngineRefusedError:
                if tries_left == 0:
                    raise
                await asyncio.sleep(_REMOVAL_PAUSE_SECONDS)
            else:
                return

    async def dead_errands(self) -> tuple[tuple[str, str], ...]:
        """Return id and name of the containers that a process which is gone made on its way."""
        found = await self._ask(lambda client: client.containers(all=True, filters={"name": CONTAINER}))
        named = ((str(entry["Id"]), str(name)) for entry in found for name in entry.get("Names") or [])
        return tuple((identity, name) for identity, name in named if self._errands.dead(name))

    async def owned(self, *, state: str) -> tuple[OwnedContainer, ...]:
        """Return the containers whose labels name this state folder."""
        found = await self._ask(
            lambda client: client.containers(all=True, filters={"label": f"{LABEL_STATE}={state}"})
        )
        return tuple(
            OwnedContainer(
                container_id=str(entry["Id"]),
                session=str((entry.get("Labels") or {}).get(LABEL_SESSION, "")),
                state=str(entry.get("State", "")),
            )
            for entry in found
        )


def _first_ids(folder: str) -> tuple[int, int]:
    """Return the ids that are 0 inside; an engine that remaps users keeps its things in `…/UID.GID`."""
    uid, _, gid = folder.rpartition("/")[2].partition(".")
    return (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else (0, 0)
