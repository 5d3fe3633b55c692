"""A name stands for the image that was made, first used or accepted under it, and for no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.images.acceptance import accept
from agent_runner.images.choice import require_unchanged
from sandbox.images.engine import ImageDetails
from sandbox.images.reference import parse_reference
from sandbox.runtime.record import EngineRecord, MadeImage, RecordFile

if TYPE_CHECKING:
    from pathlib import Path

MINE, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def details(image: str) -> ImageDetails:
    """Return what an engine says of an image."""
    return ImageDetails(
        image_id=image,
        names=(),
        repository_digests=(),
        size_bytes=0,
        created="",
        architecture="amd64",
        operating_system="linux",
        layers=1,
        environment=(),
        volumes=(),
    )


def made(name: str, image: str) -> MadeImage:
    """Return what the record says of an image that was made here."""
    return MadeImage(name=name, image=image, base=MINE, made_of="x", made_of_digest="", source="/app")


@pytest.fixture
async def file(tmp_path: Path) -> RecordFile:
    """Give the record of an engine on which two images were made."""
    record = RecordFile(tmp_path, "engine")
    mine, others = made("pairlock/for-mine:latest", MINE), made("pairlock/for-clone:latest", OTHER)
    async with record.locked():
        record.write(EngineRecord(made=(mine, others)))
    return record


@pytest.mark.parametrize("name", ["pairlock/for-mine", "pairlock/for-mine:latest"])
async def test_what_was_made_under_a_name_is_what_it_stands_for(
    file: RecordFile, tmp_path: Path, name: str
) -> None:
    """Nothing is remembered beside the record of what was made."""
    await require_unchanged(file, tmp_path, parse_reference(name), details(MINE))

    assert file.read().known == ()


async def test_another_image_of_ours_under_this_name_is_refused(file: RecordFile, tmp_path: Path) -> None:
    """The image of a hostile clone was made here too, and tagged anew it would stand in for one's own."""
    with pytest.raises(RefusedError, match="is another image than before"):
        await require_unchanged(file, tmp_path, parse_reference("pairlock/for-mine"), details(OTHER))


@pytest.mark.parametrize(
    "name",
    ["pairlock/for-new", "pairlock/for-mine:other", "docker.io/pairlock/x", "index.docker.io/pairlock/x"],
)
async def test_a_name_of_ours_is_not_trusted_at_its_first_use(
    file: RecordFile, tmp_path: Path, name: str
) -> None:
    """Whoever may tag images on the engine could have put it there; a person may accept it."""
    reference = parse_reference(name)

    with pytest.raises(RefusedError, match="is no image that pairlock made under this name") as caught:
        await require_unchanged(file, tmp_path, reference, details(MINE))
    assert (f"`pairlock image accept {name}`" in caught.value.hint, file.read().known) == (True, ())

    await accept(file, tmp_path, name, MINE, "")
    await require_unchanged(file, tmp_path, reference, details(MINE))
    with pytest.raises(RefusedError, match="is another image than before"):
        await require_unchanged(file, tmp_path, reference, details(OTHER))


async def test_a_name_of_a_registry_is_remembered_at_its_first_use(file: RecordFile, tmp_path: Path) -> None:
    """And refused when it has moved."""
    reference = parse_reference("registry.example/app:1")

    await require_unchanged(file, tmp_path, reference, details(MINE))
    await require_unchanged(file, tmp_path, reference, details(MINE))

    with pytest.raises(RefusedError, match="is another image than before"):
        await require_unchanged(file, tmp_path, reference, details(OTHER))
