"""What is left on the engine by a container that is refused before it is made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from agent_runner.container import Ground
from agent_runner.housing import Order
from agent_runner.images.choice import ChosenImage
from policies.source import parse_policy
from sandbox.engine import EngineFacts
from sandbox.errors import ImageRefusedError
from sandbox.limits import Limits
from sandbox.spec import Identity, ImageFacts
from sandbox.stage import Access, Copy, HiddenBy, plan_stage
from sandbox.workspace import open_workspace
from tests.agent_runner.stand import quiet
from tests.sandbox.specs import GUEST, IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from audit.journal import Journal
    from sandbox.docker_engine import DockerEngine

POLICY = parse_policy("version: 1\nname: x\ngrant: [files]\nfiles: {access: read}\n", origin="test.yaml")
IDENTITY = Identity(uid=1000, gid=1000)
FACTS = EngineFacts(
    engine_id="e",
    version="1",
    api_version="1.41",
    endpoint="ssh://far",
    found="",
    local=False,
    operating_system="linux",
    architecture="x86_64",
    runtimes=("runc",),
    default_runtime="runc",
    seccomp=True,
    rootless=False,
    user_namespace=False,
    unbounded=(),
    memory_bytes=1 << 34,
    processors=2,
    components={},
)


class Volumes:
    """Keeps the volumes of an engine, each with the bytes that it was filled with."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.filled = 0

    async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
        """Make one."""
        assert labels
        self.kept[name] = b""

    async def fill_volume(self, name: str, *, image: str, path: str, tar: Path) -> None:
        """Fill it."""
        assert (image, path) == (IMAGE, "/workspace")
        self.kept[name] = await asyncio.to_thread(tar.read_bytes)
        self.filled += 1

    async def remove_volume(self, name: str) -> None:
        """Remove it."""
        del self.kept[name]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Return the ground of a session that reads a workspace on an engine which is far away."""
    state, folder = tmp_path / "state", tmp_path / "state" / "sessions" / "s"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").write_text("the user's own")
    order = Order(
        session="0123456789ab",
        policy=POLICY,
        workspace=open_workspace(tmp_path / "work", state=state),
        state=state,
        folder=folder,
        resumed=False,
        journal=cast("Journal", None),
        progress=quiet,
    )
    return Ground(
        engine=cast("DockerEngine", Volumes()),
        facts=FACTS,
        order=order,
        image=ChosenImage(facts=ImageFacts(image_id=IMAGE), name="x", repository_digest=""),
        guest=GUEST,
        limits=Limits(),
        identity=IDENTITY,
        runtime="runc",
    )


def copied(ground: Ground) -> Copy:
    """Return the plan by which its workspace is copied."""
    assert ground.order.workspace is not None
    assert POLICY.files is not None
    plan = plan_stage(
        ground.order.workspace,
        ground.order.folder,
        access=Access.READ,
        hide=HiddenBy(POLICY.files),
        uid=IDENTITY.uid,
        gid=IDENTITY.gid,
        engine_obstacle=ground.facts.mount_obstacle,
        executable=False,
    )
    assert isinstance(plan, Copy)
    return plan


async def test_a_copy_to_read_waits_in_a_volume_until_the_session_ends(ground: Ground) -> None:
    volumes = cast("Volumes", ground.engine)

    placement = await ground.placed(copied(ground))

    (content,) = volumes.kept.values()
    assert b"the user's own" in content
    await placement.finish()
    assert volumes.kept == {}


async def test_an_image_that_is_refused_leaves_no_volume_with_the_users_files(ground: Ground) -> None:
    """The volume is filled before the container is described; nobody else would remove it but `clean`."""
    volumes = cast("Volumes", ground.engine)
    image = replace(ground.image, facts=ImageFacts(image_id=IMAGE, environment_names=("bad\n",)))

    with pytest.raises(ImageRefusedError):
        await replace(ground, image=image).placed(copied(ground))

    assert (volumes.filled, volumes.kept) == (1, {})
