"""Make an image of the starter with this machine's tools for namespaces, mounts, disks and capabilities."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.docker_engine import DockerEngine
from sandbox.runtime.images import ready_starter
from tests.sandbox.live import docker

TOOLS = (
    "unshare", "nsenter", "mount", "umount", "setpriv", "chroot", "setarch", "su", "mknod", "chown", "fdisk",
    "capsh", "losetup", "dmesg", "pivot_root", "ip", "strace",
)  # fmt: skip
"""Those that this machine has are taken; most are util-linux's and coreutils', and always there."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


async def make_toolbox(built: Path) -> str:
    """Build the image and return its name; whoever makes it removes it."""
    engine = await DockerEngine.connect()
    starter = (await ready_starter(engine, state=built, progress=_quiet)).image
    await engine.close()
    name = f"pairlock-test-toolbox:{secrets.token_hex(4)}"
    container = await docker("create", "--network=none", starter, "true")
    try:
        with TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            await asyncio.to_thread(_lay_out, root)
            await docker("cp", f"{root}/.", f"{container}:/")
        await docker("commit", container, name)
    finally:
        await docker("rm", "--force", container)
    return name


def _lay_out(root: Path) -> None:
    """Copy each tool to /usr/bin and each library that it needs to where the loader looks."""
    for tool in TOOLS:
        found = shutil.which(tool, path=_PATH)
        if found is None:
            continue
        for path in (Path(found), *_libraries(found)):
            place = Path("usr/bin") if path == Path(found) else path.parent.resolve().relative_to("/")
            (root / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / place / path.name)


def _libraries(program: str) -> list[Path]:
    listed = subprocess.run(["ldd", program], capture_output=True, check=False, text=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
