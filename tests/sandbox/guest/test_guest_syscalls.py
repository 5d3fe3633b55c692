from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from sandbox.guest import bpf
from sandbox.guest.syscalls import AARCH64, AUDIT_ARCHITECTURE, EXEC, NUMBERS, REFUSED, X32_BIT, X86_64

HEADERS = {
    X86_64: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    AARCH64: Path("/usr/include/asm-generic/unistd.h"),
}
LINE = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)")


@pytest.mark.parametrize("machine", HEADERS)
def test_every_number_is_the_kernel_headers_number(machine: str) -> None:
    """A header older than a call says nothing of it; a call that it gives another number is an error."""
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} comes with linux-libc-dev")
    known = {name: int(number) for name, number in LINE.findall(HEADERS[machine].read_text())}

    ours = NUMBERS[machine]

    assert {name: known[name] for name in ours if name in known} == {
        n: v for n, v in ours.items() if n in known
    }
    assert set(ours) - set(known) <= {"open_tree_attr"}


def test_no_number_stands_for_two_calls() -> None:
    for numbers in NUMBERS.values():
        assert len(set(numbers.values())) == len(numbers)


def verdict(
    machine: str, instructions: list[bpf.Instruction], number: int, *arguments: int, arch: int = 0
) -> int:
    """Run the program as the kernel would (Documentation/networking/filter.rst)."""
    data = {0: number, 4: arch or AUDIT_ARCHITECTURE[machine]}
    for index, argument in enumerate(arguments):
        data[16 + 8 * index] = argument & 0xFFFFFFFF
        data[20 + 8 * index] = argument >> 32
    at, accumulator = 0, 0
    while True:
        code, when_true, when_false, value = instructions[at]
        at += 1
        match code:
            case 0x20:
                accumulator = data.get(value, 0)
            case 0x06:
                return value
            case 0x15:
                at += when_true if accumulator == value else when_false
            case 0x35:
                at += when_true if accumulator >= value else when_false
            case 0x45:
                at += when_true if accumulator & value else when_false
            case 0x54:
                accumulator &= value
            case _:
                raise AssertionError(code)


def error(code: int) -> int:
    return bpf.ERRNO | code


@pytest.mark.parametrize("machine", NUMBERS)
@pytest.mark.parametrize("holds_exec", [True, False])
@pytest.mark.parametrize("loopback", [True, False])
def test_every_call_gets_the_verdict_that_its_list_says(
    *, machine: str, holds_exec: bool, loopback: bool
) -> None:
    """All names of the table, under all four filters; what is in no list is allowed."""
    instructions = bpf.program(machine, holds_exec=holds_exec, loopback=loopback)
    refused = {*REFUSED, *(() if holds_exec else EXEC)}

    for name, number in NUMBERS[machine].items():
        if name in ("socket", "socketpair"):
            expected = error(errno.EAFNOSUPPORT)
        elif name in refused:
            expected = error(errno.EPERM)
        else:
            expected = error(errno.ENOSYS) if name == "clone3" else bpf.ALLOW
        assert verdict(machine, instructions, number) == expected, name


@pytest.mark.parametrize("machine", NUMBERS)
@pytest.mark.parametrize("loopback", [True, False])
def test_only_unix_sockets_and_with_loopback_inet_are_made(*, machine: str, loopback: bool) -> None:
    instructions = bpf.program(machine, holds_exec=True, loopback=loopback)
    numbers = NUMBERS[machine]

    made = {n for n in range(64) if verdict(machine, instructions, numbers["socket"], n, 1) == bpf.ALLOW}
    paired = {n for n in range(64) if verdict(machine, instructions, numbers["socketpair"], n) == bpf.ALLOW}

    assert made == ({1, 2, 10} if loopback else {1})
    assert paired == {1}


