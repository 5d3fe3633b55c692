"""An image with something at a place of ours, for another machine, or that sets too much, is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_images import kind_of_mode
from sandbox.errors import ImageRefusedError
from sandbox.images.engine import ImageDetails, PathKind
from sandbox.images.soundness import MOUNTED, OPENED, require_folders, require_sound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAIN = ImageDetails(
    image_id=f"sha256:{'0' * 64}",
    names=(),
    repository_digests=(),
    size_bytes=0,
    created="",
    architecture="amd64",
    operating_system="linux",
    layers=1,
    environment=("PATH=/bin",),
    volumes=("/data/deep",),
)


@dataclass
class Looked:
    """An engine that has an image of folders, and remembers where it was looked at."""

    kinds: Mapping[str, PathKind]
    asked: tuple[str, ...] = ()

    async def path_kinds(
        self, image: str, paths: Sequence[str], *, followed: Sequence[str] = ()
    ) -> Mapping[str, PathKind]:
        """Return a folder for every path that is not named, a file for each that the engine opens."""
        assert image == PLAIN.image_id
        self.asked = tuple(paths)
        there = {path: self.kinds.get(path, PathKind.FOLDER) for path in paths}
        return there | {path: self.kinds.get(path, PathKind.FILE) for path in followed}


async def test_every_place_of_ours_and_every_declared_volume_is_looked_at() -> None:
    """The folders above a volume as well: a link there leads the mount astray just so."""
    engine = Looked({})

    await require_sound(engine, PLAIN, architecture="x86_64")  # type: ignore[arg-type]  # all it asks for is there

    assert set(engine.asked) == {*MOUNTED, "/data", "/data/deep"}


@pytest.mark.parametrize("path", [*MOUNTED, "/data", "/data/deep"])
@pytest.mark.parametrize("kind", [PathKind.LINK, PathKind.FILE, PathKind.SPECIAL])
async def test_anything_but_a_folder_at_such_a_place_is_refused(path: str, kind: PathKind) -> None:
    """The message says what is where."""
    engine = Looked({path: kind})

    with pytest.raises(ImageRefusedError) as caught:
        await require_sound(engine, PLAIN, architecture="x86_64")  # type: ignore[arg-type]  # all it asks for is there

    assert (
        caught.value.message == f"the image has {kind} at `{path}`, where a folder of the sandbox is mounted"
    )


@pytest.mark.parametrize("path", OPENED)
@pytest.mark.parametrize("kind", [PathKind.LINK, PathKind.FOLDER, PathKind.SPECIAL])
async def test_anything_but_a_file_that_the_engine_opens_is_refused(path: str, kind: PathKind) -> None:
    """A link that leads to another is none that the engine could have followed to its end."""
    engine = Looked({path: kind})

    with pytest.raises(ImageRefusedError, match=f"has {kind} at `{path}`, which the engine opens"):
        await require_sound(engine, PLAIN, architecture="x86_64")  # type: ignore[arg-type]  # all it asks for is there

    await require_sound(Looked({path: PathKind.ABSENT}), PLAIN, architecture="x86_64")  # type: ignore[arg-type]  # as above


def test_nothing_there_is_as_good_as_a_folder() -> None:
    """The engine makes the place of a mount."""
    require_folders(dict.fromkeys(MOUNTED, PathKind.ABSENT))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "arm64"}, "for `linux/arm64`, expected `linux/amd64`"),
        ({"operating_system": "windows"}, "for `windows/amd64`"),
        ({"environment": tuple(f"A{n}=" for n in range(513))}, "sets 513 variables"),
        ({"environment": ("A=" + "x" * 70_000,)}, "sets 1 variables of 70002 bytes"),
        ({"volumes": tuple(f"/v{n}" for n in range(33))}, "declares 33 volumes of 122 characters"),
        ({"volumes": ("/x" * 2049,)}, "declares 1 volumes of 4098 characters"),
        ({"labels": ("io.pairlock.session",)}, "has the label `'io.pairlock.session'`"),
    ],
)
async def test_what_cannot_be_undone_from_outside_is_refused(
    changed: dict[str, object], message: str
) -> None:
    """Another machine's programs, too many variables or volumes, labels like ours: no container is made."""
    details = replace(PLAIN, **changed)  # type: ignore[arg-type]  # fields by name
    engine = Looked({})

    with pytest.raises(ImageRefusedError) as caught:
        await require_sound(engine, details, architecture="x86_64")  # type: ignore[arg-type]  # as above

    assert message in caught.value.message
    assert engine.asked == ()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (0o755 | 1 << 31, PathKind.FOLDER),
        (0o1777 | 1 << 31 | 1 << 20, PathKind.FOLDER),
        (0o777 | 1 << 27, PathKind.LINK),
        (0o644, PathKind.FILE),
        (0o4755 | 1 << 23, PathKind.FILE),
        (0o666 | 1 << 26 | 1 << 21, PathKind.SPECIAL),
        (0o666 | 1 << 25, PathKind.SPECIAL),
        (0o666 | 1 << 24, PathKind.SPECIAL),
    ],
)
def test_the_engines_file_modes_are_gos(mode: int, kind: PathKind) -> None:
    """Go's `os.FileMode` has its kinds in the highest bits."""
    assert kind_of_mode(mode) is kind
