"""Say what building volumes and images asks of an engine, and of whoever watches; no engine is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


class Progress(Protocol):
    """Told how far the building is, also from a worker thread; must return at once and never raise."""

    def __call__(self, message: str, /, *, done: int, total: int) -> None:
        """Take note of one step.

        Args:
            message: What is being done, in a few words, for a person.
            done: Steps behind us.
            total: All steps; zero while the number is not known.
        """


class RuntimeEngine(Protocol):
    """What the building needs of an engine."""

    async def engine_id(self) -> str:
        """Return the name by which this engine is told from others; stays the same when it restarts."""

    async def volume_exists(self, name: str, /) -> bool:
        """Return whether a volume of exactly this name is there."""

    async def create_volume(self, name: str, /, *, labels: Mapping[str, str]) -> None:
        """Create an empty volume of the engine's local driver."""

    async def fill_volume(self, name: str, /, *, image: str, path: str, tar: Path) -> None:
        """Unpack a tar file into a volume, through a container that is created and never started.

        Args:
            name: The volume; it exists.
            image: Id of the image of that container; the empty one will do.
            path: Where the volume is mounted while it is filled; names in the tar are relative to it.
            tar: An uncompressed tar file.
        """

    def making(self) -> AbstractAsyncContextManager[str]:
        """Return a name for an image until it is written down; it is taken away at the end.

        Whoever is killed meanwhile leaves an image that `pairlock clean` finds by that name.
        """

    async def tag_image(self, image: str, tag: str, /) -> None:
        """Give an image one more name; another image that has it loses it."""

    async def import_image(self, tar: Path, /, *, tag: str) -> str:
        """Make an image of one layer from a tar file, and return its id (`sha256:…`)."""

    async def image_id(self, reference: str, /) -> str | None:
        """Return the id of the image that a name, tag or id stands for, or None when it is not there."""

    async def remove_volume(self, name: str, /) -> None:
        """Remove a volume; one that is not there is no error."""

    async def remove_image(self, reference: str, /) -> None:
        """Remove an image; one that is not there is no error."""
