"""B85 to B89, B92, B93, B96 to B98: what a program finds inside a session, in real containers."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.engine import EngineFacts
from sandbox.runtime.images import ready_starter
from sandbox.versions import known_holes
from sandbox.workspace import WorkspaceError, open_workspace
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.session import ProcessResult
    from sandbox.spec import ContainerSpec
    from tests.sandbox.live import Ground

SOCKETS = """
import glob, json, os, stat
found = []
for root in ('/run', '/var/run', '/tmp', '/workspace', '/home', '/etc', '/dev'):
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                found.append(path)
print(json.dumps([found, open('/proc/net/unix').read().splitlines()[1:]]))
"""
DATAGRAM = """
import socket, sys
wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    wire.sendto(b'probe', sys.argv[1].replace('@', chr(0)))
    print('sent')
except OSError as error:
    print(type(error).__name__)
"""
ENVIRONMENTS = """
import glob
for name in glob.glob('/proc/*/environ'):
    try:
        print(open(name).read())
    except OSError:
        pass
"""
DESCRIPTORS = "import os\nprint(sorted(n for n in range(1024) if os.path.exists(f'/proc/self/fd/{n}')))"


async def with_starter(
    ground: Ground,  # noqa: F811 - the fixture
    grant: Grant = Grant.EXEC,
    *,
    runtime: str = "runc",
) -> ContainerSpec:
    """Return a spec whose image holds Python."""
    engine = await DockerEngine.connect()
    image = (await ready_starter(engine, state=ground.state, progress=_quiet)).image
    await engine.close()
    return await ground.spec(grant, image=image, runtime=runtime)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass


async def run_python(ground: Ground, text: str, *words: str) -> ProcessResult:  # noqa: F811 - the fixture
    """Run Python inside a session with exec."""
    async with ground.opened_sandbox(await with_starter(ground)) as sandbox:
        return await sandbox.spawn(("python3", "-c", text, *words))


@pytest.mark.engine
async def test_no_socket_of_the_host_is_in_a_session(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B85, B86, B88: no engine, bus, agent or display; by path or by an abstract name."""
    result = await run_python(ground, SOCKETS)

    by_path, by_name = json.loads(result.output)
    assert by_path == []
    assert {line.split()[-1] for line in by_name if "@" in line} <= {"@pairlock-commands"}  # its own guest's


@pytest.mark.engine
async def test_a_datagram_reaches_no_abstract_socket_of_the_host(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B87: the host's socket is there, as the twin shows, and a session's program cannot name it."""
    name = f"pairlock-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(0.2)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as twin:
            twin.sendto(b"twin", f"\0{name}")
        assert listening.recv(16) == b"twin"

        result = await run_python(ground, DATAGRAM, f"@{name}")

        assert result.output.strip() == b"ConnectionRefusedError"
        with pytest.raises(TimeoutError):
            listening.recv(16)


@pytest.mark.engine
async def test_a_program_starts_with_three_descriptors_and_our_environment(
    ground: Ground,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """B89, B92: a secret of the runner's environment, and a file that it has open, are nowhere inside."""
    monkeypatch.setenv("CANARY_TOKEN", "canary-7f3a")
    with (ground.folder / "canary").open("wb") as kept:
        os.set_inheritable(kept.fileno(), True)  # noqa: FBT003 - the one way to say it

        descriptors = await run_python(ground, DESCRIPTORS)
        everything = await run_python(
            ground,
            ENVIRONMENTS,
        )

    assert descriptors.output.strip() in (b"[0, 1, 2]", b"[0, 1, 2, 3]")  # the fourth is the listing's own
    assert b"TMPDIR" in everything.output
    assert b"canary" not in everything.output


@pytest.mark.engine
async def test_output_without_a_newline_is_cut_at_the_limit(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B97: a line of 64 MiB costs the host no more than the limit, and what was dropped is counted."""
    limits = replace(LIMITS, action_output_bytes=1 << 20)
    spec = await with_starter(ground)

    async with ground.opened_sandbox(spec, limits=limits) as sandbox:
        flood = await sandbox.spawn(("python3", "-c", "import sys; sys.stdout.write('x' * (64 << 20))"))
        after = await sandbox.spawn(("echo", "still here"))

    assert len(flood.output) <= 1 << 20
    assert len(flood.output) + flood.truncated_bytes == 64 << 20
    assert after.output == b"still here\n"


@pytest.mark.engine
async def test_no_terminal_is_in_a_session(ground: Ground) -> None:  # noqa: F811 - the fixture
    """B96: nothing to type into: neither a controlling terminal nor one of the three descriptors."""
    result = await run_python(
        ground,
        "import os\nprint([os.isatty(n) for n in range(3)])\ntry: os.open('/dev/tty', os.O_RDWR)\n"
        "except OSError as error: print(error.errno)",
    )

    assert result.output.split(b"\n")[:2] == [b"[False, False, False]", b"6"]  # ENXIO


@pytest.mark.parametrize("name", ["docker.sock", "docker.sock.parent"])
def test_a_workspace_around_the_engines_socket_is_refused(tmp_path: Path, name: str) -> None:
    """B85: not the socket's folder, nor one above it, nor a link to either."""
    state, folder = tmp_path / "state", tmp_path / "above" / "run"
    state.mkdir()
    folder.mkdir(parents=True)
    place = folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        (tmp_path / "link").symlink_to(folder.parent if name.endswith("parent") else folder)

        with pytest.raises(WorkspaceError) as caught:
            open_workspace(tmp_path / "link", state=state, engine_sockets=(str(place),))

    assert caught.value.reason == "engine"


def facts(**components: str) -> EngineFacts:
    """Return an engine with parts of these versions."""
    return EngineFacts(
        engine_id="x", version="1", api_version="1.41", endpoint="unix:///x", found="x", local=True,
        operating_system="x", architecture="x86_64", runtimes=("runc",), default_runtime="runc", seccomp=True,
        rootless=False, user_namespace=False, unbounded=(), memory_bytes=1, processors=1,
        components=components,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("1.1.5+ds1", ["CVE-2024-21626", "CVE-2025-31133", "CVE-2025-52881"]),
        ("1.1.12", ["CVE-2025-31133", "CVE-2025-52881"]),
        ("1.2.7", ["CVE-2025-31133", "CVE-2025-52881"]),
        ("1.2.8", []),
        ("1.3.2", ["CVE-2025-31133", "CVE-2025-52881"]),
        ("1.3.3", []),
        ("2.0.0", []),
        ("unknown", []),
    ],
)
def test_the_known_holes_of_a_runtime_are_named_with_the_reason(version: str, holes: list[str]) -> None:
    """B98: by version, each with why a session cannot reach it."""
    found = list(known_holes(facts(runc=version)))

    assert [hole.text.split(" may have ")[1].split()[0].rstrip(",") for hole in found] == holes
    assert all("out of reach" in hole.text for hole in found)
