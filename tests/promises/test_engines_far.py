"""Sessions on engines that are reached over TLS and over ssh: whole, refused, and cut off."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineAddressError, EngineMissingError
from sandbox.runtime.images import ready_empty
from sandbox.runtime.volume import ready_runtime
from tests.promises.conftest import Lab
from tests.promises.engine_roads import Authority, Far, Sshd, far_place, sshd
from tests.promises.life import Session, busybox_tar
from tests.promises.second_engine import SecondEngine, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.engine,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second engine and a network namespace need root"),
]

IMAGE = "pairlock-test/busybox:latest"
POLICY = """\
version: 1
name: p
grant: [files]
files: {access: ACCESS}
commands: {allow: ["files *"]}
"""


@dataclass
class Site:
    """An engine far away, and all that leads there."""

    engine: SecondEngine
    place: Far
    ssh: Sshd
    certificates: Path
    """Each folder in it holds those of one client."""
    state: Path
    """A state folder in which everything is built."""

    def road(self, name: str, client: str = "me") -> dict[str, str]:
        """Return the environment that leads there, by `tls` or `ssh`."""
        if name == "ssh":
            host = f"ssh://{self.ssh.destination}{self.engine.socket}"
            return {"DOCKER_HOST": host, "PATH": self.ssh.path}
        host = f"tcp://{self.place.address}:2376"
        return {
            "DOCKER_HOST": host,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.certificates / client),
        }

    def containers(self) -> list[str]:
        """Return the ids of all containers there."""
        return self.engine.docker("ps", "-aq").split()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start an engine in a network namespace, with certificates of its own, and an sshd."""
    folder = tmp_path_factory.mktemp("far")
    ours, theirs = Authority.make(), Authority.make()
    with ExitStack() as stack:
        place = stack.enter_context(far_place())
        server = ours.issue(folder / "server", "engine", address=place.address)
        ours.issue(folder / "me", "me")
        theirs.issue(folder / "other-authority", "me")
        shutil.copy(ours.issue(folder / "nobody", "x") / "ca.pem", folder)
        for name in ("cert.pem", "key.pem"):
            (folder / "nobody" / name).unlink()
        theirs.issue(folder / "stranger", "me")
        shutil.copy(folder / "ca.pem", folder / "stranger")
        options = [
            f"--tls{name}={server}/{file}.pem"
            for name, file in (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
        ]
        engine = stack.enter_context(
            SecondEngine("--tlsverify", *options, "-H", f"tcp://{place.address}:2376", prefix=place.prefix)
        )
        state = folder / "state"
        state.mkdir(mode=0o700)
        asyncio.run(_build({"DOCKER_HOST": engine.host}, state))
        yield Site(engine, place, stack.enter_context(sshd()), folder, state)


async def _build(environment: dict[str, str], state: Path) -> None:
    engine = await DockerEngine.connect(environment)
    try:
        await ready_empty(engine, state=state, progress=quiet)
        await ready_runtime(engine, state=state, progress=quiet)
        await engine.import_image(busybox_tar(state.parent), tag=IMAGE)
    finally:
        await engine.close()


def quiet(message: str, /, *, done: int, total: int) -> None:
    """Say nothing."""


@pytest.fixture
def new_state_there(site: Site, tmp_path: Path) -> Callable[[], Path]:
    """Return a maker of state folders in which nothing has to be built."""

    def make() -> Path:
        return shutil.copytree(site.state, tmp_path / "state")

    return make


@pytest.mark.parametrize("road", ["tls", "ssh"])
@pytest.mark.parametrize("access", ["stage", "read"])
def test_a_whole_session_runs_far_away_on_a_copy(  # noqa: PLR0913, PLR0917 - fixtures
    site: Site,
    new_state_there: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    road: str,
    access: str,
) -> None:
    """No mount reaches there: the workspace travels, ledger and progress say so, changes come back."""
    for name, value in site.road(road).items():
        monkeypatch.setenv(name, value)
    lab = Lab(new_state=new_state_there, folder=tmp_path)
    workspace = lab.workspace(**{"a.txt": "from here\n"})

    ran = lab.run(
        POLICY.replace("ACCESS", access),
        ["files read a.txt", {"command": "files write b.txt", "content": "from there\n"}],
        workspace=workspace,
    )

    (created,) = ran.entries("sandbox.created")
    assert created["stage_strategy"] == "copy"
    assert created["stage_reason"].split(";")[0] == "the engine is on another machine"
    assert "the workspace travels as a copy: the engine is on another machine" in lab.told
    assert "from here" in ran.seen[0].text
    upper = ran.result.ledger.parent / "stage" / "upper" / "b.txt"
    assert upper.read_text() == "from there\n" if access == "stage" else not upper.exists()
    assert not (workspace / "b.txt").exists()
    assert site.containers() == []
    assert [name for name in site.engine.docker("volume", "ls", "-q").split() if "workspace" in name] == []


def test_direct_is_refused_far_away(
    site: Site, new_state_there: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site.road("tls").items():
        monkeypatch.setenv(name, value)
    lab = Lab(new_state=new_state_there, folder=tmp_path)

    with pytest.raises(Exception, match="`access: direct` cannot be had: the engine is on another machine"):
        lab.run(POLICY.replace("ACCESS", "direct"), [], workspace=lab.workspace())


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("other-authority", "is not the engine"),
        ("nobody", "no TLS with the engine"),
        ("stranger", "no TLS with the engine"),
    ],
)
async def test_neither_side_takes_the_other_for_somebody_else(
    site: Site, monkeypatch: pytest.MonkeyPatch, client: str, said: str
) -> None:
    """The engine's certificate is verified against its own authority alone, and ours is wanted."""
    # What the environment says of other programs' trust must not count here.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(site.certificates / "me" / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(site.certificates / "me" / "ca.pem"))

    with pytest.raises(EngineMissingError, match=said) as caught:
        await DockerEngine.connect(site.road("tls", client))

    assert "certificates" in caught.value.hint
    trusted = await DockerEngine.connect(site.road("tls"))
    assert (await trusted.describe()).found == "DOCKER_HOST; TLS, verified, with a certificate of ours"
    await trusted.close()


