"""Make small images from nothing, and run a registry on loopback to pull them from."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import socket
import subprocess
import tarfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSYBOX = Path("/bin/busybox")
REGISTRY = Path("/usr/bin/docker-registry")
_READY_SECONDS = 60


@dataclass(frozen=True)
class Put:
    """One entry of an image's tree."""

    path: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o755
    target: str = ""
    device: tuple[int, int] = (0, 0)


def folder(path: str, mode: int = 0o755) -> Put:
    """Return a folder."""
    return Put(path, kind=tarfile.DIRTYPE, mode=mode)


def link(path: str, target: str) -> Put:
    """Return a symbolic link."""
    return Put(path, kind=tarfile.SYMTYPE, target=target)


def busybox() -> list[Put]:
    """Return a shell and the everyday programs in one static program."""
    names = ("sh", "id", "echo", "cat", "touch", "ls", "env", "grep", "mount", "mkdir", "head")
    return [
        folder("bin"),
        Put("bin/busybox", BUSYBOX.read_bytes()),
        *(link(f"bin/{name}", "busybox") for name in names),
    ]


def tar_of(*entries: Put) -> bytes:
    """Write a tree as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            member.type, member.mode, member.linkname = entry.kind, entry.mode, entry.target
            member.devmajor, member.devminor = entry.device
            member.size = len(entry.content) if entry.kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(entry.content))
    return buffer.getvalue()


@contextmanager
def image(*entries: Put, changes: tuple[str, ...] = (), name: str = "") -> Iterator[str]:
    """Import a tree as an image, give its name, and remove it at the end."""
    name = name or f"pairlock-test-image:{secrets.token_hex(6)}"
    words = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["docker", "import", *words, "-", name],
        input=tar_of(*entries), check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    try:
        yield name
    finally:
        forget(name)


@contextmanager
def dressed(base: str, *lines: str) -> Iterator[str]:
    """Build an image from another by lines of a Dockerfile that run nothing."""
    name = f"pairlock-test-image:{secrets.token_hex(6)}"
    text = "\n".join((f"FROM {base}", *lines, ""))
    subprocess.run(
        ["docker", "build", "--quiet", "--network=none", "--tag", name, "-"],
        input=text.encode(), check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    try:
        yield name
    finally:
        forget(name)


def forget(name: str) -> None:
    """Remove an image's name; one that is gone is no error."""
    subprocess.run(
        ["docker", "rmi", "--force", "--no-prune", name], check=False, capture_output=True, timeout=300
    )


def run_docker(*words: str) -> str:
    """Run one command of Docker's own client outside of a loop."""
    return asyncio.run(docker(*words))


def musl_loader() -> Path:
    """Return musl's loader: its C library as well, and a program that says so when it is started."""
    found = sorted(Path("/lib").glob("ld-musl-*.so.1"))
    assert found, "musl is not installed: scripts/test_tools.sh installs it"
    return found[0]


@contextmanager
def registry(place: Path) -> Iterator[str]:
    """Serve Debian's registry on a loopback port, give `127.0.0.1:PORT`."""
    assert REGISTRY.exists(), "docker-registry is not installed: scripts/test_tools.sh installs it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (place / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\nlog: {{level: error}}\n"
    )
    with (place / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [REGISTRY, "serve", place / "registry.yml"],
            stdout=log,
            stderr=log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        _await(f"http://{address}/v2/")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def _await(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - our own loopback address
                return
        except OSError:
            assert time.monotonic() < deadline, "the registry did not start"
            time.sleep(0.1)
