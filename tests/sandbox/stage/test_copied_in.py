"""What becomes of a workspace that travelled as a copy when its session ends, well or otherwise."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING, cast

import pytest

from policies.grant import Grant
from sandbox.docker_errors import GoneError
from sandbox.engine import Inspection
from sandbox.errors import ContainerEndedError, LinkClosedError, SandboxError
from sandbox.limits import Limits
from sandbox.stage import Copy
from sandbox.stage.changes import compute_changes
from sandbox.stage.layout import StageFolder
from sandbox.stage.opened import open_stage
from sandbox.stage.parcel import is_out
from sandbox.workspace_mount import copied_in
from tests.sandbox.specs import spec_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from conftest import Yard

    from sandbox.docker_engine import DockerEngine
    from sandbox.spec import ContainerSpec


class Carrier:
    """Carries the folder of a container that is a folder of this machine."""

    def __init__(self, inside: Path) -> None:
        self.inside = inside
        self.running = True
        self.gone = False
        self.asked = 0

    async def put_folder(self, _container: str, _path: str, tar: Iterator[bytes]) -> None:
        """Unpack it."""
        with tarfile.open(fileobj=io.BytesIO(b"".join(tar))) as archive:
            archive.extractall(self.inside, filter="fully_trusted")  # noqa: S202 - our own archive

    async def get_folder(
        self, _container: str, _path: str, take: Callable[[Iterable[bytes]], object]
    ) -> None:
        """Hand it over; the folder of a container that has ended is empty."""
        self.asked += 1
        if self.gone:
            raise GoneError("No such container")
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(self.inside, "workspace", recursive=self.running)
        await asyncio.to_thread(take, [stream.getvalue()])

    async def inspect(self, _container: str, _spec: ContainerSpec) -> Inspection:
        """Say whether it runs."""
        return Inspection(evidence=(), running=self.running, process=0)


@pytest.fixture
def carrier(yard: Yard) -> Carrier:
    """Return a container for a workspace with one file that is sent as a copy."""
    yard.fill({"kept": "1", "old": "1"})
    assert isinstance(yard.plan(engine_local=False), Copy)
    inside = yard.top / "inside"
    inside.mkdir()
    return Carrier(inside)


async def session(yard: Yard, carrier: Carrier, act: Callable[[], None]) -> list[str]:
    """Hold a session in which this happens, and return what was told of its copy."""
    told: list[str] = []
    engine, spec = cast("DockerEngine", carrier), spec_for(Grant.FILES)
    try:
        async with copied_in(engine, "c", yard.session, spec, Limits(), tell=told.append):
            assert sorted(path.name for path in carrier.inside.iterdir()) == ["kept", "old"]
            assert is_out(StageFolder(yard.session / "stage"))
            (carrier.inside / "made").write_text("new")
            (carrier.inside / "old").unlink()
            act()
    except BaseException as error:
        error.add_note("; ".join(told))
        raise
    return told


def changed(yard: Yard) -> list[tuple[str, str]]:
    """Return what the stage holds."""
    with open_stage(yard.session) as stage:
        return [(change.kind.value, change.path) for change in compute_changes(stage).changes]


CHANGED = [("added", "made"), ("deleted", "old")]


async def test_what_changed_comes_back_at_the_end(yard: Yard, carrier: Carrier) -> None:
    told = await session(yard, carrier, lambda: None)

    assert (told, changed(yard)) == ([], CHANGED)
    assert not is_out(StageFolder(yard.session / "stage"))


async def test_what_changed_comes_back_when_the_session_fails_beside_its_sandbox(
    yard: Yard, carrier: Carrier
) -> None:
    """The model failed, a person pressed Ctrl-C: the container is well."""

    def fail() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError) as raised:
        await session(yard, carrier, fail)

    assert (raised.value.__notes__, changed(yard)) == ([""], CHANGED)


async def test_a_lost_sandbox_is_told_as_lost_and_nothing_is_fetched(yard: Yard, carrier: Carrier) -> None:
    """Its container is being removed: what an engine then says of its folder is no end to tell."""

    def lose() -> None:
        carrier.gone = True
        raise LinkClosedError("the guest closed the link")

    with pytest.raises(LinkClosedError) as raised:
        await session(yard, carrier, lose)

    assert raised.value.__notes__ == [
        "the workspace travelled as a copy, and what changed in it is lost with its container"
    ]
    assert (carrier.asked, changed(yard)) == (0, [])
    assert is_out(StageFolder(yard.session / "stage"))


async def test_another_failure_is_told_before_that_of_the_fetch(yard: Yard, carrier: Carrier) -> None:
    def fail() -> None:
        carrier.gone = True
        raise SandboxError("what ended the session")

    with pytest.raises(SandboxError, match="what ended the session") as raised:
        await session(yard, carrier, fail)

    assert raised.value.__notes__[0].startswith("what changed in the workspace's copy is lost: ")
    assert changed(yard) == []


@pytest.mark.parametrize("after", ["unmounted", "removed"])
async def test_an_empty_folder_of_a_container_that_ended_is_not_everything_deleted(
    yard: Yard, carrier: Carrier, after: str
) -> None:
    """It ended between the last action and the fetch: the session was interrupted, its stage is as it was."""

    def end() -> None:
        carrier.running, carrier.gone = False, after == "removed"

    with pytest.raises(ContainerEndedError):
        await session(yard, carrier, end)

    assert changed(yard) == []
    assert is_out(StageFolder(yard.session / "stage"))


async def test_an_agent_that_deletes_everything_is_believed_while_its_container_runs(
    yard: Yard, carrier: Carrier
) -> None:
    def empty() -> None:
        for name in ("kept", "made"):
            (carrier.inside / name).unlink()

    await session(yard, carrier, empty)

    assert changed(yard) == [("deleted", "kept"), ("deleted", "old")]
