"""B95, B114: an image that wants to undo the sandbox from within, in whole sandboxes and sessions."""

from __future__ import annotations

import asyncio
import json
import secrets
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import ImageRefusedError, SandboxError
from sandbox.runtime.images import ready_starter
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.images.made import Put, busybox, dressed, folder, image, link
from tests.sandbox.live import docker, still_there

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
    asyncio.run(docker("rmi", "--force", "--no-prune", name))


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
        await docker("rmi", "--force", "--no-prune", name)

    assert ground.opened == []


SPECIAL_PLACES = [
    ("workspace", link("workspace", "proc")),
    ("rt", link("rt", "etc")),
    ("tmp", link("tmp", "workspace")),
    ("workspace", Put("workspace", b"a file", mode=0o644)),
    ("tmp", Put("tmp", kind=tarfile.FIFOTYPE)),
]


@pytest.mark.parametrize(("place", "entry"), SPECIAL_PLACES)
def test_an_image_with_something_where_we_mount_is_refused_before_anything_starts(
    lab: Lab,  # noqa: F811 - the fixture
    place: str,
    entry: Put,
) -> None:
    """The mount would be made where the link leads. One clear line; no container was made."""
    with image(folder("etc"), *busybox(), entry) as name, pytest.raises(ImageRefusedError) as caught:
        lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])

    assert f"at `/{place}`" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "entries",
    [
        (Put("etc/passwd", kind=tarfile.FIFOTYPE),),
        (Put("etc/group", kind=tarfile.FIFOTYPE),),
        (link("etc/passwd", "../deep/pipe"), folder("deep"), Put("deep/pipe", kind=tarfile.FIFOTYPE)),
        (link("etc/passwd", "one"), link("etc/one", "/two"), Put("two", kind=tarfile.FIFOTYPE)),
        (Put("etc/passwd", kind=tarfile.CHRTYPE, device=(1, 3)),),
    ],
    ids=["passwd", "group", "link", "links", "device"],
)
def test_an_image_in_which_the_engine_would_open_a_pipe_or_a_device_is_refused(
    lab: Lab,  # noqa: F811 - the fixture
    entries: tuple[Put, ...],
) -> None:
    """It opens both files before any start, as root and on the machine: at a pipe it would wait for ever."""
    with image(folder("etc"), *busybox(), *entries) as name, pytest.raises(ImageRefusedError) as caught:
        lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])

    assert "which the engine opens" in caught.value.message


def test_twin_files_of_users_may_be_links_to_files_and_to_nothing(lab: Lab) -> None:  # noqa: F811 - the fixture
    """As images that Nix makes have them."""
    users = (folder("store"), Put("store/passwd", b"ann:x:65532:65532::/:/bin/sh\n", mode=0o644))
    links = (link("etc/passwd", "/store/passwd"), link("etc/group", "nowhere"))
    with image(folder("etc"), *busybox(), *users, *links) as name:
        ran = lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])

    assert "uid=65532(ann)" in ran.seen[0].text


@pytest.mark.parametrize("place", ["dev", "proc", "sys"])
def test_links_that_the_engine_itself_replaces_do_no_harm(lab: Lab, place: str) -> None:  # noqa: F811 - the fixture
    """It makes folders of its own there before anything is mounted: the session is sound."""
    with image(folder("etc"), *busybox(), link(place, "etc")) as name:
        ran = lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])

    assert ran.entries("sandbox.attested")[0]["verdict"] == "as granted"
    assert "uid=" in ran.seen[0].text


@pytest.mark.parametrize("entry", [SPECIAL_PLACES[1][1], SPECIAL_PLACES[2][1]])
async def test_the_attestation_finds_what_nobody_looked_at_before(
    ground: Ground,  # noqa: F811 - the fixture
    entry: Put,
) -> None:
    """The second line: a mount that lies elsewhere than the spec says ends the sandbox."""
    with image(folder("etc"), folder("workspace"), *busybox(), entry) as name:
        spec = await ground.spec(Grant.EXEC, image=name)

        with pytest.raises(SandboxError):
            async with ground.opened_sandbox(spec):
                pass

    assert not any([await still_there(container) for container in ground.opened])


def test_a_volume_below_a_link_is_refused(lab: Lab) -> None:  # noqa: F811 - the fixture
    """`/data -> /rt` with VOLUME /data/x would cover a part of the runtime."""
    entries = (*busybox(), link("data", "rt"))
    with (
        image(*entries, changes=("VOLUME /data/guest",)) as name,
        pytest.raises(ImageRefusedError, match="a symbolic link at `/data`"),
    ):
        lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (tuple(f"ENV {' '.join(f'E{line}_{n}=x' for n in range(100))}" for line in range(6)), "sets 60"),
        (("LABEL io.pairlock.session=other io.pairlock.state=0",), "has the label"),
    ],
)
def test_an_image_that_floods_or_imitates_is_refused(
    lab: Lab,  # noqa: F811 - the fixture
    changes: tuple[str, ...],
    message: str,
) -> None:
    """Variables without end, labels by which `pairlock clean` would take its containers for ours."""
    with image(*busybox(), changes=changes) as name, pytest.raises(ImageRefusedError, match=message):
        lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])


@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
def test_what_an_image_asks_of_python_and_the_engine_reaches_nobody(
    lab: Lab,  # noqa: F811 - the fixture
    runtime: str,
) -> None:
    """PYTHON*, a stop signal, ports, many folders: the session is sound, its programs see none of it."""
    wishes = (
        "ENV PYTHONHOME=/evil PYTHONPATH=/evil PYTHONINSPECT=1 PYTHONSTARTUP=/evil.py",
        "ENV PATH=/evil HOME=/evil LC_ALL=evil TZ=/evil OPENSSL_CONF=/evil GLIBC_TUNABLES=evil",
        "STOPSIGNAL SIGWINCH",
        "EXPOSE 1-1000",
        'SHELL ["/evil"]',
        "HEALTHCHECK --interval=1s CMD /evil",
    )
    many = [folder(f"many/{number}") for number in range(3000)]
    evil = [Put("pyvenv.cfg", b"home = /evil\n"), Put("rt/guest/__main__.pyc", b"evil"), folder("rt/lib")]
    tree = (folder("many"), *many, folder("rt"), folder("rt/guest"), *evil, *busybox())
    with image(*tree) as plain, dressed(plain, *wishes) as name:
        ran = lab.run(POLICY.format(image=name, runtime=runtime), ["run env", "run -- ls /rt/guest"])

    assert ran.entries("sandbox.attested")[0]["verdict"] == "as granted"
    assert "evil" not in ran.seen[0].text
    assert "PYTHONHOME" not in ran.seen[0].text
    assert "packed.pyc" in ran.seen[1].text


def test_an_image_is_looked_at_once(lab: Lab) -> None:  # noqa: F811 - the fixture
    """By its id, which is a hash of all that it is: the second session starts without that container."""
    with image(*busybox()) as name:
        first = lab.run(POLICY.format(image=name, runtime="runc"), ["run id"])
        record = next((first.state / "engines").glob("*.json"))
        remembered = json.loads(record.read_text())["sound"]

    assert remembered == [first.entries("sandbox.created")[0]["image_digest"]]
