"""Speak to a Docker engine: the only module that imports docker. Its errors become ours here."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import docker
import docker.errors
import docker.tls
import requests
from docker.context import ContextAPI

from sandbox import attachment, docker_images, docker_request
from sandbox.attachment import Endpoint, SshEndpoint, StdioAttachment, TcpEndpoint, UnixEndpoint
from sandbox.engine import EngineFacts, Inspection, OwnedContainer
from sandbox.errors import (
    EngineMissingError,
    EnginePermissionError,
    EngineRefusedError,
    ImageNotFoundError,
    SandboxError,
)
from sandbox.spec import LABEL_SESSION, LABEL_STATE, ContainerSpec, ImageFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sandbox.images.engine import ImageDetails, PathKind
    from sandbox.runtime.engine import Progress

T = TypeVar("T")

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
ANSWER_SECONDS: Final = 60
START_HINT: Final = "start it (`systemctl start docker`, or `dockerd` as root), or name one with DOCKER_HOST"
ACCESS_HINT: Final = "join the group `docker` (`usermod -aG docker $USER`, then log in again), or run as root"


class DockerEngine:
    """Implement `sandbox.engine.Engine` and `sandbox.runtime.RuntimeEngine` over the Docker API.

    Use `DockerEngine.connect()`; the SDK is synchronous, so each of its calls runs in a thread.
    """

    def __init__(self, client: docker.APIClient, endpoint: Endpoint, address: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._address = address
        self._engine_id = ""

    @classmethod
    async def connect(cls, environment: Mapping[str, str] = os.environ) -> DockerEngine:
        """Find the engine as Docker's own client does (DOCKER_HOST, then the context) and ask its version.

        Raises:
            EngineMissingError: When none answers.
            EnginePermissionError: When its socket may not be used.
        """
        address, tls = _address(environment)
        return await asyncio.to_thread(cls._connect, address, tls)

    @classmethod
    def _connect(cls, address: str, tls: docker.tls.TLSConfig | None) -> DockerEngine:
        endpoint = _endpoint(address, tls)
        with _ours(address):
            client = docker.APIClient(
                base_url=address,
                version="auto",
                tls=tls or False,
                timeout=ANSWER_SECONDS,
                use_ssh_client=True,
                max_pool_size=32,
            )
        return cls(client, endpoint, address)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def describe(self) -> EngineFacts:
        """Return what the engine says of itself."""
        info, version = await self._ask(lambda client: (client.info(), client.version()))
        options = [str(option) for option in info.get("SecurityOptions") or []]
        components = {
            str(part.get("Name")): str(part.get("Version")) for part in version.get("Components") or []
        }
        self._engine_id = str(info.get("ID", ""))
        return EngineFacts(
            engine_id=self._engine_id,
            version=str(version.get("Version", "")),
            api_version=str(self._client.api_version),
            endpoint=self._address,
            local=isinstance(self._endpoint, UnixEndpoint),
            operating_system=str(info.get("OperatingSystem", "")),
            architecture=_ARCHITECTURES.get(str(info.get("Architecture")), str(info.get("Architecture"))),
            runtimes=tuple(sorted(info.get("Runtimes") or {})),
            default_runtime=str(info.get("DefaultRuntime", "")),
            seccomp=any(option.startswith("name=seccomp") for option in options),
            rootless=any(option.startswith("name=rootless") for option in options),
            user_namespace=any(option.startswith("name=userns") for option in options),
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

    async def attach(self, container_id: str) -> StdioAttachment:
        """Attach to a container that has not started."""
        return await attachment.attach(self._endpoint, str(self._client.api_version), container_id)

    async def start(self, container_id: str) -> None:
        """Start a container."""
        await self._ask(lambda client: client.start(container_id))

    async def inspect(self, container_id: str, spec: ContainerSpec) -> Inspection:
        """Read back what was made."""
        inspected = await self._ask(lambda client: client.inspect_container(container_id))
        state = inspected.get("State") or {}
        return Inspection(
            evidence=docker_request.compare(spec, inspected),
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
        with _gone_is_fine():
            await self._ask(lambda client: client.kill(container_id))

    async def remove(self, container_id: str) -> None:
        """Remove a container and its nameless volumes."""
        with _gone_is_fine():
            await self._ask(lambda client: client.remove_container(container_id, v=True, force=True))

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

    async def owned_volumes(self, *, state: str) -> tuple[tuple[str, str], ...]:
        """Return name and session of the volumes whose labels name this state folder and a session."""
        found = await self._ask(lambda client: client.volumes(filters={"label": f"{LABEL_STATE}={state}"}))
        labelled = (
            (str(v["Name"]), (v.get("Labels") or {}).get(LABEL_SESSION)) for v in found.get("Volumes") or []
        )
        return tuple((name, str(session)) for name, session in labelled if session)

    async def image_facts(self, reference: str) -> ImageFacts | None:
        """Return what the engine says of an image."""
        try:
            found = await self._ask(lambda client: client.inspect_image(reference))
        except ImageNotFoundError:
            return None
        config = found.get("Config") or {}
        entries = [str(entry) for entry in config.get("Env") or []]
        return ImageFacts(
            image_id=str(found["Id"]),
            environment_names=tuple(entry.partition("=")[0] for entry in entries),
            volumes=tuple(sorted(config.get("Volumes") or {})),
        )

    async def empty_folder_as_root(
        self, folder: Path, *, image: str, guest_volume: str, argv: tuple[str, ...]
    ) -> None:
        """Run one command as root over one folder of this machine.

        # SAFETY: overlay leaves a work folder that belongs to root. One container without network, with
        CAP_DAC_OVERRIDE alone, from the empty image, sees that folder and the runtime volume alone.
        """
        request = docker_request.root_request(
            folder=str(folder), image=image, guest_volume=guest_volume, argv=argv
        )

        def run(client: docker.APIClient) -> None:
            container_id = str(client.create_container_from_config(request)["Id"])
            try:
                client.start(container_id)
                client.wait(container_id, timeout=ANSWER_SECONDS)
            finally:
                client.remove_container(container_id, v=True, force=True)

        await self._ask(run)

    async def put_folder(self, container_id: str, path: str, tar: Iterator[bytes]) -> None:
        """Unpack a tar stream into a folder of a running container."""
        await self._ask(lambda client: client.put_archive(container_id, path, cast("Any", tar)))

    async def get_folder(
        self, container_id: str, path: str, take: Callable[[Iterable[bytes]], object]
    ) -> None:
        """Hand a folder of a running container to `take`: a tar stream, its names begin with the folder's.

        `take` runs in a thread, and its errors are its own.
        """
        chunks, _ = await self._ask(lambda client: client.get_archive(container_id, path))
        await asyncio.to_thread(take, chunks)

    # The runtime volume and the images

    async def engine_id(self) -> str:
        """Return the engine's own id."""
        if not self._engine_id:
            self._engine_id = str((await self._ask(lambda client: client.info()))["ID"])
        return self._engine_id

    async def volume_exists(self, name: str) -> bool:
        """Say whether a named volume exists."""
        found = await self._ask(lambda client: client.volumes(filters={"name": name}))
        return any(entry["Name"] == name for entry in found.get("Volumes") or [])

    async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        """Create a volume of the local driver."""
        await self._ask(lambda client: client.create_volume(name=name, driver="local", labels=dict(labels)))

    async def fill_volume(self, name: str, *, image: str, path: str, tar: Path) -> None:
        """Unpack a tar file into a volume, through a container that never starts."""
        request = docker_request.filling_request(volume=name, image=image, path=path)

        def fill(client: docker.APIClient) -> None:
            container_id = str(client.create_container_from_config(request)["Id"])
            try:
                with tar.open("rb") as stream:
                    client.put_archive(container_id, path, cast("Any", stream))
            finally:
                client.remove_container(container_id, force=True)

        await self._ask(fill)

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone already is no error."""
        with _gone_is_fine():
            await self._ask(lambda client: client.remove_volume(name, force=True))

    async def import_image(self, tar: Path, *, tag: str) -> str:
        """Import a root file system as an image and return its id."""
        repository, _, label = tag.rpartition(":")

        def load(client: docker.APIClient) -> str:
            client.import_image(src=str(tar), repository=repository, tag=label)
            return str(client.inspect_image(tag)["Id"])

        return await self._ask(load)

    async def image_id(self, reference: str) -> str | None:
        """Return the id of an image, None when the engine has none of that name."""
        facts = await self.image_facts(reference)
        return facts.image_id if facts is not None else None

    async def image_details(self, reference: str) -> ImageDetails | None:
        """Return what the engine says of an image, None when it has none of that name."""
        try:
            return docker_images.details(await self._ask(lambda client: client.inspect_image(reference)))
        except ImageNotFoundError:
            return None

    async def image_list(self) -> tuple[ImageDetails, ...]:
        """Return the images that have a name, or that nothing stands on."""
        return await self._ask(docker_images.listed)

    async def pull_image(self, name: str, version: str, *, progress: Progress) -> None:
        """Fetch an image from its registry."""
        try:
            await self._ask(lambda client: docker_images.pull(client, name, version, progress=progress))
        except (ImageNotFoundError, EngineRefusedError) as error:
            raise docker_images.pull_error(f"{name}:{version}", error.message) from error

    async def path_kinds(self, image: str, paths: Sequence[str]) -> Mapping[str, PathKind]:
        """Return what an image has at each path."""
        return await self._ask(lambda client: docker_images.path_kinds(client, image, paths))

    async def layered_image(self, tar: Path, *, base: str, tag: str, labels: Mapping[str, str]) -> str:
        """Lay a tar file over an image and return the id."""
        return await self._ask(
            lambda client: docker_images.layered(client, tar, base=base, tag=tag, labels=labels)
        )

    async def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image when it was the last; one that is gone is no error."""
        try:
            await self._ask(lambda client: client.remove_image(reference, force=True))
        except ImageNotFoundError:
            return

    async def _ask(self, question: Callable[[docker.APIClient], T]) -> T:
        def ask() -> T:
            with _ours(self._address):
                return question(self._client)

        return await asyncio.to_thread(ask)


