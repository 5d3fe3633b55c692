"""The runtime volume and the images, built on a real engine and run in real containers."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
import tarfile
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.docker_engine import DockerEngine
from sandbox.runtime import volume as volume_module
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.images import ready_empty, ready_starter
from sandbox.runtime.interpreter import own_interpreter
from sandbox.runtime.record import RecordFile
from sandbox.runtime.volume import RuntimeVolume, ready_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    import docker

pytestmark = pytest.mark.engine

RUNTIMES = [pytest.param("runc"), pytest.param("runsc", marks=pytest.mark.gvisor)]

# What the hostile image plants, seen from inside the guest's interpreter: each answer is "ours" only if the
# C library, the loader and OpenSSL did not look at the image.
PROBE = """
import ctypes, json, locale, os, pwd, ssl, sys, time

def attempt(probe):
    try:
        return str(probe())
    except Exception as error:
        return type(error).__name__ + ": " + str(error)

print(json.dumps({
    "library": attempt(lambda: ctypes.CDLL("libplanted.so.1")),
    "locale": attempt(lambda: locale.setlocale(locale.LC_CTYPE, "planted.UTF-8")),
    "user": attempt(lambda: pwd.getpwuid(4242).pw_name),
    "openssl": ssl.create_default_context().maximum_version.name,
    "zone": (os.environ.pop("TZ", ""), time.tzset(), time.tzname)[2][0],
    "prefix": sys.prefix,
    "path": [entry for entry in sys.path if not entry.startswith("/rt/")],
    "uid": os.getuid(),
}))
"""


@dataclass(frozen=True, slots=True)
class Steps:
    """A listener that keeps what it was told."""

    messages: list[str] = field(default_factory=list)

    def __call__(self, message: str, /, *, done: int, total: int) -> None:
        """Keep the message."""
        self.messages.append(f"{message} {done}/{total}")


@dataclass(frozen=True, slots=True)
class Setting:
    """What one build left on the engine."""

    state: Path
    volume: RuntimeVolume
    empty: str
    starter: str
    steps: Steps


@asynccontextmanager
async def connected() -> AsyncIterator[DockerEngine]:
    """Speak to the engine for the length of a test."""
    engine = await DockerEngine.connect()
    try:
        yield engine
    finally:
        await engine.close()


async def build(state: Path) -> Setting:
    """Build everything, as the first session on a machine does."""
    steps = Steps()
    async with connected() as engine:
        volume = await ready_runtime(engine, state=state, progress=steps)
        starter = await ready_starter(engine, state=state, progress=steps)
        empty = await ready_empty(engine, state=state, progress=steps)
    return Setting(state=state, volume=volume, empty=empty, starter=starter.image, steps=steps)


async def clean(state: Path) -> tuple[str, ...]:
    """Remove everything again."""
    async with connected() as engine:
        return await remove_built(engine, state=state, current=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """The volume and both images, on the engine."""
    state = tmp_path_factory.mktemp("state")
    try:
        yield asyncio.run(build(state))
    finally:
        asyncio.run(clean(state))


@pytest.fixture
def docker_client() -> Iterator[docker.DockerClient]:
    """The SDK, for what no engine of ours would do: run containers without any of its precautions."""
    import docker

    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def hostile(docker_client: docker.DockerClient, tmp_path: Path) -> Iterator[str]:
    """An image that plants a file at every place where a C library, a loader or Python would look."""
    repository, tag = "pairlock-test/hostile", uuid.uuid4().hex
    path = tmp_path / "hostile.tar"
    _write_hostile(path)
    docker_client.api.import_image_from_data(path.read_bytes(), repository=repository, tag=tag)
    yield f"{repository}:{tag}"
    docker_client.images.remove(f"{repository}:{tag}", force=True, noprune=True)


def _write_hostile(path: Path) -> None:
    interpreter = own_interpreter()
    garbage = b"not a library\n"
    files = {
        "evil.so": garbage,
        "etc/ld.so.preload": b"/evil.so\n",
        "etc/ld.so.cache": garbage,
        "etc/nsswitch.conf": b"passwd: planted files\n",
        "etc/passwd": b"planted:x:4242:4242::/:/evil\n",
        "etc/openssl.cnf": b"",
        "pyvenv.cfg": b"home = /evil\n",
        "rt/pyvenv.cfg": b"home = /evil\n",
        "rt/bin/pyvenv.cfg": b"home = /evil\n",
    }
    for folder in ("lib", "usr/lib", "lib64", "usr/lib64", *_system_folders(interpreter.loader)):
        for name in ("libplanted.so.1", "libc.so.6", "libm.so.6", "libnss_planted.so.2", "libz.so.1"):
            files[f"{folder.strip('/')}/{name}"] = garbage
    # where the host's copy of the interpreter names its own libraries
    files[str(interpreter.executable.parent.parent / "lib" / "libpython3.so").lstrip("/")] = garbage
    files["usr/lib/ssl/openssl.cnf"] = (
        b"openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv1.2\n"
    )
    for name in sorted(Path("/usr/lib/locale/C.utf8").glob("**/LC_*")):
        if name.is_file():
            relative = name.relative_to("/usr/lib/locale/C.utf8")
            files[f"usr/lib/locale/planted.utf8/{relative}"] = name.read_bytes()
    zone = Path("/usr/share/zoneinfo/Asia/Tokyo")
    files["etc/localtime"] = zone.read_bytes() if zone.is_file() else _TOKYO
    with tarfile.open(path, "w") as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))


_TOKYO = b"TZif" + b"\0" * 16 + b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4" + b"\0\0\x7e\x90\0\0JST\0"


def _system_folders(loader: Path) -> list[str]:
    done = subprocess.run([str(loader), "--list-diagnostics"], capture_output=True, text=True, check=True)
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return [value.strip('"') for name, _, value in lines if name.startswith("path.system_dirs")]


def run(  # noqa: PLR0913  a container has that many sides
    client: docker.DockerClient,
    image: str,
    command: list[str],
    *,
    runtime: str = "runc",
    volume: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run one container to its end as uid 65532, read-only and without network: code, stdout, stderr."""
    mounts: dict[str, Any] = {volume: {"bind": "/rt", "mode": "ro"}} if volume else {}
    container = client.containers.create(
        image,
        entrypoint=command[:1],
        command=command[1:],
        runtime=runtime,
        environment=dict(environment or {}),
        user="65532:65532",
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "size=64m,mode=1777"},
        volumes=mounts,
        working_dir="/",
    )
    try:
        container.start()
        code = int(container.wait(timeout=120)["StatusCode"])
        return code, container.logs(stderr=False).decode(), container.logs(stdout=False).decode()
    finally:
        container.remove(force=True, v=True)


