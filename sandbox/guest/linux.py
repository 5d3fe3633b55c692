"""Make the system calls that Python has no name for, through the C library's `syscall`.

By `_ctypes` alone, which is the interpreter's own: the package above it would cost the start a millisecond.
"""

from __future__ import annotations

import _ctypes
import os
from struct import Struct

from .syscalls import NUMBERS, architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

# linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RENAME_NOREPLACE = 1

_OPEN_HOW = Struct("=QQQ")


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # at run time it takes none  # noqa: SLF001
    """A long of C's."""

    _type_ = "l"


class Character(_ctypes._SimpleCData):  # type: ignore[type-arg]  # likewise  # noqa: SLF001
    """A char of C's."""

    _type_ = "c"


class Text(_ctypes._SimpleCData):  # type: ignore[type-arg]  # likewise  # noqa: SLF001
    """A pointer to bytes that end with a NUL."""

    _type_ = "z"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Long


# The C library is opened once, while the guest starts: afterwards workers are forked and must not load
# anything.
_address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall")  # type: ignore[arg-type]  # None: what is loaded already
_syscall = _Function(_address)
_numbers: dict[str, int] = {}  # this machine's, filled by the first call
# Of its own, for its arguments' types are: those of `_syscall` are wrapped one by one, for each call.
_openat2 = _Function(_address)
_openat2.argtypes = (Long, Long, Text, Text, Long)


def call(name: str, *arguments: int | bytes) -> int:
    """Make the system call `name`.

    Args:
        name: must be in `syscalls.NUMBERS` for this architecture.
        arguments: integers are passed as longs, bytes as pointers.

    Raises:
        OSError: with the kernel's errno.
    """
    words = [Long(word) if isinstance(word, int) else word for word in arguments]
    result: int = _syscall(Long(_number(name)), *words)
    return result if result != -1 else _failed()


def _number(name: str) -> int:
    if not _numbers:
        _numbers.update(NUMBERS[architecture()])
    return _numbers[name]


def _failed() -> NoReturn:
    code = _ctypes.get_errno()
    raise OSError(code, os.strerror(code))


def prctl(option: int, *arguments: int) -> int:
    """Make the system call prctl; arguments that are not given are 0."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return call("prctl", option, *padded)


def become_subreaper() -> bool:
    """Have orphans below this process given to it; return whether the kernel can (old gVisor cannot)."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def openat2(folder: int, path: bytes, flags: int, mode: int, *, follows: bool = True) -> int:
    """Open `path` beneath the descriptor `folder`; the kernel refuses to leave it and to use magic links.

    Raises:
        OSError: EXDEV or ELOOP when the path leaves, ELOOP when it leads through a symlink and `follows` is
            False; ENOSYS where the kernel has no openat2.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (0 if follows else RESOLVE_NO_SYMLINKS)
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    opened: int = _openat2(_number("openat2"), folder, path, how, len(how))
    return opened if opened != -1 else _failed()


def rename_without_replacing(source: tuple[int, bytes], target: tuple[int, bytes]) -> None:
    """Rename between two open folders; fail with EEXIST when the target's name is taken."""
    call("renameat2", source[0], source[1], target[0], target[1], RENAME_NOREPLACE)
