"""Build the runtime volume: an interpreter, its library and the guest, for any image, even an empty one.

Laid out as `/rt/bin/python3`, `/rt/bin/command`, `/rt/lib/<loader>`, `/rt/lib/*.so*`, `/rt/lib/python3.X/…`
and `/rt/guest/…`, and started as `/rt/lib/<loader> --library-path /rt/lib /rt/bin/python3 …`. The image is
hostile to it: the loader and the C library look at no system file of its. Nothing is compiled at start.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError
from sandbox.guest.packed import NAME as PACKED
from sandbox.runtime.elf import without_search_paths
from sandbox.runtime.errors import LibraryMissingError, NotAnElfError
from sandbox.runtime.images import ready_empty
from sandbox.runtime.interpreter import Interpreter, own_interpreter
from sandbox.runtime.libraries import Libraries
from sandbox.runtime.packages import Installed, installed
from sandbox.runtime.record import Built, EngineRecord, RecordFile, Sources, fingerprint
from sandbox.runtime.sealing import seal_interpreter, seal_library, seal_loader
from sandbox.runtime.tree import Compiled, Folder, Packed, Plain, Tree, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.runtime.engine import Progress, RuntimeEngine

MOUNT = "/rt"
"""Where the volume is mounted, read-only, in every container."""

GUEST = Path(__file__).resolve().parent.parent / "guest"
"""The guest's modules on this machine."""

_RECIPE = "1"  # raise it when the same sources make another volume

_NOT_NEEDED = frozenset(
    {
        "__pycache__", "__phello__", "antigravity.py", "config", "curses", "dbm", "dist-packages",
        "distutils", "ensurepip", "idlelib", "lib-dynload", "lib2to3", "msilib", "pydoc_data",
        "site-packages", "sitecustomize.py", "sqlite3", "test", "tests", "this.py", "tkinter",
        "turtle.py", "turtledemo", "usercustomize.py", "venv",
    }
)  # fmt: skip
_EXTENSIONS_NOT_NEEDED = (
    "_codecs_", "_crypt", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_multibytecodec", "_sqlite3", "_test",
    "_tkinter", "_xx", "audioop", "nis", "ossaudiodev", "readline", "spwd", "xx",
)  # fmt: skip

_STARTS_THE_GUEST = ("__init__.py", "__main__.py", "packed.py")  # found before the rest can be
_PACKAGES = ("dulwich",)  # read by the guest's own modules; what is compiled to machine code is left out
_PACKAGE_PARTS_NOT_NEEDED = ("aiohttp", "cloud", "porcelain", "tests")

# Nothing of the image's environment may reach the loader or the C library. Some of these names act by being
# there at all, whatever their value, so whoever makes the container takes them away rather than blanks them.
CLEARED_ENVIRONMENT = (
    "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LD_AUDIT", "LD_BIND_NOT",
    "LD_BIND_NOW", "LD_DEBUG", "LD_DEBUG_OUTPUT", "LD_DYNAMIC_WEAK", "LD_HWCAP_MASK", "LD_LIBRARY_PATH",
    "LD_ORIGIN_PATH", "LD_PREFER_MAP_32BIT_EXEC", "LD_PRELOAD", "LD_PROFILE", "LD_PROFILE_OUTPUT",
    "LD_SHOW_AUXV", "LD_TRACE_LOADED_OBJECTS", "LD_USE_LOAD_BIAS", "LD_VERBOSE", "LD_WARN",
    "LOCALDOMAIN", "LOCPATH", "MALLOC_ARENA_MAX", "MALLOC_ARENA_TEST", "MALLOC_CHECK_",
    "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_PERTURB_", "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_", "NIS_PATH", "NLSPATH", "OPENSSL_ENGINES", "OPENSSL_MODULES",
    "RESOLV_HOST_CONF", "RES_OPTIONS", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZDIR",
)  # fmt: skip