@pytest.mark.parametrize("machine", NUMBERS)
@pytest.mark.parametrize("family", [2, 10])
def test_of_the_internets_protocols_only_tcp_and_udp_are_made(machine: str, family: int) -> None:
    """No ping, no SCTP, no MPTCP, nothing raw: whatever flags stand beside the type (SOCK_CLOEXEC)."""
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    number = NUMBERS[machine]["socket"]

    made = {
        (kind, protocol)
        for kind in range(16)
        for protocol in range(300)
        if verdict(machine, instructions, number, family, kind | 0o2004000, protocol) == bpf.ALLOW
    }

    assert made == {(1, 0), (1, 6), (2, 0), (2, 17)}
    assert verdict(machine, instructions, number, family, 1, 262) == error(errno.EPROTONOSUPPORT)
    assert verdict(machine, instructions, number, 1, 5, 0) == bpf.ALLOW  # unix, of any type


@pytest.mark.parametrize("machine", NUMBERS)
def test_a_family_hidden_behind_high_bits_is_what_the_kernel_takes_it_for(machine: str) -> None:
    """The kernel reads an int: 2**32 + AF_VSOCK is AF_VSOCK, 2**32 + AF_UNIX is AF_UNIX."""
    instructions = bpf.program(machine, holds_exec=True, loopback=False)
    number = NUMBERS[machine]["socket"]

    assert verdict(machine, instructions, number, (1 << 32) + 40) == error(errno.EAFNOSUPPORT)
    assert verdict(machine, instructions, number, (1 << 32) + 1) == bpf.ALLOW


@pytest.mark.parametrize("machine", NUMBERS)
def test_each_new_namespace_is_refused_and_a_fork_is_not(machine: str) -> None:
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    number = NUMBERS[machine]["clone"]
    namespaces = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]

    for flag in namespaces:
        assert verdict(machine, instructions, number, flag | 17) == error(errno.EPERM)
    assert verdict(machine, instructions, number, 0x01200000 | 17) == bpf.ALLOW  # fork
    assert verdict(machine, instructions, number, 0x003D0F00) == bpf.ALLOW  # pthread_create


@pytest.mark.parametrize("machine", NUMBERS)
def test_putting_bytes_into_a_terminal_is_refused_and_asking_its_size_is_not(machine: str) -> None:
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    number = NUMBERS[machine]["ioctl"]

    for request in (bpf.TIOCSTI, bpf.TIOCLINUX, bpf.TIOCSETD, (1 << 32) + bpf.TIOCSTI):
        assert verdict(machine, instructions, number, 0, request) == error(errno.EPERM)
    assert verdict(machine, instructions, number, 0, 0x5413) == bpf.ALLOW  # TIOCGWINSZ


@pytest.mark.parametrize("machine", NUMBERS)
def test_of_btrfs_requests_only_those_of_every_filesystem_are_allowed(machine: str) -> None:
    """A user may make subvolumes and snapshots (BTRFS_IOC_SUBVOL_CREATE, _SNAP_CREATE_V2); `cp` clones."""
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    number = NUMBERS[machine]["ioctl"]

    for request in (0x5000940E, 0x50009417, 0x5000940F, 0xD0009411, (1 << 32) + 0x5000940E):
        assert verdict(machine, instructions, number, 0, request) == error(errno.EPERM)
    for request in (bpf.FICLONE, bpf.FICLONERANGE, bpf.FIDEDUPERANGE, 0x5413, 0x80086601, 0x541B):
        assert verdict(machine, instructions, number, 0, request) == bpf.ALLOW


