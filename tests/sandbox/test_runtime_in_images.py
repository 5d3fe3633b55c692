"""The guest's interpreter in containers of an empty image, and of one that plants files against it."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.runtime import volume as volume_module
from sandbox.runtime.cleaning import remove_built
from sandbox.runtime.interpreter import own_interpreter
from sandbox.runtime.volume import RuntimeVolume, ready_runtime
from tests.sandbox.runtime_setting import RUNTIMES, Setting, Steps, connected, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = pytest.mark.engine

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


async def _clean(state: Path) -> None:
    async with connected() as engine:
        await remove_built(engine, state=state, current=True)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_interpreter_starts_in_an_empty_image(
    setting: Setting, docker_client: docker.DockerClient, runtime: str
) -> None:
    seen, err = probe(docker_client, setting.volume, setting.empty, runtime=runtime)

    assert err == ""
    assert (seen["prefix"], seen["path"], seen["uid"]) == ("/rt", [], 65532)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_hostile_image_does_not_reach_the_guests_interpreter(
    setting: Setting, docker_client: docker.DockerClient, hostile: str, runtime: str
) -> None:
    """Attack B114: what the image plants for loader, C library, OpenSSL and Python is never looked at."""
    seen, err = probe(docker_client, setting.volume, hostile, runtime=runtime)

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


@pytest.mark.long
def test_the_same_image_does_reach_an_interpreter_that_is_not_sealed(
    setting: Setting,
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
        asyncio.run(_clean(tmp_path))

    assert "/evil.so" in err
    assert "/etc/ld.so.preload" in err
    assert "libplanted.so.1: file too short" in seen["library"] or "invalid ELF" in seen["library"]
    assert seen["user"] == "planted"
    assert seen["zone"] == "JST"
    if Path("/usr/lib/locale/C.utf8").is_dir():
        assert seen["locale"] == "planted.UTF-8"
    if Path("/usr/lib/ssl").is_dir():  # where Debian's OpenSSL looks
        assert seen["openssl"] == "TLSv1_2"
