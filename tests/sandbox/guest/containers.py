"""Run the guest in real containers, with the plain docker command: an empty image and a runtime folder."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import secrets
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.inflow import Drawn
from sandbox.link import Link
from tests.sandbox.guest.launch import GUEST, NOBODY, Running, end, greet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PYTHON = "/usr/bin/python3"
_SHOW = "import sys, sysconfig as s; print(sys.executable, s.get_path('stdlib'), sys.version_info[1])"

_REMOVE = ("docker", "rm", "--force")


def run(*command: str, data: bytes = b"") -> str:
    """Run a command to its end and return what it printed."""
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout.decode()


def build_runtime(folder: Path) -> list[str]:
    """Lay an interpreter, its libraries and the guest out in `folder`; return the start line for /rt."""
    executable, library, minor = run(PYTHON, "-I", "-c", _SHOW).split()
    unused = ("test", "tests", "site-packages", "dist-packages", "idlelib", "config-*", "ensurepip")
    skip = shutil.ignore_patterns(*unused)
    shutil.copytree(library, folder / "lib" / f"python3.{minor}", ignore=skip, symlinks=True)
    (folder / "bin").mkdir()
    shutil.copy(Path(executable).resolve(), folder / "bin" / "python3")
    extensions = [str(path) for path in (Path(library) / "lib-dynload").glob("*.so")]
    found = set(re.findall(r"(/\S+\.so\S*) \(0x", run("ldd", executable, *extensions)))
    for path in found:
        shutil.copy(Path(path).resolve(), folder / "lib" / Path(path).name)
    loader = next(Path(path).name for path in found if Path(path).name.startswith("ld-linux"))
    shutil.copytree(GUEST.parent, folder / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    run(PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder / "guest"))
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    start = [f"/rt/lib/{loader}", "--library-path", "/rt/lib", "/rt/bin/python3", "-I", "-S", "-B"]
    return [*start, "/rt/guest/__main__.py"]


@contextlib.contextmanager
def empty_image() -> Iterator[str]:
    """Import an image with nothing in it, and remove it at the end."""
    content = io.BytesIO()
    tarfile.open(fileobj=content, mode="w").close()
    name = f"pairlock-guest-test:{secrets.token_hex(4)}"
    run("docker", "import", "-", name, data=content.getvalue())
    try:
        yield name
    finally:
        run("docker", "rmi", "--force", "--no-prune", name)


class Place:
    """Where containers of a test come from."""

    def __init__(self, image: str, runtime: Path, start: list[str], engine_runtime: str) -> None:
        self.image = image
        self.runtime = runtime
        self.start = start
        self.engine_runtime = engine_runtime
        # gVisor's own threads count as well: below some hundreds its kernel dies of the limit.
        self.pids = 1024 if engine_runtime == "runsc" else 128

    def command(self, root: Path, name: str, *flags: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the docker command line."""
        hardening = (
            "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges",
            "--read-only",
            f"--user={NOBODY}:{NOBODY}", f"--pids-limit={self.pids}", "--memory=512m", "--log-driver=none",
            f"--runtime={self.engine_runtime}", "--env=PYTHONHOME=/rt",
            f"--volume={self.runtime}:/rt:ro", f"--volume={root}:/workspace",
        )  # fmt: skip
        docker = [
            "docker",
            "run",
            "--rm",
            "--interactive",
            f"--name={name}",
            *hardening,
            *options,
            self.image,
        ]
        return [*docker, *self.start, *flags, "/workspace"]

    @contextlib.asynccontextmanager
    async def running(
        self, root: Path, *flags: str, options: tuple[str, ...] = (), lease_seconds: float = 10.0
    ) -> AsyncIterator[Running]:
        """Start a container with the guest in it, greet it, and remove it at the end."""
        run("chown", "-R", f"{NOBODY}:{NOBODY}", str(root))
        name = f"pairlock-guest-test-{secrets.token_hex(6)}"
        process = await asyncio.create_subprocess_exec(
            *self.command(root, name, *flags, options=options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        link = Link(Drawn(process.stdout), process.stdin)
        try:
            facts = await greet(link, process, lease_seconds)
            guest = Running(link, facts, process, root)
            guest.name = name
            yield guest
        finally:
            await link.close()
            await asyncio.to_thread(remove, name)
            await end(process)


def remove(name: str) -> None:
    """Remove a container, running or not, or not there at all."""
    subprocess.run([*_REMOVE, name], check=False, capture_output=True)


def inspect(name: str) -> dict[str, object]:
    """Return what the engine says of a container."""
    found: list[dict[str, object]] = json.loads(run("docker", "inspect", name))
    return found[0]