def probe(
    client: docker.DockerClient, built: RuntimeVolume, image: str, *, runtime: str = "runc"
) -> tuple[dict[str, Any], str]:
    """Run the probe where the guest would run, and return what it saw and what was said on stderr."""
    line = [*built.argv_prefix[:-1], "-c", PROBE]
    code, out, err = run(
        client, image, line, runtime=runtime, volume=built.name, environment=built.environment
    )
    assert code == 0, err
    return json.loads(out), err


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_interpreter_starts_in_an_empty_image(
    built: Setting, docker_client: docker.DockerClient, runtime: str
) -> None:
    seen, err = probe(docker_client, built.volume, built.empty, runtime=runtime)

    assert err == ""
    assert (seen["prefix"], seen["path"], seen["uid"]) == ("/rt", [], 65532)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_hostile_image_does_not_reach_the_guests_interpreter(
    built: Setting, docker_client: docker.DockerClient, hostile: str, runtime: str
) -> None:
    """Attack B114: what the image plants for loader, C library, OpenSSL and Python is never looked at."""
    seen, err = probe(docker_client, built.volume, hostile, runtime=runtime)

    assert err == ""
    assert seen == {
        "library": "OSError: libplanted.so.1: cannot open shared object file: No such file or directory",
        "locale": "Error: unsupported locale setting",
        "user": "KeyError: 'getpwuid(): uid not found: 4242'",
        "openssl": "MAXIMUM_SUPPORTED",
        "zone": "UTC",
        "prefix": "/rt",
        "path": [],
        "uid": 65532,
    }


