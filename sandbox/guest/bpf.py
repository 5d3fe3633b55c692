"""Write the seccomp filter as a classic BPF program: pure, grant in, instructions out.

The data that a filter reads is `struct seccomp_data` (linux/seccomp.h): nr at 0, arch at 4, args[i] at 16 + 8
* i, low word first (both architectures are little-endian). Only low words are compared, where the kernel
itself reads an int or an unsigned int: a socket's family, an ioctl's request, clone's flags (kernel/fork.c,
lower_32_bits).
"""

from __future__ import annotations

import errno
from struct import Struct

from .syscalls import (
    AUDIT_ARCHITECTURE,
    EXEC,
    NUMBERS,
    OWN_ONLY,
    PRIORITIES,
    REFUSED,
    SIGNALS,
    X32_BIT,
    X86_64,
)

# linux/seccomp.h
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000
ALLOW = 0x7FFF0000

# linux/bpf_common.h: BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_{JEQ,JGE,JSET} | BPF_K,
# BPF_ALU | BPF_AND | BPF_K, BPF_RET | BPF_K
_LOAD = 0x20
_EQUAL = 0x15
_AT_LEAST = 0x35
_ANY_BIT = 0x45
_AND = 0x54
_RETURN = 0x06
_NUMBER_AT = 0
_ARCHITECTURE_AT = 4
_INSTRUCTION = Struct("=HBBI")

# linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME (0x80) lies in the
# byte of the exit signal and exists for unshare and clone3 only, which are refused whole.
NEW_NAMESPACES = 0x7E020000
# asm-generic/ioctls.h
TIOCSTI = 0x5412
TIOCLINUX = 0x541C
TIOCSETD = 0x5423
# linux/fs.h; all of one type (asm-generic/ioctl.h), which btrfs has its own requests of
FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
FIDEDUPERANGE = 0xC0189436
_REQUEST_TYPE = 0xFF00
_BTRFS_TYPE = 0x9400
# asm-generic/sockets.h, asm-generic/fcntl.h
FIOSETOWN = 0x8901
SIOCSPGRP = 0x8902
F_SETOWN = 8
F_SETOWN_EX = 15
# asm-generic/resource.h
RLIMIT_CORE = 4
_MINUS_ONE = 0xFFFFFFFF
_NOTHING_DONE = 0  # the caller is told that it succeeded
AF_UNIX = 1
AF_INET = 2
AF_INET6 = 10
SOCK_STREAM = 1
SOCK_DGRAM = 2
IPPROTO_TCP = 6
IPPROTO_UDP = 17
_SOCKET_KIND = 0xF  # linux/net.h, SOCK_TYPE_MASK

Instruction = tuple[int, int, int, int]


def program(machine: str, *, holds_exec: bool, loopback: bool) -> list[Instruction]:
    """Return the filter for one grant.

    Args:
        machine: one of `syscalls.NUMBERS`.
        holds_exec: whether the grant holds `exec`; without it no process of the container ever runs a
            program.
        loopback: whether AF_INET and AF_INET6 sockets may be made.
    """
    numbers = NUMBERS[machine]
    refused = REFUSED if holds_exec else (*EXEC, *REFUSED)
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, AUDIT_ARCHITECTURE[machine]),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        *(_when(_AT_LEAST, X32_BIT, KILL_PROCESS) if machine == X86_64 else ()),
        *(
            step
            for name in refused
            if name in numbers
            for step in _when(_EQUAL, numbers[name], _error(errno.EPERM))
        ),
        # The C library then uses clone, whose flags a filter can see; clone3 has them behind a pointer.
        *_when(_EQUAL, numbers["clone3"], _error(errno.ENOSYS)),
        *_by_argument(numbers["clone"], 0, _when(_ANY_BIT, NEW_NAMESPACES, _error(errno.EPERM)), ALLOW),
        *_socket(numbers["socket"], loopback=loopback),
        *_by_argument(numbers["socketpair"], 0, _allowed((AF_UNIX,)), _error(errno.EAFNOSUPPORT)),
        *_by_argument(numbers["ioctl"], 1, _requests(), ALLOW),
        *_by_argument(numbers["fcntl"], 1, _owners(), ALLOW),
        *(step for name in OWN_ONLY for step in _by_argument(numbers[name], 0, _own_limits(), ALLOW)),
        *_by_argument(numbers["setrlimit"], 0, _when(_EQUAL, RLIMIT_CORE, _error(_NOTHING_DONE)), ALLOW),
        *(step for name, user in PRIORITIES.items() for step in _priority(numbers[name], user)),
        *(step for name in SIGNALS for step in _by_argument(numbers[name], 0, _all_or_pid_1(), ALLOW)),
        (_RETURN, 0, 0, ALLOW),
    ]


