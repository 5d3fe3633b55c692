"""Make copies of programs and libraries blind to the image that they run in; nothing is copied here.

The loader, the C library and OpenSSL carry the paths of files that they read on their own:
`/etc/ld.so.preload`, `/etc/ld.so.cache`, the system folders, `/etc/nsswitch.conf`, locales, character sets,
time zones, `/usr/lib/ssl/openssl.cnf`. In a container those files are the image's, and the image is hostile:
its `ld.so.preload` or the modules of its `openssl.cnf` would run inside the guest. So each such path in our
copy is made to point, at the same length, below `/rt/0`, where the runtime volume has nothing and nobody can
put anything: it is mounted read-only.
"""

from __future__ import annotations

import re

from sandbox.runtime.errors import RuntimeBuildError

# A whole string: a path of two parts and more. What precedes it need not be a NUL: the loader's second
# table of system folders follows a table of numbers. The kernel's own folders and `/rt` stay.
_PATHS = re.compile(rb"(?<![\x20-\x7e])/(?!(?:bin|dev|proc|rt|sys|tmp)/)[a-z0-9._-]+/[\x21-\x7e]*(?=\x00)")
# libpython builds its own paths from pieces such as `/lib/python`: those must stay.
_PATHS_BESIDE_PYTHON = re.compile(rb"(?<![\x20-\x7e])/(?:etc|usr|var)/[\x21-\x7e]*(?=\x00)")
_FIRST_FOLDER = re.compile(rb"/[^/]+/")
_MUST_BE_IN_A_LOADER = (b"/etc/ld.so.preload", b"/etc/ld.so.cache")


def seal_loader(content: bytes) -> bytes:
    """Return the loader with every path of a system file led astray.

    Raises:
        RuntimeBuildError: When it is not a loader whose paths are known, such as musl's: a loader that
            cannot be sealed is not used.
    """
    found = {match.group() for match in _PATHS.finditer(content)}
    missing = [path.decode() for path in _MUST_BE_IN_A_LOADER if path not in found]
    if missing:
        raise RuntimeBuildError(
            f"the loader of this machine's interpreter does not name `{missing[0]}`, as glibc's does",
            hint="run pairlock with an interpreter that is linked with glibc",
        )
    return seal_library(content)


def seal_library(content: bytes) -> bytes:
    """Return a library with every path of a system file led astray."""
    return _PATHS.sub(lambda match: _astray(match.group()), content)


def seal_interpreter(content: bytes) -> bytes:
    """Return the interpreter, or its library, with the paths of system files led astray."""
    return _PATHS_BESIDE_PYTHON.sub(lambda match: _astray(match.group()), content)


def _astray(path: bytes) -> bytes:
    """Return a path of the same length below `/rt`, where nothing is.

    >>> _astray(b"/etc/ld.so.cache")
    b'/rt/0ld.so.cache'
    """
    first = _FIRST_FOLDER.match(path)
    if first is None:  # pragma: no cover  _PATHS matches nothing else
        return path
    return b"/rt/".ljust(first.end(), b"0") + path[first.end() :]
