"""Probe the ways to run a program, and to have code of one's own mapped."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCRATCH = "/tmp"  # noqa: S108 (the container's own)
SHARED = "/dev/shm"  # noqa: S108 (as above)
_AT_EMPTY_PATH = 0x1000
_PAGE = 4096


def _own_code(path: str) -> None:
    """Map a file of our own as code, which noexec refuses, loaders' tricks included (`ld.so ./program`)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.ftruncate(descriptor, _PAGE)
        mmap.mmap(descriptor, _PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 (pathlib would cost the start)


def _made_code(path: str) -> None:
    """Map a file for writing and make it code afterwards, as a loader that was patched would."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.ftruncate(descriptor, _PAGE)
        area = mmap.mmap(descriptor, _PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        library = ctypes.CDLL(None, use_errno=True)
        place = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(area)))
        if library.mprotect(place, ctypes.c_size_t(_PAGE), mmap.PROT_READ | mmap.PROT_EXEC):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 (as above)


def _in_child(execute: Callable[[], object]) -> None:
    """Ask for the execution of something in a child; what cannot be executed says so."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            quiet = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            execute()
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os.write(tell, str(code).encode())
            os._exit(0)
    os.close(tell)
    answer = os.read(told, 16)
    os.close(told)
    os.waitpid(child, 0)
    if answer:
        raise OSError(int(answer), os.strerror(int(answer)))


def _execute(path: str) -> None:
    _in_child(lambda: os.execve(path, [path, "--version"], {}))  # noqa: S606 (it is what is tried)


def _loader() -> None:
    folder = "/rt/lib"
    names = [name for name in os.listdir(folder) if name.startswith("ld-")]  # noqa: PTH208 (as above)
    _execute(f"{folder}/{names[0]}")


def _from_memory() -> None:
    """Copy a program into a file that has no name and lies on no mount, and execute that."""
    descriptor = linux.call("memfd_create", b"probe", 0)
    try:
        with open("/proc/self/exe", "rb") as program:  # noqa: PTH123 (as above)
            while piece := program.read(1 << 20):
                os.write(descriptor, piece)
        _in_child(lambda: linux.call("execveat", descriptor, b"", 0, 0, _AT_EMPTY_PATH))
    finally:
        os.close(descriptor)


def _from_scratch() -> None:
    """Copy a program into the scratch and execute it there."""
    path = f"{SCRATCH}/.pairlock-probe-program"
    try:
        with open("/proc/self/exe", "rb") as program, open(path, "xb") as copy:  # noqa: PTH123 (as above)
            while piece := program.read(1 << 20):
                copy.write(piece)
        os.chmod(path, 0o700)  # noqa: PTH101 (as above)
        _execute(path)
    finally:
        os.unlink(path)  # noqa: PTH108 (as above)


PROBES: dict[str, Callable[[], object]] = {
    "map_scratch_as_code": lambda: _own_code(f"{SCRATCH}/.pairlock-probe-code"),
    "map_shared_memory_as_code": lambda: _own_code(f"{SHARED}/.pairlock-probe-code"),
    "turn_scratch_into_code": lambda: _made_code(f"{SCRATCH}/.pairlock-probe-code"),
    "turn_shared_memory_into_code": lambda: _made_code(f"{SHARED}/.pairlock-probe-code"),
    "execute_loader": _loader,
    "execute_shell": lambda: _execute("/bin/sh"),
    "execute_from_memory": _from_memory,
    "execute_from_scratch": _from_scratch,
}
"""Name to attempt."""
