"""B95, B114: an image that wants to undo the sandbox from within, in whole sandboxes and sessions."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import ImageRefusedError
from sandbox.runtime.images import ready_starter
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.promises.conftest import Lab
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine

WISHES = (
    "ENV LD_PRELOAD=/evil.so LD_LIBRARY_PATH=/evil PYTHONSTARTUP=/evil.py EVIL=1 DOCKER_HOST=tcp://192.0.2.1",
    "VOLUME /data",
    "USER root",
    "WORKDIR /evil",
    'ENTRYPOINT ["/evil"]',
    'CMD ["--evil"]',
    "HEALTHCHECK --interval=1s CMD touch /dev/shm/checked",
    "ONBUILD RUN evil",
)
POLICY = """
version: 1
name: hostile
grant: [exec]
exec: {{image: "{image}", programs: any}}
commands: {{allow: [run]}}
isolation: {{runtime: {runtime}}}
"""


async def _make(built: Path, folder: Path, *wishes: str) -> str:
    """Make an image of the starter with a preloaded library, a setuid program and these wishes."""
    engine = await DockerEngine.connect()
    starter = (await ready_starter(engine, state=built, progress=_quiet)).image
    await engine.close()
    _write(folder)
    name = f"pairlock-test-hostile:{secrets.token_hex(4)}"
    container = await docker("create", "--network=none", starter, "true")
    try:
        for source, target in (("evil.so", "/"), ("ld.so.preload", "/etc/"), ("setuid", "/usr/bin/")):
            await docker("cp", "--archive", str(folder / source), f"{container}:{target}")
        changes = [word for wish in wishes for word in ("--change", wish)]
        await docker("commit", *changes, container, name)
    finally:
        await docker("rm", "--force", container)
    return name


def _write(folder: Path) -> None:
    library = next(Path("/usr/lib").glob("*-linux-gnu/libm.so.6"))
    (folder / "evil.so").write_bytes(library.read_bytes())
    (folder / "ld.so.preload").write_text("/evil.so\n")
    (folder / "setuid").write_bytes(Path("/usr/bin/id").read_bytes())
    (folder / "setuid").chmod(0o6755)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass


def maps_of(process: int) -> str:
    """Return what a process has mapped, as the host sees it."""
    return Path(f"/proc/{process}/maps").read_text("utf-8")


@pytest.fixture
def hostile(built: Path, tmp_path: Path) -> Iterator[str]:
    """Give an image with every wish."""
    name = asyncio.run(_make(built, tmp_path, *WISHES))
    yield name
    asyncio.run(docker("rmi", "--force", name))


async def test_the_guest_is_not_touched_by_the_image(ground: Ground, hostile: str) -> None:  # noqa: F811 - the fixture
    """The preloaded library is in the image's own programs, as it wants, and not in PID 1 or its workers."""
    spec = await ground.spec(Grant.EXEC, image=hostile)

    async with ground.opened_sandbox(spec) as sandbox:
        engine = await DockerEngine.connect()
        process = (await engine.inspect(sandbox.container_id, spec)).process
        await engine.close()
        guest = maps_of(process)
        program = await sandbox.spawn(("cat", "/proc/self/maps"))

    assert "evil" not in guest
    assert "/rt/" in guest
    assert b"/evil.so" in program.output


async def test_the_attestation_of_a_hostile_image_tells_the_truth(ground: Ground, hostile: str) -> None:  # noqa: F811 - the fixture
    """User, folder, health check, environment and volume are ours, and seen to be."""
    spec = await ground.spec(Grant.EXEC, image=hostile)

    async with ground.opened_sandbox(spec) as sandbox:
        seen = {(piece.check, piece.source): piece for piece in sandbox.evidence}
        who = await sandbox.spawn(("id", "-u"))
        variables = await sandbox.spawn(("env",))
        volume = await sandbox.spawn(
            ("sh", "-c", "touch /data/x; cp /bin/true /data/; ls /data; ls /dev/shm")
        )
        setuid = await sandbox.spawn(("/usr/bin/setuid", "-u"))

    assert all(piece.holds for piece in seen.values())
    assert seen["mount /data", "host"].observed.startswith("tmpfs nodev,noexec,nosuid,relatime,ro")
    assert seen["Config.Healthcheck", "engine"].observed == '["NONE"]'
    assert who.output.strip() not in (b"", b"0")
    assert setuid.output.strip() == who.output.strip()
    assert not any(word in variables.output for word in (b"evil", b"EVIL", b"DOCKER_HOST", b"LD_"))
    assert volume.output == b""
    assert b"Read-only file system" in volume.errors


async def test_the_same_image_without_the_sandbox_does_what_it_wants(hostile: str) -> None:
    """The twin: run as its author meant it, it is root, with its environment, and its volume is writable."""
    said = await docker(
        "run", "--rm", "--network=none", "--entrypoint=sh", hostile, "-c",
        "/usr/bin/id -u; echo $EVIL; touch /data/x && echo written; grep -c evil.so /proc/self/maps",
    )  # fmt: skip

    lines = said.splitlines()
    assert lines[:3] == ["0", "1", "written"]
    assert int(lines[3]) > 0


@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
def test_a_whole_session_runs_on_a_hostile_image(lab: Lab, hostile: str, runtime: str) -> None:  # noqa: F811 - the fixture
    """It is the image's programs that are hostile, and they are held as any agent's are."""
    ran = lab.run(POLICY.format(image=hostile, runtime=runtime), ["run id -u", "run /evil"])

    assert ran.result.status == "done", ran.result.error
    assert ran.seen[0].kind == "done"
    assert ran.entries("sandbox.attested")[0]["verdict"] == "as granted"


@pytest.mark.parametrize("volume", ["/", "/rt/lib", "/proc", "/tmp/inside", "/dev"])
async def test_an_image_with_a_volume_across_ours_is_refused(
    ground: Ground,  # noqa: F811 - the fixture
    built: Path,
    tmp_path: Path,
    volume: str,
) -> None:
    """One clear line, and no container was made."""
    name = await _make(built, tmp_path, f"VOLUME {volume}")
    try:
        with pytest.raises(ImageRefusedError, match="declares"):
            await ground.spec(Grant.EXEC, image=name)
    finally:
        await docker("rmi", "--force", name)

    assert ground.opened == []
