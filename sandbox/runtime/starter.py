"""Describe the starter image: Python with pytest, a shell and the everyday programs of this machine.

Laid out as the Filesystem Hierarchy Standard has it, with everything below `/usr`. Nothing in it is setuid,
and nothing belongs to anybody but root.
"""

from __future__ import annotations

import os
import ssl
import sys
from importlib.util import cache_from_source
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sandbox.runtime.elf import is_elf, without_search_paths
from sandbox.runtime.errors import LibraryMissingError, NotAnElfError, RuntimeBuildError
from sandbox.runtime.libraries import Libraries
from sandbox.runtime.packages import installed
from sandbox.runtime.programs import environment_program, everyday_programs, git_scripts
from sandbox.runtime.record import Sources
from sandbox.runtime.tree import Compiled, Folder, Link, Plain, Tree, walk

if TYPE_CHECKING:
    from sandbox.runtime.interpreter import Interpreter

USER = 65532
"""Uid and gid of the user that the image names `agent`; sessions may run under others."""

_STANDARD_NOT_NEEDED = frozenset(
    {
        "__pycache__", "config", "dist-packages", "ensurepip", "idlelib", "lib-dynload", "lib2to3",
        "pydoc_data", "site-packages", "sitecustomize.py", "test", "tests", "tkinter", "turtledemo",
        "usercustomize.py",
    }
)  # fmt: skip
_EXTENSIONS_NOT_NEEDED = ("_ctypes_test", "_test", "_tkinter", "_xx", "nis", "xx")
_MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_OPENED_AT_RUN_TIME = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LOCALE = Path("/usr/lib/locale/C.utf8")

_PYTEST = b"""#!/usr/bin/python3
import sys

import pytest

sys.exit(pytest.main())
"""

# What the agent's programs leave in the workspace is read by a person before it is applied.
_SITE = b"""import sys

sys.dont_write_bytecode = True
"""

_TEXTS = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        f"agent:x:{USER}:{USER}:agent:/tmp:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
    ),
    "etc/group": f"root:x:0:\nagent:x:{USER}:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="pairlock starter"\nID=pairlock-starter\nPRETTY_NAME="pairlock starter image"\n',
    # The workspace belongs to whoever started the session; inside the sandbox that is nobody's secret.
    "etc/gitconfig": "[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n",
}


def starter_tree(interpreter: Interpreter) -> tuple[Tree, Sources]:
    """Return what the image holds, and the files of this machine that it is made of.

    Raises:
        RuntimeBuildError: When this machine lacks pytest, or a part of its interpreter.
    """
    tree = Tree()
    libraries = Libraries(interpreter.loader)
    libraries.add(interpreter.executable)
    _add_folders(tree)
    programs = [*_add_programs(tree, interpreter, libraries), *_add_git(tree)]
    _add_python(tree, interpreter, libraries)
    markers = _add_packages(tree, interpreter)
    for name in _OPENED_AT_RUN_TIME:
        libraries.add_if_present(name, beside=libraries.found["libc.so.6"])
    _add_libraries(tree, interpreter, libraries)
    data = _add_data(tree)
    files = (
        interpreter.executable,
        interpreter.loader,
        *libraries.found.values(),
        *programs,
        *markers,
        *data,
    )
    return tree, Sources(
        files=tuple(map(str, files)),
        folders=(str(interpreter.standard), str(interpreter.extensions)),
        skip=tuple(sorted(_STANDARD_NOT_NEEDED)),
    )


def _add_folders(tree: Tree) -> None:
    for name in (
        "dev",
        "etc",
        "home",
        "opt",
        "proc",
        "root",
        "rt",
        "run",
        "sys",
        "usr/local/bin",
        "workspace",
    ):
        tree.add(name, Folder())
    for name in ("tmp", "var/tmp"):
        tree.add(name, Folder(mode=0o1777))
    for name, target in _MERGED.items():
        tree.add(target, Folder())
        tree.add(name, Link(target=target))
    for name, text in _TEXTS.items():
        tree.add(name, Plain(content=text.encode()))


def _add_programs(tree: Tree, interpreter: Interpreter, libraries: Libraries) -> list[Path]:
    found = dict(everyday_programs(interpreter.loader))
    if ruff := environment_program("ruff", interpreter.loader):
        found["ruff"] = ruff
    taken: list[Path] = []
    for name, path in found.items():
        content = path.read_bytes()
        try:
            if is_elf(content):
                libraries.add(path)
        except (LibraryMissingError, NotAnElfError):
            continue  # a program that this machine cannot start either
        tree.add(f"usr/bin/{name}", Plain(content=without_search_paths(content), mode=0o755))
        taken.append(path)
    return taken


def _add_git(tree: Tree) -> list[Path]:
    if "usr/bin/git" not in tree:
        return []
    folder, scripts = git_scripts()
    for path in scripts:
        tree.add(below_usr(path), Plain(content=path, mode=0o755))
    if scripts:
        tree.add(below_usr(folder / "git"), Link(target="/usr/bin/git"))
    tree.add("usr/share/git-core/templates", Folder())
    return list(scripts)