def assemble(instructions: list[Instruction]) -> bytes:
    """Return the program as the kernel's array of `struct sock_filter`."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def _error(code: int) -> int:
    return ERRNO | code


def _when(test: int, value: int, verdict: int) -> tuple[Instruction, ...]:
    return ((test, 0, 1, value), (_RETURN, 0, 0, verdict))


def _allowed(values: tuple[int, ...]) -> tuple[Instruction, ...]:
    return tuple(step for value in values for step in _when(_EQUAL, value, ALLOW))


def _socket(number: int, *, loopback: bool) -> tuple[Instruction, ...]:
    """Return the block for socket(family, type, protocol): unix, and with a proxy TCP and UDP."""
    tests = _when(_EQUAL, AF_UNIX, ALLOW)
    if loopback:
        internet = (
            (_LOAD, 0, 0, 16 + 8 * 1),
            (_AND, 0, 0, _SOCKET_KIND),
            *_of_kind(SOCK_STREAM, (0, IPPROTO_TCP)),
            *_of_kind(SOCK_DGRAM, (0, IPPROTO_UDP)),
            (_RETURN, 0, 0, _error(errno.EPROTONOSUPPORT)),
        )
        # Into the block when it is one of the two families, past it when it is neither.
        tests = (*tests, (_EQUAL, 1, 0, AF_INET), (_EQUAL, 0, len(internet), AF_INET6), *internet)
    return _by_argument(number, 0, tests, _error(errno.EAFNOSUPPORT))


def _of_kind(kind: int, protocols: tuple[int, ...]) -> tuple[Instruction, ...]:
    """Return the verdict on one type of socket; other types jump over it."""
    body = (
        (_LOAD, 0, 0, 16 + 8 * 2),
        *_allowed(protocols),
        (_RETURN, 0, 0, _error(errno.EPROTONOSUPPORT)),
    )
    return ((_EQUAL, 0, len(body), kind), *body)


def _requests() -> tuple[Instruction, ...]:
    """Return the tests of ioctl's requests: bytes into a terminal, and owners of descriptors, by pointer.

    A line discipline as well: whoever has a terminal, a new one of its own included, has the kernel load the
    module of modems and radios that it names (drivers/tty/tty_ldisc.c), which have been ways to root
    (CVE-2017-2636, CVE-2023-6546). And what btrfs lets every user ask for: subvolumes and snapshots, which no
    quota of a folder counts; copies that share their blocks are every filesystem's and stay.
    """
    requests = (TIOCSTI, TIOCLINUX, TIOCSETD, FIOSETOWN, SIOCSPGRP)
    return (
        *(step for request in requests for step in _when(_EQUAL, request, _error(errno.EPERM))),
        *_allowed((FICLONE, FICLONERANGE, FIDEDUPERANGE)),
        (_AND, 0, 0, _REQUEST_TYPE),
        *_when(_EQUAL, _BTRFS_TYPE, _error(errno.EPERM)),
    )


def _own_limits() -> tuple[Instruction, ...]:
    """Return the tests of prlimit64's process, resource and new value.

    The limit of core files is one byte, with which the kernel starts no program that collects cores either
    (fs/coredump.c; core(5) says of 0 that it does not count there). It must not become 0: who asks for that
    (ssh-agent, gpg) wants no core, has none, and gives up when told that it failed.
    """
    pretended = (_RETURN, 0, 0, _error(_NOTHING_DONE))
    return (
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _error(errno.EPERM)),
        (_LOAD, 0, 0, 16 + 8 * 1),
        (_EQUAL, 1, 0, RLIMIT_CORE),
        (_RETURN, 0, 0, ALLOW),
        (_LOAD, 0, 0, 16 + 8 * 2),  # a pointer: both of its words are nothing, or a value is set
        (_EQUAL, 1, 0, 0),
        pretended,
        (_LOAD, 0, 0, 20 + 8 * 2),
        (_EQUAL, 1, 0, 0),
        pretended,
    )


def _owners() -> tuple[Instruction, ...]:
    """Return the tests of fcntl's commands: whoever owns a descriptor is signalled when it is ready.

    The signal is one's choice (F_SETSIG). Linux keeps deadly ones from PID 1; gVisor of 2022 does not.
    """
    named = ((_LOAD, 0, 0, 16 + 8 * 2), *_all_or_pid_1(), (_RETURN, 0, 0, ALLOW))
    by_pointer = _when(_EQUAL, F_SETOWN_EX, _error(errno.EPERM))
    return (*by_pointer, (_EQUAL, 0, len(named), F_SETOWN), *named)


def _all_or_pid_1() -> tuple[Instruction, ...]:
    refusal = _error(errno.EPERM)
    return (*_when(_EQUAL, 1, refusal), *_when(_EQUAL, _MINUS_ONE, refusal))


def _priority(number: int, user: int) -> tuple[Instruction, ...]:
    """Return the block for a priority of (which, who): neither PID 1's nor that of a whole user."""
    refusal = _error(errno.EPERM)
    tests = (*_when(_EQUAL, user, refusal), (_LOAD, 0, 0, 16 + 8 * 1), *_when(_EQUAL, 1, refusal))
    return _by_argument(number, 0, tests, ALLOW)


def _by_argument(
    number: int, argument: int, tests: tuple[Instruction, ...], otherwise: int
) -> tuple[Instruction, ...]:
    """Return a block that other calls jump over. It ends in a verdict: the number is never needed again."""
    body = ((_LOAD, 0, 0, 16 + 8 * argument), *tests, (_RETURN, 0, 0, otherwise))
    return ((_EQUAL, 0, len(body), number), *body)
