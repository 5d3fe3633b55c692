"""Probe what root could: other ids, capabilities, devices, priorities; and signals to PID 1."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# linux/ioprio.h
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_IDLE = 3 << 13

SCRATCH = "/tmp"  # noqa: S108 (the container's own)


def _device(kind: int, number: int) -> None:
    """Make a device's file and open it; gVisor makes it, and knows no such device."""
    path = f"{SCRATCH}/.pairlock-probe-device"
    os.mknod(path, kind | 0o600, number)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    finally:
        os.unlink(path)  # noqa: PTH108 (pathlib would cost the start)


def _setuid_file() -> None:
    """Make a program that would run as root, were it not for no-new-privileges, nosuid and our uid."""
    path = f"{SCRATCH}/.pairlock-probe-setuid"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    try:
        os.chown(path, 0, 0)
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 (as above)


def _file_capability() -> None:
    path = f"{SCRATCH}/.pairlock-probe-capability"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700))
    try:
        # struct vfs_cap_data, revision 2: CAP_SYS_ADMIN permitted (linux/capability.h)
        os.setxattr(path, "security.capability", bytes.fromhex("0000000200002000" + "00" * 12))
    finally:
        os.unlink(path)  # noqa: PTH108 (as above)


def _capability(name: str) -> None:
    with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        for line in file:
            if line.startswith(name) and set(line.split()[1]) != {"0"}:
                return
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _group_of_root() -> None:
    """Look for root's group among this process's own, which `--user N` alone leaves there."""
    if 0 not in {os.getgid(), os.getegid(), *os.getgroups()}:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _raise_limit(kind: int) -> None:
    """Ask for one more than the hard limit."""
    _, hard = resource.getrlimit(kind)
    try:
        resource.setrlimit(kind, (hard + 1, hard + 1))
    except ValueError as error:  # Python's word for EPERM here
        raise OSError(errno.EPERM, str(error)) from error
    if resource.getrlimit(kind)[1] == hard:  # told so, and not done
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _wish_no_core() -> None:
    """Ask for a limit of 0 bytes, with which the kernel starts the machine's collector of cores (core(5))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if resource.getrlimit(resource.RLIMIT_CORE)[1]:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _survive_others() -> None:
    """Ask the out-of-memory killer to take this process last."""
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(descriptor, b"-1000")
    finally:
        os.close(descriptor)


def _owned_by(process: int) -> None:
    """Make a process the owner of a pipe, which can be told to signal it."""
    reads, writes = os.pipe()
    try:
        fcntl.fcntl(reads, fcntl.F_SETOWN, process)
    finally:
        os.close(reads)
        os.close(writes)


def _signal(number: int) -> None:
    """Signal PID 1; that it lives on is seen from outside."""
    os.kill(1, number)


PROBES: dict[str, Callable[[], object]] = {
    "become_root": lambda: os.setuid(0),
    "become_group_root": lambda: os.setgid(0),
    "be_in_group_root": _group_of_root,
    "take_groups": lambda: os.setgroups([0]),
    "hold_capabilities": lambda: _capability("CapEff"),
    "keep_capabilities": lambda: _capability("CapBnd"),
    "make_setuid_root": _setuid_file,
    "make_file_capability": _file_capability,
    "make_block_device": lambda: _device(0o060000, os.makedev(254, 0)),
    "make_character_device": lambda: _device(0o020000, os.makedev(1, 1)),
    "run_in_real_time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "raise_priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
    "raise_open_files": lambda: _raise_limit(resource.RLIMIT_NOFILE),
    "dump_core": lambda: _raise_limit(resource.RLIMIT_CORE),
    "collect_core": _wish_no_core,
    "survive_others": _survive_others,
    "hang_up_guest": lambda: _signal(signal.SIGHUP),
    "stop_guest": lambda: _signal(signal.SIGSTOP),
    "kill_everything": lambda: os.kill(-1, 0),
    "slow_guest": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    "slow_everything": lambda: os.setpriority(os.PRIO_USER, 0, 19),
    "slow_disk_of_guest": lambda: linux.call("ioprio_set", _IOPRIO_WHO_PROCESS, 1, _IOPRIO_CLASS_IDLE),
    "own_by_guest": lambda: _owned_by(1),
    "hold_guest_by_descriptor": lambda: os.close(os.pidfd_open(1)),
}
"""Name to attempt."""