def test_the_same_image_does_reach_an_interpreter_that_is_not_sealed(
    built: Setting,
    docker_client: docker.DockerClient,
    hostile: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The positive twin: without the sealing each of the plants works, so the test above can fail."""
    for name in ("seal_loader", "seal_library", "seal_interpreter"):
        monkeypatch.setattr(volume_module, name, bytes)
    monkeypatch.setattr(volume_module, "_ENVIRONMENT", {"LC_ALL": "C"})

    async def unsealed() -> RuntimeVolume:
        async with connected() as engine:
            return await ready_runtime(engine, state=tmp_path, progress=Steps())

    try:
        seen, err = probe(docker_client, asyncio.run(unsealed()), hostile)
    finally:
        asyncio.run(clean(tmp_path))

    assert "/evil.so" in err
    assert "/etc/ld.so.preload" in err
    assert "libplanted.so.1: file too short" in seen["library"] or "invalid ELF" in seen["library"]
    assert seen["user"] == "planted"
    assert seen["zone"] == "JST"
    if Path("/usr/lib/locale/C.utf8").is_dir():
        assert seen["locale"] == "planted.UTF-8"
    if Path("/usr/lib/ssl").is_dir():  # where Debian's OpenSSL looks
        assert seen["openssl"] == "TLSv1_2"


async def test_a_second_call_builds_nothing_and_says_nothing(built: Setting) -> None:
    steps = Steps()
    async with connected() as engine:
        volume = await ready_runtime(engine, state=built.state, progress=steps)
        starter = await ready_starter(engine, state=built.state, progress=steps)

    assert (volume, starter.image) == (built.volume, built.starter)
    assert steps.messages == []
    assert built.steps.messages != []


@pytest.mark.long
async def test_two_first_sessions_at_once_build_one_volume(built: Setting, tmp_path: Path) -> None:
    async with connected() as engine:
        try:
            both = await asyncio.gather(
                *(ready_runtime(engine, state=tmp_path, progress=Steps()) for _ in range(3))
            )
            record = RecordFile(tmp_path, await engine.engine_id()).read()
        finally:
            gone = await remove_built(engine, state=tmp_path, current=True)

    assert len({volume.name for volume in both}) == 1
    assert record.outdated_volumes == ()
    assert both[0].name in gone
    assert both[0].digest == built.volume.digest


@pytest.mark.long
async def test_a_volume_made_beforehand_under_our_name_is_never_used(built: Setting, tmp_path: Path) -> None:
    """Attack B45: the digest can be guessed, the random part and our record cannot."""
    guessed = f"pairlock-runtime-{built.volume.digest[:12]}"
    async with connected() as engine:
        for name in (guessed, f"{guessed}-{'0' * 16}"):
            await engine.create_volume(name, labels={"io.pairlock.kind": "runtime"})
        try:
            volume = await ready_runtime(engine, state=tmp_path, progress=Steps())
        finally:
            await remove_built(engine, state=tmp_path, current=True)
            for name in (guessed, f"{guessed}-{'0' * 16}"):
                await engine.remove_volume(name)

    assert volume.digest == built.volume.digest
    assert volume.name.startswith(f"{guessed}-")
    assert volume.name not in {guessed, f"{guessed}-{'0' * 16}", built.volume.name}


@pytest.mark.long
async def test_an_upgrade_of_the_machine_builds_anew_and_keeps_the_old_one_until_cleaning(
    tmp_path: Path,
) -> None:
    async with connected() as engine:
        try:
            first = await ready_runtime(engine, state=tmp_path, progress=Steps())
            file = RecordFile(tmp_path, await engine.engine_id())
            record = file.read()
            assert record.runtime is not None
            before_upgrade = record.runtime.model_copy(update={"fingerprint": "of an older interpreter"})
            file.write(record.model_copy(update={"runtime": before_upgrade}))

            second = await ready_runtime(engine, state=tmp_path, progress=Steps())

            assert second.name != first.name
            assert await engine.volume_exists(first.name)
            assert await remove_built(engine, state=tmp_path, current=False) == (first.name,)
            assert not await engine.volume_exists(first.name)
            assert await engine.volume_exists(second.name)
        finally:
            await remove_built(engine, state=tmp_path, current=True)


@pytest.mark.long
async def test_a_volume_that_somebody_removed_is_built_anew(tmp_path: Path) -> None:
    async with connected() as engine:
        try:
            first = await ready_runtime(engine, state=tmp_path, progress=Steps())
            await engine.remove_volume(first.name)

            second = await ready_runtime(engine, state=tmp_path, progress=Steps())

            assert second.name != first.name
            assert second.digest == first.digest
        finally:
            await remove_built(engine, state=tmp_path, current=True)


@pytest.mark.long
async def test_a_volume_that_was_never_finished_is_not_used_and_is_found_by_cleaning(tmp_path: Path) -> None:
    class Interrupted(DockerEngine):
        """An engine whose connection breaks while the volume is filled."""

        created: str = ""

        async def create_volume(self, name: str, *, labels: Mapping[str, str]) -> None:
            self.created = name
            await super().create_volume(name, labels=labels)

        async def fill_volume(self, name: str, *, image: str, path: str, tar: Path) -> None:
            raise ConnectionResetError(name, image, path, tar)

    interrupted = await Interrupted.connect()
    assert isinstance(interrupted, Interrupted)
    try:
        with pytest.raises(ConnectionResetError):
            await ready_runtime(interrupted, state=tmp_path, progress=Steps())

        async with connected() as engine:
            whole = await ready_runtime(engine, state=tmp_path, progress=Steps())
            assert interrupted.created.startswith("pairlock-runtime-")
            assert whole.name != interrupted.created
            assert await remove_built(engine, state=tmp_path, current=False) == (interrupted.created,)
            assert not await engine.volume_exists(interrupted.created)
    finally:
        await remove_built(interrupted, state=tmp_path, current=True)
        await interrupted.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_starter_runs_pytest_and_the_everyday_programs_as_an_ordinary_user(
    built: Setting, docker_client: docker.DockerClient, runtime: str
) -> None:
    script = """
        set -e
        cd /tmp
        id -u
        printf 'def test_sum():\\n    assert 1 + 1 == 2\\n' > test_sum.py
        python3 -m pytest -q -p no:cacheprovider test_sum.py | tail -n 1 | grep -c '1 passed'
        pytest -q -p no:cacheprovider test_sum.py > /dev/null
        printf 'a b\\n' | awk '{print $2}' | sed s/b/c/
        find . -name 'test_*.py' | xargs grep -l assert
        printf x | gzip | gunzip
        echo
        ls | sort
    """

    code, out, err = run(docker_client, built.starter, ["/bin/sh", "-c", script], runtime=runtime)

    assert (code, err) == (0, "")
    assert out.split() == ["65532", "1", "c", "./test_sum.py", "x", "test_sum.py"]


def test_a_failing_test_in_the_starter_fails(built: Setting, docker_client: docker.DockerClient) -> None:
    script = (
        "cd /tmp && printf 'def test_sum():\\n    assert 1 + 1 == 3\\n' > test_a.py && pytest -q test_a.py"
    )

    code, out, _ = run(docker_client, built.starter, ["/bin/sh", "-c", script])

    assert code == 1
    assert "assert (1 + 1) == 3" in out


@pytest.mark.skipif(shutil.which("git", path="/usr/bin") is None, reason="the machine has no git to copy")
def test_git_in_the_starter_works_on_a_folder_of_another_user(
    built: Setting, docker_client: docker.DockerClient
) -> None:
    script = (
        "cd /tmp && git init -q && echo x > x && git add x && "
        "git -c user.name=a -c user.email=a@example.com commit -q -m x && git log --oneline | wc -l"
    )

    code, out, err = run(docker_client, built.starter, ["/bin/sh", "-c", script])

    assert (code, out.strip(), err) == (0, "1", "")


def test_nothing_in_the_starter_is_setuid_or_writable_by_others(
    built: Setting, docker_client: docker.DockerClient
) -> None:
    script = (
        "find / -xdev \\( -perm /6000 -o -perm -0002 ! -type l \\) ! -type c ! -path /tmp ! -path /var/tmp"
    )

    code, out, err = run(docker_client, built.starter, ["/bin/sh", "-c", script])

    assert (code, out.split(), err) == (0, [], "")


def test_the_starter_does_not_say_where_this_checkout_lies(
    built: Setting, docker_client: docker.DockerClient
) -> None:
    root = Path(__file__).parents[2]
    needles = ["-e", f"{sys.prefix}/", "-e", f"{root}/sandbox/"]

    code, out, _ = run(docker_client, built.starter, ["/usr/bin/grep", "-rlF", *needles, "/usr", "/etc"])

    assert (code, out) == (1, "")