# LC_ALL=C is the one locale for which glibc opens no file; `-X utf8` makes Python UTF-8 all the same.
_ENVIRONMENT = MappingProxyType({"LC_ALL": "C", "OPENSSL_CONF": "/dev/null", "TZ": "UTC0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeVolume:
    """A runtime volume that is on the engine, and how the guest is started from it."""

    name: str
    """The engine's name for it, with a random part that only our record knows."""
    digest: str
    """Hash of what it was made of, SHA-256 in hexadecimal."""
    argv_prefix: tuple[str, ...]
    """The start line, up to and with the guest; arguments of the guest's may follow."""
    environment: Mapping[str, str]
    """What the container's environment has to say, for the start to be as it was tried."""


async def ready_runtime(engine: RuntimeEngine, *, state: Path, progress: Progress) -> RuntimeVolume:
    """Return the runtime volume of an engine, built now if it is not there or is out of date.

    Args:
        engine: Where it is to be.
        state: The state folder.
        progress: Told how far the building is; silent when nothing is to be built.

    Raises:
        RuntimeBuildError: When it cannot be built from what this machine has.
        SandboxError: When the engine does not do as it is asked.
    """
    interpreter = own_interpreter()
    file = RecordFile(state, await engine.engine_id())
    built = await _current(engine, file, interpreter)
    if built is None:
        empty = await ready_empty(engine, state=state, progress=progress)
        async with file.locked():
            built = await _current(engine, file, interpreter) or await _build(
                engine, file, interpreter=interpreter, empty=empty, progress=progress
            )
    return RuntimeVolume(
        name=built.name,
        digest=built.digest,
        argv_prefix=start_line(interpreter),
        environment=_ENVIRONMENT,
    )


def start_line(interpreter: Interpreter) -> tuple[str, ...]:
    """Return the command line that starts the guest."""
    return (
        f"{MOUNT}/lib/{interpreter.loader.name}", "--inhibit-cache", "--library-path", f"{MOUNT}/lib",
        f"{MOUNT}/bin/python3", "-I", "-S", "-X", "utf8", f"{MOUNT}/guest/__main__.pyc",
    )  # fmt: skip


def runtime_tree(interpreter: Interpreter, *, guest: Path = GUEST) -> tuple[Tree, Sources]:
    """Return what the volume holds, and the files of this machine that it is made of.

    Raises:
        RuntimeBuildError: When a part is missing on this machine.
    """
    tree = Tree()
    libraries = Libraries(interpreter.loader)
    libraries.add(interpreter.executable)
    _add_standard_library(tree, interpreter)
    _add_extensions(tree, interpreter, libraries)
    libraries.add_if_present("libgcc_s.so.1", beside=libraries.found["libc.so.6"])  # for pthread_exit
    packages = [found for found in installed(*_PACKAGES) if found.name in _PACKAGES]
    for package in packages:
        _add_package(tree, interpreter, package)
    _add_guest(tree, guest)
    _add_stub(tree, guest / "stub")
    tree.add("bin/python3", _binary(seal_interpreter(interpreter.executable.read_bytes())))
    tree.add(f"lib/{interpreter.loader.name}", _binary(seal_loader(interpreter.loader.read_bytes())))
    for name, path in libraries.found.items():
        seal = seal_interpreter if name.startswith("libpython") else seal_library
        tree.add(f"lib/{name}", _binary(seal(path.read_bytes())))
    files = (interpreter.executable, interpreter.loader, *libraries.found.values())
    markers = [package.marker for package in packages]
    return tree, Sources(
        files=tuple(map(str, (*files, *markers))),
        folders=_folders(interpreter, guest),
        skip=tuple(sorted(_NOT_NEEDED)),
    )


def _folders(interpreter: Interpreter, guest: Path) -> tuple[str, ...]:
    return tuple(map(str, (interpreter.standard, interpreter.extensions, guest)))


def _add_standard_library(tree: Tree, interpreter: Interpreter) -> None:
    tree.add(f"{interpreter.library}/lib-dynload", Folder())  # Python complains on stderr where there is none
    for relative, path in walk(interpreter.standard, skip=_NOT_NEEDED):
        if path.suffix == ".py" and not relative.startswith("config-"):
            _add_module(tree, f"{interpreter.library}/{relative}", path)


def _add_extensions(tree: Tree, interpreter: Interpreter, libraries: Libraries) -> None:
    for relative, path in walk(interpreter.extensions, skip=_NOT_NEEDED):
        if path.suffix != ".so" or relative.startswith(_EXTENSIONS_NOT_NEEDED):
            continue
        try:
            libraries.add(path)
        except (LibraryMissingError, NotAnElfError):
            continue  # a module that this machine cannot load either
        tree.add(f"{interpreter.library}/lib-dynload/{relative}", _binary(seal_library(path.read_bytes())))


def _add_package(tree: Tree, interpreter: Interpreter, package: Installed) -> None:
    """Add a package's modules beside the standard library's, where a guest that runs with `-S` finds them."""
    for relative, path in package.files:
        parts = relative.split("/")
        if parts[0] == package.name and path.suffix == ".py" and parts[1] not in _PACKAGE_PARTS_NOT_NEEDED:
            _add_module(tree, f"{interpreter.library}/{relative}", path)


def _add_guest(tree: Tree, guest: Path) -> None:
    """Add the guest's start, and all its other modules in one file."""
    modules: list[tuple[str, Compiled]] = []
    for relative, path in walk(guest, skip=frozenset({"__pycache__"})):
        if path.name in _STARTS_THE_GUEST:
            _add_module(tree, f"guest/{relative}", path)
        elif path.suffix == ".py":
            modules.append((path.stem, Compiled(source=path, shown_as=f"{MOUNT}/guest/{relative}")))
    tree.add(f"guest/{PACKED}", Packed(modules=tuple(modules)))


def _add_stub(tree: Tree, folder: Path) -> None:
    """Add what commands are inside, and what starts programs; nothing where this machine has none."""
    with suppress(FileNotFoundError):
        tree.add("bin/command", Plain(content=(folder / platform.machine()).read_bytes(), mode=0o755))
        # Nobody may read it, so that the kernel keeps who becomes a program from those that are programs.
        start = f"start-{platform.machine()}"
        content = (folder / start).read_bytes()
        tree.add(f"guest/stub/{start}", Plain(content=content, mode=0o711))
        # gVisor executes nothing that cannot be read, and lets no process write another's memory.
        tree.add(f"guest/stub/readable-{start}", Plain(content=content, mode=0o755))


def _add_module(tree: Tree, target: str, source: Path) -> None:
    tree.add(f"{target}c", Compiled(source=source, shown_as=f"{MOUNT}/{target}"))


def _binary(sealed: bytes) -> Plain:
    return Plain(content=without_search_paths(sealed), mode=0o755)


def _salt() -> str:
    return f"runtime {_RECIPE} {sys.version} {sys.implementation.cache_tag}"


async def _current(engine: RuntimeEngine, file: RecordFile, interpreter: Interpreter) -> Built | None:
    """Return the volume of the record, if it is there and made of the files as they are now.

    Those of this installation: another one that uses the same state folder has a guest of its own.
    """
    built = file.read().runtime
    if built is None or built.sources.folders != _folders(interpreter, GUEST):
        return None
    if fingerprint(built.sources, salt=_salt()) != built.fingerprint:
        return None
    return built if await engine.volume_exists(built.name) else None


async def _build(
    engine: RuntimeEngine, file: RecordFile, *, interpreter: Interpreter, empty: str, progress: Progress
) -> Built:
    progress("reading the interpreter and its libraries", done=0, total=0)
    tree, sources = await asyncio.to_thread(runtime_tree, interpreter, guest=GUEST)
    before = fingerprint(sources, salt=_salt())
    digest = await asyncio.to_thread(tree.digest, salt=_salt())
    with tempfile.TemporaryDirectory(prefix="pairlock-") as folder:
        tar = Path(folder) / "runtime.tar"
        await asyncio.to_thread(tree.write, tar, progress=progress, message="compiling the runtime")
        progress("filling the runtime volume", done=0, total=0)
        name = await _fresh_name(engine, digest=digest)
        # Named as outdated until it is finished: whatever ends us before that, `pairlock clean` finds it.
        record = _without(file.read())
        file.write(record.model_copy(update={"outdated_volumes": (*record.outdated_volumes, name)}))
        await engine.create_volume(name, labels={"io.pairlock.kind": "runtime", "io.pairlock.digest": digest})
        try:
            await engine.fill_volume(name, image=empty, path=MOUNT, tar=tar)
        except BaseException:
            with suppress(SandboxError):  # `pairlock clean` tries again
                await engine.remove_volume(name)
            raise
    built = Built(name=name, digest=digest, fingerprint=before, sources=sources)
    file.write(record.model_copy(update={"runtime": built}))
    progress("runtime volume ready", done=1, total=1)
    return built


def _without(record: EngineRecord) -> EngineRecord:
    """Return the record with its runtime volume counted as outdated."""
    if record.runtime is None:
        return record
    outdated = (*record.outdated_volumes, record.runtime.name)
    return record.model_copy(update={"runtime": None, "outdated_volumes": outdated})


async def _fresh_name(engine: RuntimeEngine, *, digest: str) -> str:
    """Return a name that nobody can have given to a volume before (attack B45)."""
    name = f"pairlock-runtime-{digest[:12]}-{secrets.token_hex(8)}"
    while await engine.volume_exists(name):
        name = f"pairlock-runtime-{digest[:12]}-{secrets.token_hex(8)}"
    return name
