"""Probe the bounds: space, names, descriptors, processes, memory, until the kernel says no."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import time
from contextlib import suppress

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCRATCH = "/tmp"  # noqa: S108 (the container's own)
SHARED = "/dev/shm"  # noqa: S108 (as above)
_MOST_BYTES = 1 << 28
_MOST_FILES = 1 << 16
_MOST_PROCESSES = 1024
_MOST_SIGNALS = 1 << 14
_MOST_HOARDS = 8
_HOARDED_BYTES = 1 << 25
_BLOCK = b"\0" * (1 << 20)
_SECONDS = 20.0


def _fill_bytes(folder: str) -> None:
    """Write until there is no more room."""
    path = f"{folder}/.pairlock-probe-bytes"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)  # noqa: PTH108 (pathlib would cost the start)
    try:
        for _ in range(_MOST_BYTES // len(_BLOCK)):
            os.write(descriptor, _BLOCK)
    finally:
        os.close(descriptor)


def _fill_names(folder: str) -> None:
    """Make files until there may be no more."""
    made = 0
    within = f"{folder}/.pairlock-probe-names"
    os.mkdir(within)  # noqa: PTH102 (as above)
    try:
        for number in range(_MOST_FILES):
            os.close(os.open(f"{within}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            made = number + 1
    finally:
        for number in range(made):
            os.unlink(f"{within}/{number}")  # noqa: PTH108 (as above)
        os.rmdir(within)  # noqa: PTH106 (as above)


def _open_many() -> None:
    kept = []
    try:
        for _ in range(1 << 20):
            kept.append(os.open("/dev/null", os.O_RDONLY))  # noqa: PERF401 (it is expected to fail)
    finally:
        for descriptor in kept:
            os.close(descriptor)


def _fork_many() -> None:
    """Fork until the kernel says no, and end all of them."""
    children = []
    try:
        for _ in range(_MOST_PROCESSES):
            child = os.fork()
            if child == 0:
                try:
                    time.sleep(_SECONDS)
                finally:
                    os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def _queue_signals() -> None:
    """Queue signals to a child that blocks them; the kernel counts them by user, on the whole machine."""
    library = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        code = 0
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
            for _ in range(_MOST_SIGNALS):
                if library.sigqueue(os.getpid(), int(signal.SIGRTMIN), ctypes.c_void_p(0)):
                    code = ctypes.get_errno()
                    break
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise OSError(code, os.strerror(code))


def _take_memory() -> None:
    """Take memory in one child after the other, until the kernel's way to say no to it: it kills one.

    One alone would meet the bound of its own address space, which says nothing of the container's.
    """
    children = []
    try:
        for _ in range(_MOST_HOARDS):
            told, tell = os.pipe()
            child = os.fork()
            if child == 0:
                _hoard(tell)
            children.append(child)
            os.close(tell)
            full = os.read(told, 1)
            os.close(told)
            if not full:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def _hoard(tell: int) -> None:
    """Take what one process may have, say so, and keep it; never returns."""
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else the kernel lets nobody choose who is killed first
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        kept = []
        with suppress(MemoryError, OSError):
            for _ in range(_MOST_BYTES // _HOARDED_BYTES):
                area = mmap.mmap(-1, _HOARDED_BYTES)
                kept.append(area)
                for page in range(0, _HOARDED_BYTES, mmap.PAGESIZE):
                    area[page] = 1
        os.write(tell, b"1")
        time.sleep(_SECONDS)
    finally:
        os._exit(0)


PROBES: dict[str, Callable[[], object]] = {
    "fill_scratch": lambda: _fill_bytes(SCRATCH),
    "fill_shared_memory": lambda: _fill_bytes(SHARED),
    "fill_names": lambda: _fill_names(SCRATCH),
    "fill_descriptors": _open_many,
    "fork_bomb": _fork_many,
    "queue_signals": _queue_signals,
    "memory_bomb": _take_memory,
}
"""Name to attempt."""
