"""Say what looking at images, fetching and making them asks of an engine; no engine is here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sandbox.runtime.engine import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetails:
    """What the engine says of an image; hostile data, except for the id."""

    image_id: str
    """`sha256:…` of the image's configuration."""
    names: tuple[str, ...]
    """`name:tag` for each of its names on this engine."""
    repository_digests: tuple[str, ...]
    """`name@sha256:…` for each registry that it came from or went to."""
    size_bytes: int
    created: str
    """As the engine writes it, RFC 3339."""
    architecture: str
    """As Go names it: `amd64`, `arm64`."""
    operating_system: str
    """`linux`."""
    layers: int
    environment: tuple[str, ...]
    """`NAME=value` for each variable that it sets."""
    volumes: tuple[str, ...]
    """Paths that it declares as volumes."""
    labels: tuple[str, ...] = ()
    """Names of its labels, which the engine gives to its containers too."""


class PathKind(StrEnum):
    """What an image has at a path."""

    ABSENT = "nothing"
    FOLDER = "a folder"
    LINK = "a symbolic link"
    FILE = "a file"
    SPECIAL = "a special file"


class ImageEngine(Protocol):
    """What images need of an engine."""

    async def image_details(self, reference: str, /) -> ImageDetails | None:
        """Return what the engine says of an image, None when it has none of that name."""

    async def pull_image(self, name: str, version: str, /, *, progress: Progress) -> None:
        """Fetch an image from its registry.

        Args:
            name: Registry and repository.
            version: A tag, or `sha256:…`.
            progress: Told of layers.

        Raises:
            ImagePullError: When the registry does not give it.
        """

    async def path_kinds(
        self, image: str, paths: Sequence[str], /, *, followed: Sequence[str] = ()
    ) -> Mapping[str, PathKind]:
        """Return what an image has at each path, through a container that is created and never started.

        Args:
            image: Its id.
            paths: Absolute; a link there is a link.
            followed: Absolute; of a link there, what it has where that leads.
        """

    async def layered_image(self, tar: Path, /, *, base: str, tag: str, labels: Mapping[str, str]) -> str:
        """Lay a tar file over an image, through a container that is never started, and return the id."""

    async def build_image(self, context: Path, /, *, tag: str, progress: Progress) -> str:
        """Build a Dockerfile in the engine's own builder, and return the id (`# SAFETY`: no sandbox)."""

    async def remove_image(self, reference: str, /) -> None:
        """Remove an image; one that is not there is no error."""
