"""Start the guest as PID 1 of namespaces of its own, without an engine, and speak with it over a Link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import SandboxLostError
from sandbox.inflow import Drawn
from sandbox.link import Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sandbox.guest.objects import Object

GUEST = Path(__file__).resolve().parents[3] / "sandbox" / "guest" / "__main__.py"
NOBODY = 65532
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Running:
    """A guest that runs."""

    def __init__(self, link: Link, facts: Object, process: asyncio.subprocess.Process, root: Path) -> None:
        self.link = link
        self.facts = facts
        self.process = process
        self.root = root
        self.name = ""

    async def spawn(self, *argv: str, **arguments: object) -> Object:
        """Run a program and return the result with its output added."""
        values = {"argv": list(argv), "cwd": ".", "env": PATH, "timeout_seconds": 20.0, **arguments}
        answer = await self.link.call("process.spawn", values)  # type: ignore[arg-type]
        return {**answer.result, "stdout": answer.body.decode(), "stderr": answer.errors.decode()}


def command(root: Path, *flags: str) -> list[str]:
    """Return a command line that runs the guest as PID 1, as an ordinary user, without a network."""
    interpreter = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    start = [interpreter, "-I", "-S", str(GUEST), *flags, str(root)]
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--uts"]
    if os.geteuid() != 0:
        return [*unshare, "--user", "--map-current-user", *start]
    demote = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*unshare, *demote, "--bounding-set=-all", "--inh-caps=-all", *start]


async def start(root: Path, *flags: str) -> asyncio.subprocess.Process:
    """Start a guest; its stdin and stdout are the link."""
    if os.geteuid() == 0:
        give_away(root)
    return await asyncio.create_subprocess_exec(
        *command(root, *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
    )


def give_away(root: Path) -> None:
    """Give a folder to the guest's user."""
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """Make a folder that the guest's user can reach, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pairlock-guest-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def running(root: Path, *flags: str, lease_seconds: float = 10.0) -> AsyncIterator[Running]:
    """Start a guest, greet it, and end it with the block."""
    process = await start(root, *flags)
    assert process.stdin is not None
    assert process.stdout is not None
    link = Link(Drawn(process.stdout), process.stdin)
    try:
        facts = await greet(link, process, lease_seconds)
        yield Running(link, facts, process, root)
    finally:
        await link.close()
        await end(process)


async def greet(link: Link, process: asyncio.subprocess.Process, lease_seconds: float) -> Object:
    """Greet a guest; one that ends instead is reported with what it said."""
    try:
        return await link.hello(secrets.token_hex(8), wall_seconds=300, lease_seconds=lease_seconds)
    except SandboxLostError as error:
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
        raise AssertionError(f"exit {await process.wait()}: {said}") from error


async def end(process: asyncio.subprocess.Process) -> int:
    """Wait for a guest whose link is closed."""
    try:
        async with asyncio.timeout(20):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
