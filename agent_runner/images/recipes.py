"""Say which programs turn manifests into a folder tree, in a session with network and exec; pure.

Each kind of package goes to a place of its own below `TREE`, laid out as it will lie in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from agent_runner.images.manifests import Manifest
    from agent_runner.images.registries import Kind, Registry

SCRATCH: Final = "/tmp"  # noqa: S108 - the scratch folder, inside the container
TREE_NAME: Final = "tree"
TREE: Final = f"{SCRATCH}/{TREE_NAME}"
TAR_NAME: Final = "tree.tar"
OURS: Final = "opt/pairlock"
PYTHON: Final = f"{OURS}/python"
NODE: Final = "node_modules"
INSTALL_SECONDS: Final = 3000
SHORT_SECONDS: Final = 900

# Scripts begin with the interpreter's path, which is below TREE while they are made. What is compiled by its
# hash is never looked at again: the image is read-only.
_SETTLE: Final = """
import compileall, os, py_compile, sys
tree, place = sys.argv[1:]
folder = os.path.join(tree, place, "bin")
settings = os.path.join(tree, place, "pyvenv.cfg")
for name in [*(os.path.join(folder, name) for name in os.listdir(folder)), settings]:
    if os.path.islink(name) or not os.path.isfile(name):
        continue
    with open(name, "rb") as file:
        content = file.read()
    if tree.encode() in content and b"\\0" not in content:
        with open(name, "wb") as file:
            file.write(content.replace(tree.encode(), b""))