@pytest.mark.parametrize("machine", NUMBERS)
def test_pid_1_is_made_the_owner_of_no_descriptor(machine: str) -> None:
    """An owner gets a signal of one's choice (fcntl(2), F_SETSIG); a process may own its own."""
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    fcntl, ioctl = NUMBERS[machine]["fcntl"], NUMBERS[machine]["ioctl"]

    for owner in (1, (1 << 32) + 1, (1 << 64) - 1, (1 << 32) - 1):
        assert verdict(machine, instructions, fcntl, 3, bpf.F_SETOWN, owner) == error(errno.EPERM)
    for request in (bpf.FIOSETOWN, bpf.SIOCSPGRP):
        assert verdict(machine, instructions, ioctl, 3, request, 4711) == error(errno.EPERM)
    assert verdict(machine, instructions, fcntl, 3, bpf.F_SETOWN_EX, 4711) == error(errno.EPERM)
    assert verdict(machine, instructions, fcntl, 3, bpf.F_SETOWN, 4711) == bpf.ALLOW
    for command in (*range(8), *range(9, 15), 1030):
        assert verdict(machine, instructions, fcntl, 3, command, 1) == bpf.ALLOW


@pytest.mark.parametrize("machine", NUMBERS)
@pytest.mark.parametrize(("name", "user"), [("setpriority", 2), ("ioprio_set", 3)])
def test_a_priority_is_neither_pid_1s_nor_that_of_a_whole_user(machine: str, name: str, user: int) -> None:
    """It goes by uid alone, by process and by group; the kernel reads two ints. One's own may be lowered."""
    instructions = bpf.program(machine, holds_exec=True, loopback=True)
    number, high = NUMBERS[machine][name], 1 << 32

    for kind in range(4):
        for who in (1, high + 1):
            assert verdict(machine, instructions, number, kind, who, 19) == error(errno.EPERM)
    for kind in (user, high + user):
        assert verdict(machine, instructions, number, kind, 0, 19) == error(errno.EPERM)
        assert verdict(machine, instructions, number, kind, 65532, 19) == error(errno.EPERM)
    for who in (0, 2, 4711):
        assert verdict(machine, instructions, number, user - 1, who, 19) == bpf.ALLOW
        assert verdict(machine, instructions, number, user - 2, who, 19) == bpf.ALLOW


def test_another_abi_kills_the_process() -> None:
    for machine in NUMBERS:
        instructions = bpf.program(machine, holds_exec=True, loopback=True)
        i386, arm = 0x40000003, 0x40000028

        assert verdict(machine, instructions, 1, arch=i386) == bpf.KILL_PROCESS
        assert verdict(machine, instructions, 1, arch=arm) == bpf.KILL_PROCESS
    instructions = bpf.program(X86_64, holds_exec=True, loopback=True)
    assert verdict(X86_64, instructions, X32_BIT + 59) == bpf.KILL_PROCESS


def test_the_program_fits_into_the_kernels_limits() -> None:
    """BPF_MAXINSNS is 4096; a jump is at most 255."""
    for machine in NUMBERS:
        instructions = bpf.program(machine, holds_exec=False, loopback=True)

        assert len(instructions) < 4096
        assert len(bpf.assemble(instructions)) == 8 * len(instructions)


@pytest.mark.parametrize("machine", NUMBERS)
def test_the_limit_of_core_files_is_read_and_never_set(machine: str) -> None:
    """Told that it was done, which for the usual wish (none) it is; a pointer counts with both its words."""
    instructions = bpf.program(machine, holds_exec=True, loopback=False)
    older, newer = NUMBERS[machine]["setrlimit"], NUMBERS[machine]["prlimit64"]
    core, open_files, place = 4, 7, 0x7F00_0000_1000

    done = bpf.ERRNO | 0

    assert verdict(machine, instructions, older, core, place) == done
    assert verdict(machine, instructions, older, open_files, place) == bpf.ALLOW
    for pointer in (place, 1, 1 << 32):
        assert verdict(machine, instructions, newer, 0, core, pointer) == done
        assert verdict(machine, instructions, newer, 0, (1 << 32) + core, pointer) == done
    assert verdict(machine, instructions, newer, 0, core, 0) == bpf.ALLOW
    assert verdict(machine, instructions, newer, 0, open_files, place) == bpf.ALLOW
    assert verdict(machine, instructions, newer, 7, core, 0) == error(errno.EPERM)
