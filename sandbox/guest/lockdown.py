"""Lock the guest down, before the first frame is read, and see that it holds.

The filter repeats what the engine's profile refuses, for runtimes that ignore the profile, and adds execve,
which the runtime itself still needed. It covers one thread only, so there must be exactly one.
"""

from __future__ import annotations

import _ctypes
import os
import resource
from struct import pack

from . import bpf, linux
from .syscalls import architecture

_ALWAYS = {
    "clone_newuser": "EPERM",
    "clone3": "ENOSYS",
    "unshare": "EPERM",
    "ptrace": "EPERM",
    "signal_guest": "EPERM",
    "io_uring_setup": "EPERM",
    "socket_netlink": "EAFNOSUPPORT",
    "socket_vsock": "EAFNOSUPPORT",
}


class LockdownError(Exception):
    """Raised when the guest is not locked down as it must be; it exits before it has read a frame."""


def lock_down(*, holds_exec: bool, loopback: bool) -> None:
    """Lock this process and all its future children down, for good.

    Args:
        holds_exec: whether the grant holds `exec`.
        loopback: whether AF_INET and AF_INET6 sockets may be made.

    Raises:
        LockdownError: when there is another thread, or the kernel refuses.
    """
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        _dump_no_core()
        require_one_thread()
        _install(bpf.assemble(bpf.program(architecture(), holds_exec=holds_exec, loopback=loopback)))
    except OSError as error:
        raise LockdownError(f"the kernel refused the lock-down: {error.strerror}") from error


def _dump_no_core() -> None:
    """Leave no core behind, neither as a file nor with a program of the machine's that collects them.

    The machine's own `core_pattern` may name such a program, which the kernel starts outside of every
    container, as root, whatever the limit is, but for one byte (fs/coredump.c, coredump_pipe).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def require_one_thread() -> None:
    """Refuse to go on with a second thread: prctl sets a filter for one thread only (attack B118).

    Raises:
        LockdownError: when there is one.
    """
    threads = os.listdir("/proc/self/task")  # noqa: PTH208 (pathlib would cost the start)
    if len(threads) != 1:
        raise LockdownError(f"`{len(threads)}` threads at lock-down; expected 1")


def require_refusals(tries: dict[str, str], *, holds_exec: bool, loopback: bool) -> None:
    """Refuse to go on when something that the filter must refuse went through when it was tried.

    Args:
        tries: probe to what happened, as `probes.run` tells it.
        holds_exec: whether the grant holds `exec`.
        loopback: whether AF_INET sockets may be made.

    Raises:
        LockdownError: naming the first.
    """
    expected = dict(_ALWAYS)
    if not holds_exec:
        expected.update({"execve": "EPERM", "memfd_create": "EPERM"})
    if not loopback:
        expected["socket_inet"] = "EAFNOSUPPORT"
    for name, answer in expected.items():
        if tries.get(name) != answer:
            raise LockdownError(f"`{name}` was answered `{tries.get(name)}`; expected `{answer}`")


def _install(instructions: bytes) -> None:
    kept = _buffer(instructions)
    # struct sock_fprog (linux/filter.h): a u16 count, padding, a pointer.
    head = _buffer(pack("=HxxxxxxQ", len(instructions) // 8, _ctypes.addressof(kept)))
    linux.prctl(linux.PR_SET_SECCOMP, linux.SECCOMP_MODE_FILTER, _ctypes.addressof(head))


def _buffer(content: bytes) -> _ctypes.Array[linux.Character]:
    """Return memory of C's that holds the bytes, for as long as the value is kept."""
    return (linux.Character * len(content)).from_buffer_copy(content)
