"""Call the few Linux system calls that Python's os module does not offer; nothing else is decided here."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Final

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

OVERLAYFS_MAGIC: Final = 0x794C7630
"""`f_type` of overlayfs, from linux/magic.h."""

AT_CWD: Final = -100
_SYS_OPENAT2: Final = 437
"""The same number on every architecture (since Linux 5.6)."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _raise(path: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def openat2(folder: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` from the folder descriptor `folder` and return a descriptor.

    Raises:
        OSError: When the kernel refuses; ENOSYS where it has no openat2 (before Linux 5.6).
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "openat2 is a Linux call", path)
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    descriptor = int(
        _libc().syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
    )
    if descriptor < 0:
        _raise(path)
    return descriptor


def renameat2(from_folder: int, source: str, to_folder: int, target: str, flags: int) -> None:
    """Rename with RENAME_NOREPLACE or RENAME_EXCHANGE, both names relative to folder descriptors.

    Raises:
        OSError: EEXIST, ENOENT and so on; EINVAL where the filesystem does not know the flag.
    """
    done = _libc().renameat2(
        ctypes.c_int(from_folder),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(to_folder),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(flags),
    )
    if done != 0:
        _raise(target)


def filesystem_magic(path: str) -> int:
    """Return the magic number of the filesystem that holds `path`; 0 when the kernel does not say."""
    answer = ctypes.create_string_buffer(256)
    if _libc().statfs(ctypes.c_char_p(os.fsencode(path)), answer) != 0:
        return 0
    width = ctypes.sizeof(ctypes.c_long)
    return int.from_bytes(answer.raw[:width], sys.byteorder) & 0xFFFFFFFF
