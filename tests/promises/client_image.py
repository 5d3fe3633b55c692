"""Make an image of the starter with Node.js and further clients: curl, git over https, apt, Go, Java."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.docker_engine import DockerEngine
from sandbox.guest.keystore import java_keystore
from sandbox.runtime.node import ready_node
from tests.sandbox.live import docker

CODE = Path(__file__).parent / "client_code"
APT_METHODS = Path("/usr/lib/apt/methods")
DPKG = Path("/usr/share/dpkg")
"""Where apt finds which architectures there are."""
GIT_CORE = Path("/usr/lib/git-core")
MODULES = (
    "pip", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "aiohttp", "yarl", "multidict",
    "frozenlist", "propcache", "aiosignal", "attr", "attrs", "aiohappyeyeballs", "httpx", "httpcore", "anyio",
    "h11", "sniffio", "typing_extensions",
)  # fmt: skip
"""Of the environment that the tests run in, for the image's Python; what it does not have is left out."""


async def make_clients(built: Path, authority: Path) -> str:
    """Build the image and return its name; whoever makes it removes it.

    Args:
        built: The state folder in which the starter is.
        authority: A certificate to be put at `/opt/ca.pem`.
    """
    engine = await DockerEngine.connect()
    base = (await ready_node(engine, state=built, progress=_quiet)).image
    await engine.close()
    name = f"pairlock-test-clients:{secrets.token_hex(4)}"
    container = await docker("create", "--network=none", base, "true")
    try:
        with TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            await asyncio.to_thread(lay_out, root, authority)
            await docker("cp", f"{root}/.", f"{container}:/")
        await docker("commit", container, name)
    finally:
        await docker("rm", "--force", container)
    return name


def lay_out(root: Path, authority: Path) -> None:
    """Write everything that is added into a folder."""
    for program in map(shutil.which, ("curl", "apt-get", "dpkg", "git")):
        assert program, "scripts/test_tools.sh long installs what is missing"
        _program(root, Path(program))
    for method in ("http", "https", "file", "store"):
        _program(root, APT_METHODS / method)
    _program(root, GIT_CORE / "git-remote-http")
    (root / "usr/lib/git-core/git-remote-https").symlink_to("git-remote-http")
    (root / "usr/lib/git-core/git").symlink_to("/usr/bin/git")
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    shutil.copytree(DPKG, root / "usr/share/dpkg")
    shutil.copytree(CODE, root / "opt/code")
    _modules(root / "opt/site")
    shutil.copy(authority, root / "opt/ca.pem")
    (root / "opt/ca.jks").write_bytes(java_keystore(authority.read_bytes()))
    _go(root / "opt/fetch-go", root.parent / "go")
    _java(root / "opt/java", root / "opt/classes")


def _program(root: Path, path: Path) -> None:
    """Copy a program, and each library that it needs to where the loader looks."""
    place = Path("usr") / path.resolve().parent.relative_to("/usr")
    (root / place).mkdir(parents=True, exist_ok=True)
    shutil.copy(path, root / place / path.name)
    listed = subprocess.run(["ldd", path], capture_output=True, check=True, text=True).stdout
    for library in map(Path, re.findall(r"(/\S+) \(0x", listed)):
        folder = root / library.parent.resolve().relative_to("/")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, folder / library.name)


def _modules(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in MODULES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            continue
        source = Path(found.origin)
        if source.name == "__init__.py":
            shutil.copytree(source.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def _go(target: Path, cache: Path) -> None:
    subprocess.run(
        ["go", "build", "-trimpath", "-o", target, CODE / "fetch.go"],
        env={"PATH": "/usr/bin:/bin", "CGO_ENABLED": "0", "GOCACHE": str(cache), "HOME": str(cache)},
        check=True, capture_output=True,
    )  # fmt: skip


def _java(runtime: Path, classes: Path) -> None:
    home = Path(shutil.which("javac") or "").resolve().parent
    modules = "java.base,java.net.http,jdk.crypto.ec"
    link = [home / "jlink", "--add-modules", modules, "--no-header-files", "--no-man-pages"]
    subprocess.run([*link, "--output", runtime], check=True, capture_output=True)
    subprocess.run([home / "javac", "-d", classes, CODE / "Fetch.java"], check=True, capture_output=True)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass
