"""Make what was planned: the session, the image, and what is written down about it."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.approvals import NobodyApprover
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.housing import ContainerHousing
from agent_runner.images.acceptance import append
from agent_runner.images.building import BuildHousing, RecipeBackend
from agent_runner.images.plan import ORIGIN, policy_of
from agent_runner.images.recipes import recipe
from agent_runner.lineage import require_lineage_sent
from agent_runner.person import who
from agent_runner.request import SessionRequest
from agent_runner.session import run_session
from agent_runner.state_label import errands_of
from audit.host_event import ImageBuilt
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.images import ready_starter
from sandbox.runtime.node import ready_node
from sandbox.runtime.record import MadeImage, RecordFile
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from agent_runner.images.plan import Plan
    from agent_runner.request import SessionResult
    from sandbox.images.tree import TreeFacts
    from sandbox.runtime.engine import Progress

LABEL: Final = "pairlock.made-of"


class BuildFailedError(RunnerError):
    """Raised when a step of a build failed.

    Args:
        result: The session's account.
        last_words: What the last program said.
    """

    def __init__(self, result: SessionResult, last_words: str) -> None:
        super().__init__(
            f"the image was not built: {result.reason}",
            hint=f"`pairlock audit show {result.session}` has every step and every connection",
        )
        self.result = result
        self.last_words = last_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An image that was made just now."""

    image: MadeImage
    session: str
    tree: TreeFacts


async def make(plan: Plan, *, state: Path, progress: Progress) -> Made:
    """Make an image: run the session, lay what comes out over the base, and write it down.

    Args:
        plan: What a person has agreed to.
        state: The state folder.
        progress: Told of each step.

    Raises:
        RefusedError: When the manifests may hold what nobody has reviewed, and that would make three.
        BuildFailedError: When a step failed.
        sandbox.errors.SandboxError: When the session could not be held, or what came out is no tree.
        policies.errors.PolicyError: When the operator's ceiling does not let such a session be.
        audit.errors.LedgerError: When it cannot be written down.
    """
    if plan.folder is not None:
        await asyncio.to_thread(require_reviewed, plan.folder, state)
    engine = await DockerEngine.connect(errands=errands_of(state))
    try:
        base = plan.base or await _own_base(engine, plan, state=state, progress=progress)
        with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
            tar = Path(folder) / "image.tar"
            result, housing = await _run(plan, base, tar, state=state, progress=progress)
            if housing.facts is None:
                raise BuildFailedError(result, housing.backend.last_words)
            progress("making the image", done=0, total=0)
            async with engine.making() as name:
                image = await engine.layered_image(
                    tar, base=housing.base, tag=name, labels={LABEL: plan.digest}
                )
                made = MadeImage(
                    name=plan.name,
                    image=image,
                    base=housing.base,
                    made_of=plan.made_of,
                    made_of_digest=plan.digest,
                    source=plan.source,
                )
                await write_down(engine, made, result.session, state=state)
        return Made(image=made, session=result.session, tree=housing.facts)
    finally:
        await engine.close()


def require_reviewed(folder: Path, state: Path) -> None:
    """Refuse manifests that sessions left, where network and exec would make three with what these held.

    Args:
        folder: Where they were read.
        state: The state folder.

    Raises:
        RefusedError: When they would.
        InvalidInputError: When the folder is not there any more.
        sandbox.stage.errors.LabelError: When a label cannot be read.
    """
    try:
        identity = identity_of(folder)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise InvalidInputError(f"`{folder}` cannot be looked at: {why}") from error
    require_lineage_sent(state, identity, Grant.NETWORK_EXEC)


async def _own_base(engine: DockerEngine, plan: Plan, *, state: Path, progress: Progress) -> str:
    ready = ready_node if "npm" in plan.kinds else ready_starter
    return (await ready(engine, state=state, progress=progress)).image


async def _run(
    plan: Plan, base: str, tar: Path, *, state: Path, progress: Progress
) -> tuple[SessionResult, BuildHousing]:
    steps = recipe(plan.manifests, plan.registries, locked=plan.locked)
    backend = RecipeBackend(steps, progress)
    housing = BuildHousing(recipe=steps, target=tar, backend=backend, housing=ContainerHousing())
    result = await run_session(
        SessionRequest(
            task=f"make {plan.name} of {plan.made_of} for {plan.source}",
            policy=policy_of(plan, base=base),
            policy_origin=ORIGIN,
            workspace=None,
            backend=backend,
            state=state,
            headless=True,
            task_is_origin=False,
            approver=NobodyApprover(),
            watcher=backend,
            progress=progress,
            housing=housing,
        )
    )
    if result.error is not None:
        raise result.error
    return result, housing


async def write_down(engine: DockerEngine, made: MadeImage, session: str, *, state: Path) -> None:
    """Remember the image, and the old one of its name as replaced; then give it its name."""
    file = RecordFile(state, await engine.engine_id())
    await append(
        state,
        ImageBuilt(
            name=made.name,
            image=made.image,
            base=made.base,
            made_of=made.made_of,
            made_of_digest=made.made_of_digest,
            session=session,
            by=who(),
        ),
    )
    async with file.locked():
        record = file.read()
        old = tuple(entry.image for entry in record.made if entry.name == made.name)
        others = tuple(entry for entry in record.made if entry.name != made.name)
        outdated = (*record.outdated_images, *(image for image in old if image != made.image))
        file.write(record.model_copy(update={"made": (*others, made), "outdated_images": outdated}))
    await engine.tag_image(made.image, made.name)