compileall.compile_dir(
    os.path.join(tree, place, "lib"), quiet=2, stripdir=tree, prependdir="/",
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
"""
# By its own path: an environment that leads to /usr/local/bin/python3 would lead to itself, through the
# script of ours that stands there.
_ENVIRONMENT: Final = """
import os, sys
real = os.path.realpath(sys.executable)
os.execv(real, [real, "-m", "venv", "--without-pip", "--system-site-packages", sys.argv[1]])
"""
# A link would not do: Python looks for its environment beside the name that it was started by.
_PYTHON: Final = f"""#!/bin/sh
exec /{PYTHON}/bin/python3 "$@"
"""
# The base's own pytest does not see the project's packages; one among those packages is taken before this.
_PYTEST: Final = f"""#!/bin/sh
exec /{PYTHON}/bin/python3 -m pytest "$@"
"""
_GO: Final = """#!/bin/sh
for real in /usr/local/go/bin/go /usr/lib/go/bin/go /usr/bin/go; do
    [ -x "$real" ] || continue
    export GOMODCACHE=/opt/pairlock/go/mod GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local
    exec "$real" "$@"
done
echo "no go in this image" >&2
exit 127
"""
_CARGO: Final = """#!/bin/sh
for real in /usr/local/cargo/bin/cargo /usr/bin/cargo; do
    [ -x "$real" ] || continue
    export CARGO_HOME=/opt/pairlock/cargo CARGO_NET_OFFLINE=true RUSTUP_HOME=/usr/local/rustup
    exec "$real" "$@"
done
echo "no cargo in this image" >&2
exit 127
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One program of a build."""

    what: str
    """For people: what is being done."""
    argv: tuple[str, ...]
    cwd: str = "."
    """Relative to the scratch folder."""
    seconds: int = INSTALL_SECONDS
    """Until it is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one image is made."""

    files: tuple[tuple[str, bytes], ...]
    """What the session is given: path below the scratch folder, and content."""
    steps: tuple[Step, ...]
    tops: tuple[str, ...]
    """Folders of the tree that go into the image, with those above them; nothing beside them does."""
    programs: tuple[str, ...]
    """Folders of the tree whose programs get a link in /usr/local/bin."""
    wrappers: tuple[tuple[str, bytes], ...] = ()
    """Scripts of ours in /usr/local/bin: name and content."""


def recipe(manifests: tuple[Manifest, ...], registries: tuple[Registry, ...], *, locked: bool) -> Recipe:
    """Return how an image is made from manifests.

    Args:
        manifests: The files, of one or more kinds.
        registries: One for each kind.
        locked: Whether npm has a lock file to hold to.
    """
    parts = [
        _part(found, tuple(m for m in manifests if m.kind == found.kind), locked=locked)
        for found in registries
    ]
    tops = tuple(dict.fromkeys(top for part in parts for top in part.tops))
    packed = tuple(dict.fromkeys(top.partition("/")[0] for top in tops))  # with the folders above
    pack = Step(what="packing", argv=("tar", "-C", TREE, "-cf", f"{SCRATCH}/{TAR_NAME}", *packed))
    return Recipe(
        files=tuple(file for part in parts for file in part.files),
        steps=(*(step for part in parts for step in part.steps), pack),
        tops=tops,
        programs=tuple(folder for part in parts for folder in part.programs),
        wrappers=tuple(wrapper for part in parts for wrapper in part.wrappers),
    )


def _part(found: Registry, manifests: tuple[Manifest, ...], *, locked: bool) -> Recipe:
    match found.kind:
        case "pip":
            return _pip(found.url, manifests)
        case "npm":
            return _npm(found.url, manifests, locked=locked)
        case "go":
            return _go(found.url, manifests)
        case "cargo":
            return _cargo(manifests)


def _files(kind: Kind, manifests: tuple[Manifest, ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple((f"manifests/{kind}/{manifest.name}", manifest.content) for manifest in manifests)


def _pip(url: str, manifests: tuple[Manifest, ...]) -> Recipe:
    place = f"{TREE}/{PYTHON}"
    trusted = urlsplit(url)
    plain = ("--trusted-host", trusted.netloc) if trusted.scheme == "http" else ()
    named = tuple(word for manifest in manifests for word in ("-r", manifest.name))
    install = (
        f"{place}/bin/python3", "-m", "pip", "install", "--no-input", "--no-compile", "--no-cache-dir",
        "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar=off",
        "--index-url", url, *plain, *named,
    )  # fmt: skip
    venv = ("python3", "-c", _ENVIRONMENT, place)
    return Recipe(
        files=_files("pip", manifests),
        steps=(
            Step(what="making a Python environment", argv=venv, seconds=SHORT_SECONDS),
            Step(what="installing Python packages", argv=install, cwd="manifests/pip"),
            Step(what="compiling", argv=("python3", "-c", _SETTLE, TREE, PYTHON), seconds=SHORT_SECONDS),
        ),
        tops=(OURS,),
        programs=(f"{PYTHON}/bin",),
        wrappers=(("python", _PYTHON.encode()), ("python3", _PYTHON.encode()), ("pytest", _PYTEST.encode())),
    )


def _npm(url: str, manifests: tuple[Manifest, ...], *, locked: bool) -> Recipe:
    common = (
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--cache",
        f"{SCRATCH}/npm",
        "--registry",
        url,
    )
    install = ("npm", "ci" if locked else "install", "--ignore-scripts", *common)
    return Recipe(
        files=tuple((f"{TREE_NAME}/{manifest.name}", manifest.content) for manifest in manifests),
        steps=(
            Step(what="installing npm packages", argv=install, cwd=TREE_NAME),
            # The project's own scripts want the project's files; those of its packages do not.
            Step(what="building npm packages", argv=("npm", "rebuild", *common), cwd=TREE_NAME),
        ),
        tops=(NODE,),
        programs=(f"{NODE}/.bin",),
    )


def _go(url: str, manifests: tuple[Manifest, ...]) -> Recipe:
    script = (
        f"export PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin GOMODCACHE={TREE}/{OURS}/go/mod "
        'GOFLAGS=-modcacherw GOTOOLCHAIN=local GOPROXY="$1"; exec go mod download'
    )
    step = Step(what="fetching Go modules", argv=("sh", "-c", script, "sh", url), cwd="manifests/go")
    return _fetched("go", manifests, step, wrapper=_GO)


def _cargo(manifests: tuple[Manifest, ...]) -> Recipe:
    script = (
        f"export PATH=$PATH:/usr/local/cargo/bin CARGO_HOME={TREE}/{OURS}/cargo; "
        "export RUSTUP_HOME=/usr/local/rustup; "
        "mkdir -p src && : >src/lib.rs && : >src/main.rs && exec cargo fetch --locked"
    )
    step = Step(what="fetching Rust crates", argv=("sh", "-c", script), cwd="manifests/cargo")
    return _fetched("cargo", manifests, step, wrapper=_CARGO)


def _fetched(kind: Kind, manifests: tuple[Manifest, ...], step: Step, *, wrapper: str) -> Recipe:
    """Return how one program of the base fetches what it will find again offline."""
    return Recipe(
        files=_files(kind, manifests),
        steps=(step,),
        tops=(OURS,),
        programs=(),
        wrappers=((kind, wrapper.encode()),),
    )
