"""What every engine does, however it is reached; one suite, passed by each."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineMissingError, EngineRefusedError, ImageNotFoundError, MountRefusedError
from sandbox.link import Link
from sandbox.spec import WORKSPACE, DriverMount
from tests.promises.engine_roads import sshd
from tests.sandbox.live import Ground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sandbox.spec import ContainerSpec

pytestmark = pytest.mark.engine
NOWHERE = "0" * 64
IMAGE = "sha256:" + "0" * 64


@pytest.fixture(scope="module", params=["unix", pytest.param("ssh", marks=pytest.mark.long)])
def road(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Return the environment that leads to the machine's engine."""
    if request.param == "unix":
        yield dict(os.environ)
        return
    with sshd() as serving:
        before, os.environ["PATH"] = os.environ["PATH"], serving.path
        try:
            yield {**os.environ, "DOCKER_HOST": f"ssh://{serving.destination}"}
        finally:
            os.environ["PATH"] = before


@pytest.fixture
async def engine(road: dict[str, str]) -> AsyncIterator[DockerEngine]:
    """Return the engine at the end of the road."""
    connected = await DockerEngine.connect(road)
    yield connected
    await connected.close()


@pytest.fixture
async def spec(built: Path, tmp_path: Path) -> ContainerSpec:
    """Return the description of a container without any capability."""
    return await Ground(state=built, folder=tmp_path, opened=[]).spec(Grant.NONE)


@asynccontextmanager
async def created(engine: DockerEngine, spec: ContainerSpec) -> AsyncIterator[str]:
    """Create a container, and remove it."""
    container = await engine.create(spec)
    try:
        yield container
    finally:
        await engine.remove(container)
        assert await engine.wait_gone(container, timeout_seconds=30)


async def test_it_says_what_it_is(engine: DockerEngine) -> None:
    facts = await engine.describe()

    assert facts.engine_id == await engine.engine_id() != ""
    assert facts.version[0].isdigit()
    assert facts.default_runtime in facts.runtimes
    assert facts.architecture == os.uname().machine
    assert facts.seccomp
    assert facts.memory_bytes > 0
    assert facts.processors > 0
    assert "runc" in facts.components
    assert facts.local == facts.endpoint.startswith("unix://")
    assert facts.found


async def test_what_it_is_takes_two_questions_however_often_it_is_needed(
    road: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each launch needs all of it before it creates a container."""
    asked: list[str] = []
    send = requests.Session.send

    def counted(
        session: requests.Session, request: requests.PreparedRequest, **how: Any
    ) -> requests.Response:
        asked.append(request.path_url.rpartition("/")[2])
        return send(session, request, **how)

    monkeypatch.setattr(requests.Session, "send", counted)
    engine = await DockerEngine.connect(road)
    try:
        facts = await engine.describe()
        identity = await engine.engine_id()
    finally:
        await engine.close()

    assert facts.engine_id == identity
    assert asked == ["version", "info"]


async def test_a_container_goes_from_created_to_gone(engine: DockerEngine, spec: ContainerSpec) -> None:
    """Attached before it starts, it speaks and is spoken to; inspect shows what was asked for."""
    async with created(engine, spec) as container:
        state = spec.labels["io.pairlock.state"]
        waiting = [found for found in await engine.owned(state=state) if found.container_id == container]
        attachment = await engine.attach(container)
        await engine.start(container)
        async with Link(attachment.reader, attachment.writer) as link:
            await link.hello("nonce", wall_seconds=60)
            shown = await engine.inspect(container, spec)
            still = not await engine.wait_gone(container, timeout_seconds=0.1)
            answer = await link.call("files.stat", {"path": "."})
            await engine.kill(container)
        await attachment.close()

        assert [(found.session, found.state) for found in waiting] == [
            (spec.labels["io.pairlock.session"], "created")
        ]
        assert (shown.running, still) == (True, True)
        assert shown.process > 0
        assert [piece for piece in shown.evidence if not piece.holds] == []
        assert answer.result["kind"] == "folder"
        assert await engine.wait_gone(container, timeout_seconds=30), "it removes itself"


async def test_what_is_gone_is_removed_and_killed_without_error(engine: DockerEngine) -> None:
    await engine.kill(NOWHERE)
    await engine.remove(NOWHERE)
    await engine.remove_volume("pairlock-test-nowhere")

    assert await engine.wait_gone(NOWHERE, timeout_seconds=5)


@pytest.mark.parametrize("ask", ["start", "attach"])
async def test_what_is_not_there_cannot_be_asked(engine: DockerEngine, ask: str) -> None:
    with pytest.raises(EngineRefusedError):
        await getattr(engine, ask)(NOWHERE)


async def test_an_image_that_is_not_there_is_named(engine: DockerEngine, spec: ContainerSpec) -> None:
    assert await engine.image_facts("pairlock-test/absent:latest") is None
    with pytest.raises(ImageNotFoundError):
        await engine.create(replace(spec, image=IMAGE))


async def test_a_name_that_is_taken_is_refused(engine: DockerEngine, spec: ContainerSpec) -> None:
    """B45: what somebody made before under our name is not taken for ours."""
    async with created(engine, spec):
        with pytest.raises(EngineRefusedError, match="already in use"):
            await engine.create(spec)


async def test_a_mount_that_cannot_be_made_is_told_as_one(engine: DockerEngine, spec: ContainerSpec) -> None:
    """So that the workspace can be copied instead; nothing is left of the container."""
    options = "lowerdir=/nowhere/a:/nowhere/b,ro"
    mount = DriverMount(target=WORKSPACE, filesystem="overlay", options=options, read_only=True)
    async with created(engine, replace(spec, mounts=(*spec.mounts, mount))) as container:
        with pytest.raises(MountRefusedError, match="the engine refused a mount"):
            await engine.start(container)


async def test_many_ask_at_once(engine: DockerEngine, spec: ContainerSpec) -> None:
    answers = await asyncio.gather(*(engine.wait_gone(NOWHERE, timeout_seconds=30) for _ in range(40)))

    assert answers == [True] * 40


async def test_the_containers_stderr_is_never_the_links(engine: DockerEngine, spec: ContainerSpec) -> None:
    """The engine's framing is undone: what is said on stderr is kept aside."""
    async with created(engine, replace(spec, entrypoint=(*spec.entrypoint[:-1], "--nonsense"))) as container:
        attachment = await engine.attach(container)
        await engine.start(container)

        said: list[bytes] = []
        await attachment.reader.pour(said.append)

        assert said == []
        assert attachment.errors != b""
        await attachment.close()


async def test_root_empties_one_folder_and_no_other(spec: ContainerSpec, tmp_path: Path) -> None:
    """What overlay left in root's name, on an engine of this machine."""
    engine = await DockerEngine.connect()
    for name in ("left", "beside"):
        (tmp_path / name / "work").mkdir(parents=True)
    guest = next(mount for mount in spec.mounts if mount.target == "/rt")
    code = "import os, shutil; [shutil.rmtree(f'/folder/{name}') for name in os.listdir('/folder')]"
    argv = (*spec.entrypoint[: spec.entrypoint.index("-I") + 2], "-c", code)

    await engine.empty_folder_as_root(
        tmp_path / "left", image=spec.image, guest_volume=str(getattr(guest, "name", "")), argv=argv
    )
    await engine.close()

    assert list((tmp_path / "left").iterdir()) == []
    assert list((tmp_path / "beside").iterdir()) != []


async def test_where_nobody_listens_the_engine_is_missing(tmp_path: Path) -> None:
    """And a socket that answers nonsense is no engine either."""
    with pytest.raises(EngineMissingError) as caught:
        await DockerEngine.connect({"DOCKER_HOST": f"unix://{tmp_path}/absent.sock"})
    assert "start it" in caught.value.hint

    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, tmp_path / "d.sock")
    async with server:
        with pytest.raises(EngineMissingError):
            await DockerEngine.connect({"DOCKER_HOST": f"unix://{tmp_path}/d.sock"})
