"""Make the starter image with this machine's Node.js and npm over it, for machines that reach no registry."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sandbox.images.engine import ImageEngine
from sandbox.runtime.elf import without_search_paths
from sandbox.runtime.engine import RuntimeEngine
from sandbox.runtime.errors import RuntimeBuildError
from sandbox.runtime.images import StarterImage, ready_starter
from sandbox.runtime.interpreter import own_interpreter
from sandbox.runtime.libraries import Libraries
from sandbox.runtime.programs import startable
from sandbox.runtime.record import Built, RecordFile, Sources, fingerprint
from sandbox.runtime.starter import below_usr
from sandbox.runtime.tree import Link, Plain, Tree, walk

if TYPE_CHECKING:
    from sandbox.runtime.engine import Progress
    from sandbox.runtime.interpreter import Interpreter

NODE_TAG: Final = "pairlock/starter-node:latest"
_HINT: Final = "install Node.js with npm beside pairlock, or name an image that has them with `--base`"
_LIBRARY: Final = "usr/lib/node_modules/npm"
_SKIP: Final = frozenset({"docs", "man"})


class NodeEngine(RuntimeEngine, ImageEngine, Protocol):
    """What it asks of an engine."""


async def ready_node(engine: NodeEngine, *, state: Path, progress: Progress) -> StarterImage:
    """Return the starter image with Node.js, made now if it is not there or is out of date.

    Args:
        engine: Where it is to be.
        state: The state folder.
        progress: Told how far the building is; silent when nothing is to be built.

    Raises:
        RuntimeBuildError: When this machine has no Node.js with npm that the starter could run.
        SandboxError: When the engine does not do as it is asked.
    """
    starter = await ready_starter(engine, state=state, progress=progress)
    file = RecordFile(state, await engine.engine_id())
    async with file.locked():
        built = file.read().node
        if (
            built is None
            or fingerprint(built.sources, salt=_salt(starter)) != built.fingerprint
            or await engine.image_id(built.name) != built.name
        ):
            built = await _build(engine, file, starter, progress=progress)
    return StarterImage(image=built.name, digest=built.digest)


def node_tree(interpreter: Interpreter) -> tuple[Tree, Sources]:
    """Return what is laid over the starter, and the files of this machine that it is made of.

    Raises:
        RuntimeBuildError: When this machine has no Node.js with npm.
    """
    node, npm = _program("node"), _program("npm").parent.parent
    if not startable(node, interpreter.loader) or not (npm / "node_modules").is_dir():
        raise RuntimeBuildError(f"`{node}` with the npm of `{npm}` cannot be taken into an image", hint=_HINT)
    libraries = Libraries(interpreter.loader)
    libraries.add(interpreter.executable)
    libraries.add(node)
    tree = Tree()
    tree.add("usr/bin/node", Plain(content=without_search_paths(node.read_bytes()), mode=0o755))
    folder = below_usr(libraries.found["libc.so.6"].parent)
    for name, path in libraries.found.items():
        tree.add(f"{folder}/{name}", Plain(content=without_search_paths(path.read_bytes()), mode=0o755))
    for relative, path in walk(npm, skip=_SKIP):
        mode = 0o755 if path.stat().st_mode & 0o111 else 0o644
        tree.add(f"{_LIBRARY}/{relative}", Plain(content=path, mode=mode))
    for name in ("npm", "npx"):
        tree.add(f"usr/bin/{name}", Link(target=f"../lib/node_modules/npm/bin/{name}-cli.js"))
    files = (node, *libraries.found.values())
    return tree, Sources(files=tuple(map(str, files)), folders=(str(npm),), skip=tuple(sorted(_SKIP)))


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise RuntimeBuildError(f"this machine has no `{name}`", hint=_HINT)
    return Path(found).resolve()


def _salt(starter: StarterImage) -> str:
    return f"node 1 {starter.image}"


async def _build(engine: NodeEngine, file: RecordFile, starter: StarterImage, *, progress: Progress) -> Built:
    progress("reading this machine's Node.js", done=0, total=0)
    tree, sources = await asyncio.to_thread(node_tree, own_interpreter())
    before = fingerprint(sources, salt=_salt(starter))
    digest = await asyncio.to_thread(tree.digest, salt=_salt(starter))
    with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
        tar = Path(folder) / "node.tar"
        await asyncio.to_thread(tree.write, tar, progress=progress, message="packing Node.js")
        async with engine.making() as name:
            image = await engine.layered_image(tar, base=starter.image, tag=name, labels={})
            built = Built(name=image, digest=digest, fingerprint=before, sources=sources)
            file.write(file.read().replaced(node=built))
            await engine.tag_image(image, NODE_TAG)
    return built
