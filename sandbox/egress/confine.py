"""Lock the egress process down: bounds, no programs, no other process, no local sockets, no core.

What it keeps is what it is for: TCP and name resolution. The filter is the guest's own, and on top of it a
refusal of sockets of the unix family, which would reach the engine, an agent of keys or another session, and
of processes: one of its own would outlive it and the session, with its network, and hold its pipes.
"""

from __future__ import annotations

import ctypes
import errno
import resource
import signal
from struct import pack
from typing import Final

from sandbox.egress.reading import bound_reading
from sandbox.guest.bpf import ALLOW, ERRNO, Instruction, assemble
from sandbox.guest.linux import PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prctl
from sandbox.guest.lockdown import LockdownError, lock_down
from sandbox.guest.syscalls import AARCH64, NUMBERS, X86_64, architecture
from sandbox.limits import GIB

# linux/bpf_common.h, as in sandbox.guest.bpf
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_ANY_BIT: Final = 0x45
_AND: Final = 0x54
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_FIRST_ARGUMENT_AT: Final = 16
_SECOND_ARGUMENT_AT: Final = 24
_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_TYPE_MASK: Final = 0xF  # include/linux/net.h
_PR_SET_PDEATHSIG: Final = 1
_CLONE_THREAD: Final = 0x10000  # linux/sched.h
_FORKS: Final = {X86_64: (57, 58), AARCH64: ()}  # fork and vfork, asm/unistd_64.h

MEMORY_BYTES: Final = 2 * GIB
"""Address space, of which a small part is ever touched."""
OPEN_FILES: Final = 4096


def confine() -> None:
    """Lock this process down for good.

    Raises:
        LockdownError: When the kernel refuses; then no message may be read.
    """
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _bound()
    lock_down(holds_exec=False, loopback=True)
    bound_reading()
    _filter(_no_local_sockets())
    _filter(_no_processes())


def confine_without_network() -> None:
    """Lock this process down for good, with no socket but those that it was given and pairs of them.

    Raises:
        LockdownError: When the kernel refuses; then no message may be read.
    """
    confine()
    refusal = (_RETURN, 0, 0, ERRNO | errno.EPERM)
    socket = NUMBERS[architecture()]["socket"]
    _filter([(_LOAD, 0, 0, _NUMBER_AT), (_EQUAL, 0, 1, socket), refusal, (_RETURN, 0, 0, ALLOW)])


def _bound() -> None:
    files = min(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    for bound, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        resource.setrlimit(bound, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _no_local_sockets() -> list[Instruction]:
    """Refuse socket(AF_UNIX), and socketpair but of streams: another kind could be connected elsewhere."""
    numbers = NUMBERS[architecture()]
    refusal = (_RETURN, 0, 0, ERRNO | errno.EPERM)
    return [
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUAL, 0, 3, numbers["socket"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 0, 6, _AF_UNIX),
        refusal,
        (_EQUAL, 0, 4, numbers["socketpair"]),
        (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_EQUAL, 1, 0, _SOCK_STREAM),
        refusal,
        (_RETURN, 0, 0, ALLOW),
    ]


def _no_processes() -> list[Instruction]:
    """Refuse processes, and leave threads; clone3, whose flags no filter sees, the guest's refuses whole."""
    machine = architecture()
    forks = _FORKS[machine]
    return [
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, len(forks) - at + 2, 0, number) for at, number in enumerate(forks)),
        (_EQUAL, 0, 3, NUMBERS[machine]["clone"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, ERRNO | errno.EPERM),
        (_RETURN, 0, 0, ALLOW),
    ]


def _filter(instructions: list[Instruction]) -> None:
    code = assemble(instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog (linux/filter.h): a u16 count, padding, a pointer.
    head = pack("=HxxxxxxQ", len(instructions), ctypes.addressof(kept))
    holder = ctypes.create_string_buffer(head, len(head))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(holder))


__all__ = ["LockdownError", "confine", "confine_without_network"]