_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


class _GoneError(EngineRefusedError):
    """Raised when the engine says that a thing is gone, or is going."""


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except _GoneError:
        return


@contextmanager
def _ours(address: str) -> Iterator[None]:
    """Turn the SDK's errors into ours: the one table."""
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageNotFoundError(f"no such image: {_explanation(error)}") from error
    except docker.errors.NotFound as error:
        raise _GoneError(_explanation(error)) from error
    except docker.errors.APIError as error:
        text = _explanation(error)
        gone = error.status_code == 409 and ("is not running" in text or "already in progress" in text)
        raise (_GoneError if gone else EngineRefusedError)(f"the engine refused: {text}") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: BaseException) -> SandboxError:
    for cause in _causes(error):
        if isinstance(cause, PermissionError):
            return EnginePermissionError(f"no permission to use the engine at `{address}`", hint=ACCESS_HINT)
    if isinstance(error, requests.ReadTimeout):
        return EngineMissingError(f"the engine at `{address}` did not answer in {ANSWER_SECONDS} s")
    return EngineMissingError(f"no Docker engine answers at `{address}`", hint=START_HINT)


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, *current.args]


def _explanation(error: docker.errors.APIError) -> str:
    text = str(error.explanation or error)
    return " ".join(text.split())[:300]


