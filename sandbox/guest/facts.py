"""Collect what the guest is: the evidence that its HELLO carries. It judges nothing, as `attest` does."""

from __future__ import annotations

import fcntl
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object, Value

SELF_TEST = (
    "execve", "memfd_create", "socket_unix", "socket_inet", "socket_netlink", "socket_vsock",
    "clone_newuser", "clone3", "unshare", "ptrace", "io_uring_setup", "write_root", "write_runtime",
    "signal_guest", "subreaper", "open_link",
)  # fmt: skip
_STATUS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")
_MOUNTS_SHOWN = 256


def gather(environment: list[str], inherited: list[int]) -> Object:
    """Return every fact, in JSON's forms.

    Args:
        environment: the names that the process was started with; a process that is not dumpable cannot
            read them back.
        inherited: the descriptors that it was started with.
    """
    return {
        "pid": os.getpid(),
        "uids": list(os.getresuid()),
        "gids": list(os.getresgid()),
        "groups": list(os.getgroups()),
        "threads": threads(),
        "mounts": mounts(),
        "interfaces": interfaces(),
        "environment": [*sorted(environment)],
        "descriptors": [*inherited],
        "python": ".".join(str(part) for part in sys.version_info[:3]),
    }


def threads() -> list[Value]:
    """Return the status lines that matter, of every thread; a line that the kernel lacks is null."""
    found: list[Value] = []
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 (pathlib would cost the start)
        lines = dict(line.split(":", 1) for line in _lines(f"/proc/self/task/{thread}/status") if ":" in line)
        found.append({name: lines[name].strip() if name in lines else None for name in _STATUS})
    return found


def mounts() -> list[Value]:
    """Return target, type and options of each mount (proc(5), mountinfo)."""
    found: list[Value] = []
    for line in _lines("/proc/self/mountinfo")[:_MOUNTS_SHOWN]:
        left, _, right = line.partition(" - ")
        place, kind = left.split(" "), right.split(" ")
        found.append(
            {
                "target": place[4],
                "options": place[5],
                "kind": kind[0],
                "superblock": kind[2],
                "root": place[3],
            }
        )
    return found


def interfaces() -> list[Value]:
    """Return the names of the network interfaces of this network namespace."""
    return [line.split(":")[0].strip() for line in _lines("/proc/net/dev")[2:]]


def descriptors() -> list[int]:
    """Return the numbers of the descriptors that are open and survive execve."""
    found: list[int] = []
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):  # noqa: PTH208 (as above)
        try:
            flags = fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:  # that of the listing
            continue
        if not flags & fcntl.FD_CLOEXEC:
            found.append(number)
    return found


def _lines(path: str) -> list[str]:
    """Read a file of /proc; what cannot be read is empty, which fails the attestation, not the guest."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as above)
            return file.read().splitlines()
    except OSError:
        return []
