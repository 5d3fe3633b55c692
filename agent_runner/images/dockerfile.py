"""Build a project's own Dockerfile, which a person trusts by its digest.

# SAFETY: the engine's builder runs its steps as root, with the engine's network. That is no sandbox of ours,
so the person names the digest of what they have read, and is warned each time. The builder is given the
Dockerfile and the project's manifests, never the folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.images.making import require_reviewed, write_down
from agent_runner.images.manifests import find_manifests, read_manifest
from agent_runner.images.plan import image_name
from agent_runner.state_label import errands_of
from sandbox.docker_engine import DockerEngine
from sandbox.images.soundness import require_sound
from sandbox.runtime.record import MadeImage

if TYPE_CHECKING:
    from sandbox.runtime.engine import Progress

NAME: Final = "Dockerfile"
SHORTEST_DIGEST: Final = 16


def require_trusted(folder: Path, digest: str) -> bytes:
    """Return the Dockerfile of a project, if it is the one that a person has read.

    Args:
        folder: The project.
        digest: SHA-256 in hexadecimal, or its first 16 digits or more, as the person gave it.

    Raises:
        RefusedError: When it is another one.
        InvalidInputError: When there is none, or no digest was given.
    """
    content = read_manifest(folder, NAME)
    found = hashlib.sha256(content).hexdigest()
    if len(digest) < SHORTEST_DIGEST or digest.strip("0123456789abcdef"):
        raise InvalidInputError(
            f"`{digest[:80]}` is no digest, expected {SHORTEST_DIGEST} or more of its hexadecimal digits",
            hint=f"read {NAME}, then `sha256sum {NAME}`",
        )
    if not found.startswith(digest):
        raise RefusedError(
            f"`{folder / NAME}` is not the one that you trust: its digest begins with `{found[:16]}`",
            hint="read it, then name its digest",
        )
    return content


async def build_dockerfile(folder: Path, digest: str, *, state: Path, progress: Progress) -> MadeImage:
    """Build a trusted Dockerfile, and write down the image.

    Args:
        folder: The project.
        digest: Of the Dockerfile, as the person gave it.
        state: The state folder.
        progress: Told of each step.

    Raises:
        RefusedError: When the Dockerfile is another one, or the manifests may hold what nobody has reviewed,
            and that would make three.
        InvalidInputError: When there is none.
        sandbox.errors.SandboxError: When the engine does not build it, or no sandbox can stand on the result.
        audit.errors.LedgerError: When it cannot be written down.
    """
    files = context_files(require_trusted(folder, digest), _manifests(folder))
    name, source = image_name(folder), folder.resolve()  # noqa: ASYNC240 - one look at a path
    await asyncio.to_thread(require_reviewed, source, state)
    engine = await DockerEngine.connect(errands=errands_of(state))
    try:
        with tempfile.TemporaryDirectory(prefix="pairlock-") as place:
            context = Path(place) / "context.tar"
            await asyncio.to_thread(_write, context, files)
            async with engine.making() as making:
                image = await engine.build_image(context, tag=making, progress=progress)
                details = await engine.image_details(image)
                if details is None:
                    raise RefusedError(f"the engine built `{name}`, and does not have it")
                await require_sound(engine, details, architecture=(await engine.describe()).architecture)
                made = MadeImage(
                    name=name,
                    image=image,
                    base="",
                    made_of=", ".join(files),
                    made_of_digest=_digest(files),
                    source=str(source),
                )
                await write_down(engine, made, "", state=state)
        return made
    finally:
        await engine.close()


def current_digest(folder: Path) -> str:
    """Return the digest of what the Dockerfile of a project would be built from now.

    Raises:
        InvalidInputError: When there is none.
    """
    return _digest(context_files(read_manifest(folder, NAME), _manifests(folder)))


def context_files(dockerfile: bytes, manifests: dict[str, bytes]) -> dict[str, bytes]:
    """Return what the builder is given: the bytes that were looked at, whatever else has their name.

    Args:
        dockerfile: As it was read when its digest was compared; it is not read again.
        manifests: The project's, by name.
    """
    return {**manifests, NAME: dockerfile}


def _manifests(folder: Path) -> dict[str, bytes]:
    """Return the project's manifests as they are; none where they cannot be used."""
    try:
        return {manifest.name: read_manifest(folder, manifest.name) for manifest in find_manifests(folder)}
    except InvalidInputError:
        return {}


def _digest(files: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in files.items():
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _write(target: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(target, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