def _address(environment: Mapping[str, str]) -> tuple[str, docker.tls.TLSConfig | None]:
    """Return the engine's address and TLS settings, as Docker's own client would choose them."""
    named = environment.get("DOCKER_HOST")
    if named:
        return named, _tls_from_environment(environment) if named.startswith("tcp://") else None
    try:
        name = environment.get("DOCKER_CONTEXT")
        context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
        host = context.Host if context is not None else None
        tls = context.TLSConfig if context is not None else None
    except (docker.errors.DockerException, OSError, ValueError):
        host, tls = None, None
    if not host or host.startswith("http+unix"):
        return DEFAULT_HOST, None
    return str(host), tls if str(host).startswith("tcp://") else None


def _tls_from_environment(environment: Mapping[str, str]) -> docker.tls.TLSConfig | None:
    if not environment.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    return docker.tls.TLSConfig(
        client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
        ca_cert=str(folder / "ca.pem"),
        verify=True,
    )


def _endpoint(address: str, tls: docker.tls.TLSConfig | None) -> Endpoint:
    parts = urlsplit(address)
    match parts.scheme:
        case "unix":
            return UnixEndpoint(path=parts.path)
        case "tcp" if parts.hostname:
            return TcpEndpoint(host=parts.hostname, port=parts.port or 2375, tls=_context(tls))
        case "ssh" if parts.hostname:
            user = f"{parts.username}@" if parts.username else ""
            return SshEndpoint(destination=f"{user}{parts.hostname}", port=parts.port)
    raise EngineMissingError(
        f"`{address}` is not an engine's address", hint="use unix://, tcp:// or ssh:// in DOCKER_HOST"
    )


def _context(tls: docker.tls.TLSConfig | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=tls.ca_cert)
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context