def _add_python(tree: Tree, interpreter: Interpreter, libraries: Libraries) -> None:
    version = PurePosixPath(interpreter.library).name
    binary = without_search_paths(interpreter.executable.read_bytes())
    tree.add(f"usr/bin/{version}", Plain(content=binary, mode=0o755))
    tree.add("usr/bin/python3", Link(target=version))
    tree.add("usr/bin/python", Link(target="python3"))
    tree.add(f"usr/{interpreter.library}/sitecustomize.py", Plain(content=_SITE))
    dynamic = f"usr/{interpreter.library}/lib-dynload"
    tree.add(dynamic, Folder())
    for relative, path in walk(interpreter.standard, skip=_STANDARD_NOT_NEEDED):
        if not relative.startswith("config-"):
            _add_module(tree, f"usr/{interpreter.library}/{relative}", path)
    for relative, path in walk(interpreter.extensions, skip=_STANDARD_NOT_NEEDED):
        if path.suffix != ".so" or relative.startswith(_EXTENSIONS_NOT_NEEDED):
            continue
        try:
            libraries.add(path)
        except (LibraryMissingError, NotAnElfError):
            continue  # a module that this machine cannot load either
        content = without_search_paths(path.read_bytes())
        tree.add(f"{dynamic}/{relative}", Plain(content=content, mode=0o755))


def _add_packages(tree: Tree, interpreter: Interpreter) -> list[Path]:
    packages = installed("pytest")
    if not packages:
        raise RuntimeBuildError(
            "the environment that pairlock runs in has no `pytest`, which the starter image carries",
            hint="install pytest beside pairlock",
        )
    site = f"usr/{interpreter.library}/site-packages"
    # pip makes the images of projects, in sessions of their own; without it, a base image has to have it.
    packages += tuple(found for found in installed("pip") if found.name == "pip")
    for package in packages:
        for relative, path in package.files:
            if path.suffix != ".exe":
                _add_module(tree, f"{site}/{relative}", path)
    # Debian's interpreter looks there instead.
    tree.add("usr/lib/python3/dist-packages", Link(target=f"/{site}"))
    for name in ("pytest", "py.test"):
        tree.add(f"usr/bin/{name}", Plain(content=_PYTEST, mode=0o755))
    return [package.marker for package in packages]


def _add_module(tree: Tree, target: str, source: Path) -> None:
    """Add a file, and beside a module what it compiles to: the image is read-only when it runs."""
    tree.add(target, Plain(content=source))
    if source.suffix == ".py" and _compiles(source):
        tree.add(cache_from_source(target), Compiled(source=source, shown_as=f"/{target}"))


def _compiles(source: Path) -> bool:
    """Return whether a module is worth compiling: templates and bad examples are no modules."""
    return source.stem.isidentifier() and not {"templates", "lib2to3"} & set(source.parts)


def _add_libraries(tree: Tree, interpreter: Interpreter, libraries: Libraries) -> None:
    loader = Plain(content=interpreter.loader.resolve(), mode=0o755)
    tree.add(below_usr(interpreter.loader), loader)
    # Where the C library lies, the loader looks for the others.
    folder = below_usr(libraries.found["libc.so.6"].parent)
    for name, path in libraries.found.items():
        content = without_search_paths(path.read_bytes())
        tree.add(f"{folder}/{name}", Plain(content=content, mode=0o755))
        if name.startswith("libpython") and folder != "usr/lib":
            tree.add(f"usr/lib/{name}", Link(target=f"/{folder}/{name}"))  # asked for as $ORIGIN/../lib/…


def _add_data(tree: Tree) -> list[Path]:
    taken: list[Path] = []
    for relative, path in walk(_LOCALE, skip=frozenset()):
        tree.add(below_usr(_LOCALE / relative), Plain(content=path))
        taken.append(path)
    if _CERTIFICATES.is_file():
        tree.add(str(_CERTIFICATES).lstrip("/"), Plain(content=_CERTIFICATES))
        wanted = below_usr(Path(ssl.get_default_verify_paths().openssl_cafile))
        if wanted not in tree and wanted.startswith(("usr/", "etc/")):
            tree.add(wanted, Link(target=str(_CERTIFICATES)))
        taken.append(_CERTIFICATES)
    return taken


def below_usr(path: Path) -> str:
    """Return the place in the image of an absolute path of this machine, without its leading slash."""
    relative = os.path.normpath(path).lstrip("/")
    first, _, rest = relative.partition("/")
    return f"{_MERGED[first]}/{rest}" if first in _MERGED else relative


def starter_salt() -> str:
    """Return what besides its sources decides what the image is."""
    return f"starter 3 {sys.version} {sys.implementation.cache_tag}"