async def test_a_name_that_the_certificate_does_not_hold_is_refused(site: Site) -> None:
    """The same engine by another name: whoever holds some certificate of that authority is not the engine."""
    road = site.road("tls") | {"DOCKER_HOST": f"tcp://{site.place.address}.:2376"}

    with pytest.raises((EngineMissingError, EngineAddressError)):
        await DockerEngine.connect(road)


async def test_what_ssh_says_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown host key ends it; so does a socket that is not there."""
    road = site.road("ssh")
    monkeypatch.setenv("PATH", road["PATH"])
    known = site.ssh.folder / "known"
    text = known.read_text()
    known.write_text("")
    try:
        with pytest.raises(EngineMissingError, match="Host key verification failed"):
            await DockerEngine.connect(road)
    finally:
        known.write_text(text)
    with pytest.raises(EngineMissingError, match="no such file or directory"):
        await DockerEngine.connect(road | {"DOCKER_HOST": f"ssh://{site.ssh.destination}/absent.sock"})


@pytest.mark.parametrize("road", ["ssh", "tls"])
def test_a_cut_connection_ends_the_session_here_and_there(
    site: Site, new_state_there: Callable[[], Path], tmp_path: Path, road: str
) -> None:
    """B120: the guest's lease ends it though nothing tells it; here the ledger and one line say why."""
    with Session(tmp_path, new_state_there(), environment=site.road(road), image=IMAGE) as session:
        name = session.until_waiting()
        assert len(site.containers()) == 1
        with site.ssh.frozen() if road == "ssh" else site.place.cut():
            code, error = session.ended()
            wait_for(lambda: site.containers() == [], "the guest's lease")

    (closed,) = session.entries(name, "session.closed")
    assert (code, closed["status"], closed["exit_code"]) == (4, "sandbox_failed", 4)
    assert "the engine went away while the session ran" in closed["reason"]
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("hint: ") or "went away" in error.splitlines()[-1]
