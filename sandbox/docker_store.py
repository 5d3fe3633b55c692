"""Keep images and volumes on a Docker engine, and carry folders into containers and out of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from sandbox import docker_images, docker_request
from sandbox.docker_asking import Asking
from sandbox.docker_client import ANSWER_SECONDS
from sandbox.docker_errors import gone_is_fine
from sandbox.errands import MAKING
from sandbox.errors import EngineRefusedError, ImageNotFoundError, SandboxError
from sandbox.images.engine import PathKind
from sandbox.neutral import NeutralNames
from sandbox.spec import LABEL_SESSION, LABEL_STATE, ImageFacts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import docker

    from sandbox.images.engine import ImageDetails
    from sandbox.runtime.engine import Progress


class DockerStore(Asking):
    """Implement what an engine does with images, volumes and folders."""

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

    async def import_image(self, tar: Path, *, tag: str) -> str:
        """Import a root file system as an image and return its id."""
        repository, _, version = tag.rpartition(":")

        def load(client: docker.APIClient) -> str:
            client.import_image(src=str(tar), repository=repository, tag=version)
            return str(client.inspect_image(tag)["Id"])

        return await self._ask(load)

    @asynccontextmanager
    async def making(self) -> AsyncIterator[str]:
        """Give a name for an image until it is written down, and take it away at the end."""
        with self._errands.begun() as errand:
            try:
                yield errand.image
            finally:
                with suppress(SandboxError):  # `pairlock clean` tries again
                    await self.remove_image(errand.image)

    async def dead_images(self) -> tuple[str, ...]:
        """Return the names of images that a process which is gone had not written down."""
        found = await self._ask(lambda client: client.images(MAKING))
        names = (str(name) for image in found for name in image.get("RepoTags") or ())
        return tuple(name for name in names if self._errands.dead(name))

    async def tag_image(self, image: str, tag: str) -> None:
        """Give an image one more name; another image that has it loses it."""
        repository, _, version = tag.rpartition(":")
        await self._ask(lambda client: client.tag(image, repository, version))

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

    async def pull_image(self, name: str, version: str, *, progress: Progress) -> None:
        """Fetch an image from its registry."""
        try:
            await self._ask(lambda client: docker_images.pull(client, name, version, progress=progress))
        except (ImageNotFoundError, EngineRefusedError) as error:
            raise docker_images.pull_error(f"{name}:{version}", error.message) from error

    async def path_kinds(
        self, image: str, paths: Sequence[str], *, followed: Sequence[str] = ()
    ) -> Mapping[str, PathKind]:
        """Return what an image has at each path, and where links among the last lead."""

        def look(client: docker.APIClient) -> Mapping[str, PathKind]:
            with self._errands.begun() as errand:
                return docker_images.path_kinds(
                    client, image, paths, followed=followed, name=errand.container
                )

        return await self._ask(look)

    async def layered_image(self, tar: Path, *, base: str, tag: str, labels: Mapping[str, str]) -> str:
        """Lay a tar file over an image and return the id."""

        def lay(client: docker.APIClient) -> str:
            with self._errands.begun() as errand:
                return docker_images.layered(
                    client, tar, base=base, tag=tag, labels=labels, name=errand.container
                )

        return await self._ask(lay)

    async def build_image(self, context: Path, *, tag: str, progress: Progress) -> str:
        """Build a Dockerfile in the engine's own builder (`# SAFETY`: see there), and return the id."""
        return await self._ask(
            lambda client: docker_images.build(client, context, tag=tag, progress=progress)
        )

    async def remove_image(self, reference: str) -> None:
        """Remove an image's name, and the image when it was the last; one that is gone is no error.

        What it stands on stays, though no name be left on it: it may be the starter of another state folder.
        """
        try:
            await self._ask(lambda client: client.remove_image(reference, force=True, noprune=True))
        except ImageNotFoundError:
            return

    async def owned_volumes(self, *, state: str) -> tuple[tuple[str, str], ...]:
        """Return name and session of the volumes whose labels name this state folder and a session."""
        found = await self._ask(lambda client: client.volumes(filters={"label": f"{LABEL_STATE}={state}"}))
        labelled = (
            (str(v["Name"]), (v.get("Labels") or {}).get(LABEL_SESSION)) for v in found.get("Volumes") or []
        )
        return tuple((name, str(session)) for name, session in labelled if session)

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
            with self._errands.begun() as errand:
                container_id = str(client.create_container_from_config(request, errand.container)["Id"])
                try:
                    with tar.open("rb") as stream:
                        client.put_archive(container_id, path, cast("Any", stream))
                finally:
                    client.remove_container(container_id, force=True)

        await self._ask(fill)

    async def remove_volume(self, name: str) -> None:
        """Remove a volume, and what a killed `fill_volume` left on it; one that is gone is no error."""

        def remove(client: docker.APIClient) -> None:
            for door in client.containers(all=True, filters={"volume": name, "status": "created"}):
                if door.get("Command") == docker_request.NEVER_STARTED:
                    client.remove_container(door["Id"], force=True)
            client.remove_volume(name, force=True)

        with gone_is_fine():
            await self._ask(remove)

    async def has_path(self, container_id: str, path: str) -> bool:
        """Say whether the engine finds something at a path of a container, through its mounts."""
        found = await self._ask(lambda client: docker_images.kind_in(client, container_id, path))
        return found is not PathKind.ABSENT

    async def empty_folder_as_root(
        self, folder: Path, *, image: str, guest_volume: str, argv: tuple[str, ...]
    ) -> None:
        """Run one command as root over one folder of this machine.

        # SAFETY: overlay leaves a work folder that belongs to root. One container without network, with
        CAP_DAC_OVERRIDE alone, from the empty image, sees that folder and the runtime volume alone.
        """
        names = await NeutralNames.made()
        request = docker_request.root_request(
            folder=str(names.name(folder)), image=image, guest_volume=guest_volume, argv=argv
        )

        def run(client: docker.APIClient) -> None:
            with self._errands.begun() as errand:
                container_id = str(client.create_container_from_config(request, errand.container)["Id"])
                try:
                    client.start(container_id)
                    client.wait(container_id, timeout=ANSWER_SECONDS)
                finally:
                    client.remove_container(container_id, v=True, force=True)

        try:
            await self._ask(run)
        finally:
            names.remove()

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
