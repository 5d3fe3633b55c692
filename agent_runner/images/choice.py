"""Choose a session's image: the empty one without `exec`, else the policy's, fetched if it is not here.

A name with a tag may stand for another image tomorrow. What it stood for when it was first used is
remembered, and a change is refused until a person has accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.errors import RefusedError
from agent_runner.images.acceptance import accept
from agent_runner.images.removal import own_images
from policies.exec_block import STARTER
from sandbox.errors import ImageNotFoundError
from sandbox.images.reference import parse_reference
from sandbox.images.soundness import require_sound
from sandbox.runtime.images import ready_empty, ready_starter
from sandbox.runtime.record import RecordFile
from sandbox.spec import ImageFacts

if TYPE_CHECKING:
    from pathlib import Path

    from policies.policy import Policy
    from sandbox.docker_engine import DockerEngine
    from sandbox.engine import EngineFacts
    from sandbox.images.engine import ImageDetails
    from sandbox.images.reference import Reference
    from sandbox.runtime.engine import Progress

MOST_SOUND: Final = 256
"""Images of which is remembered that they were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenImage:
    """The image of one session."""

    facts: ImageFacts
    name: str
    """What the policy calls it; empty for the empty image."""
    repository_digest: str
    """`name@sha256:…` under which a registry knows it; empty for one that was made here."""


async def image_for(
    engine: DockerEngine, about: EngineFacts, policy: Policy, *, state: Path, progress: Progress
) -> ChosenImage:
    """Return the image that a session of this policy runs on; made or pulled now if it is not there.

    Args:
        engine: Where it is to be.
        about: What the engine says of itself.
        policy: Without `exec` it has no say.
        state: The state folder.
        progress: Told when something is made or pulled.

    Raises:
        RefusedError: When the policy's name stands for another image than before.
        sandbox.errors.SandboxError: When there is no such image, or no sandbox can stand on it.
    """
    if policy.exec is None:
        empty = await ready_empty(engine, state=state, progress=progress)
        return ChosenImage(facts=ImageFacts(image_id=empty), name="", repository_digest="")
    if policy.exec.image in (STARTER, f"{STARTER}:latest"):
        starter = await ready_starter(engine, state=state, progress=progress)
        details = await engine.image_details(starter.image)
        return _chosen(policy.exec.image, details or _gone(starter.image), "")
    reference = parse_reference(policy.exec.image)
    details = await fetched(engine, reference, progress=progress)
    record = RecordFile(state, await engine.engine_id())
    if details.image_id not in record.read().sound:
        await require_sound(engine, details, architecture=about.architecture)
        await _remember_sound(record, details.image_id)
    if reference.moves:
        await require_unchanged(record, state, reference, details)
    return _chosen(reference.text, details, repository_digest(reference, details))


async def fetched(engine: DockerEngine, reference: Reference, *, progress: Progress) -> ImageDetails:
    """Return what there is to say of an image, which is pulled first where the engine does not have it.

    Raises:
        ImageNotFoundError: When the engine has none, and no registry may be asked for it.
        sandbox.images.errors.ImagePullError: When the registry does not give it.
    """
    details = await engine.image_details(reference.text)
    if details is None and reference.fetchable:
        await engine.pull_image(reference.name, reference.version, progress=progress)
        details = await engine.image_details(reference.text)
    return details or _gone(reference.text)


def repository_digest(reference: Reference, details: ImageDetails) -> str:
    """Return the registry's name for an image: the one of the same repository, else any, else none."""
    known = details.repository_digests
    return next((name for name in known if name.startswith(f"{reference.name}@")), "".join(known[:1]))


async def require_unchanged(
    file: RecordFile, state: Path, reference: Reference, details: ImageDetails
) -> None:
    """Refuse an image under a name that moves, unless it is what the name stood for, or pairlock made it so.

    A name of ours is never trusted at its first use: it stands for what was made under it, or was accepted.

    Args:
        file: The engine's record; a name that is used for the first time is remembered there.
        state: The state folder.
        reference: What the policy calls the image.
        details: What the engine has under that name.

    Raises:
        RefusedError: When it is another image than before, or has a name of ours and was not made here.
        audit.errors.LedgerError: When a first use cannot be written down.
    """
    record = file.read()
    own = own_images(record).get(f"{reference.name}:{reference.tag}")
    if reference.ours and own == details.image_id:
        return
    known = next((entry for entry in record.known if entry.reference == reference.text), None)
    if known is not None and known.image == details.image_id:
        return
    before = known.image if known else own if reference.ours else None
    if before is not None:
        raise RefusedError(
            f"`{reference.text}` is another image than before: it was `{before[:19]}`, "
            f"is `{details.image_id[:19]}`",
            hint=f"`pairlock image accept {reference.text}` takes it as it is; a digest never moves",
        )
    if reference.ours:
        raise RefusedError(
            f"`{reference.text}` is no image that pairlock made under this name",
            hint=f"`pairlock image build` makes one; `pairlock image accept {reference.text}` takes this one",
        )
    await accept(file, state, reference.text, details.image_id, repository_digest(reference, details))


def _gone(name: str) -> ImageDetails:
    hint = "`pairlock image list` shows what is there"
    if name.startswith("pairlock/"):
        hint = "`pairlock image build` makes it, with the same words as the first time"
    raise ImageNotFoundError(f"no image `{name}` on the engine", hint=hint)


def _chosen(name: str, details: ImageDetails, digest: str) -> ChosenImage:
    names = tuple(entry.partition("=")[0] for entry in details.environment)
    facts = ImageFacts(image_id=details.image_id, environment_names=names, volumes=details.volumes)
    return ChosenImage(facts=facts, name=name, repository_digest=digest)


async def _remember_sound(file: RecordFile, image: str) -> None:
    async with file.locked():
        record = file.read()
        sound = (*(known for known in record.sound if known != image), image)[-MOST_SOUND:]
        file.write(record.model_copy(update={"sound": sound}))
