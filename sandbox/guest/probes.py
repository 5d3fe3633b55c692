"""Try what the sandbox should refuse, for real, in a forked child, and tell what happened.

An answer is the errno's name (`EPERM`) or `allowed`; `silent` when the child died or hung before it could
tell. Each probe is made so that success does no harm.
"""

from __future__ import annotations

import _socket
import errno
import os
import select

from . import linux, signals
from .bpf import TIOCSTI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALLOWED = "allowed"
SILENT = "silent"
_WAIT_MILLISECONDS = 20_000
_AF_PACKET, _AF_NETLINK, _AF_VSOCK = 17, 16, 40
_CLONE_NEWUSER = 0x10000000
_LINK = "/proc/1/fd/64"  # where `main` moves it
_TEST_NET = ("192.0.2.1", 9)  # RFC 5737: routed nowhere


class Trial:
    """A child that tries probes, while this process does something else."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._told, tell = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _report(self._names, tell)
        os.close(tell)

    def answers(self) -> dict[str, str]:
        """Wait, and return what happened to each probe; an unknown name is answered `unknown`."""
        try:
            answers = _read_answers(self._told)
        finally:
            os.close(self._told)
            os.kill(self._child, signals.KILL)
            os.waitpid(self._child, 0)
        return {name: answers.get(name, SILENT) for name in self._names}


def run(names: Iterable[str]) -> dict[str, str]:
    """Return what happened to each probe that was named.

    One child tries them all, in order: PID 1 itself must neither be replaced nor hang.
    """
    return Trial(names).answers()


def attempt(name: str) -> str:
    """Run one probe in this process."""
    probe = PROBES.get(name) or _of_battery(name)
    if probe is None:
        return "unknown"
    try:
        probe()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "unknown")
    return ALLOWED


def _of_battery(name: str) -> Callable[[], object] | None:
    """Return a probe that only `pairlock doctor --probe` asks for."""
    from . import battery  # noqa: PLC0415 (it would cost every start)

    return battery.PROBES.get(name)


def _read_answers(told: int) -> dict[str, str]:
    poller = select.poll()
    poller.register(told, select.POLLIN)
    text = b""
    while poller.poll(_WAIT_MILLISECONDS):
        piece = os.read(told, 4096)
        if not piece:
            break
        text += piece
    return dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)


def _report(names: list[str], tell: int) -> None:
    """Run in the child: never returns."""
    try:
        for name in names:
            os.write(tell, f"{name}={attempt(name)}\n".encode())
    finally:
        os._exit(0)


def _execve() -> None:
    """Start a program that prints a version and ends; by vfork: a copy of this process would take longer.

    It is waited for. Killing it instead, while it is being loaded, made a gVisor of 2022 panic.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
    os.waitpid(os.posix_spawn("/proc/self/exe", ["probe", "--version"], {}, file_actions=quiet), 0)


def _execveat() -> None:
    """Tell a refusal from a program that ran: an execveat that works closes the pipe without a word."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        _exec_and_report(tell)
    os.close(tell)
    answer = os.read(told, 64).decode()
    os.close(told)
    os.waitpid(child, 0)
    if answer:
        raise OSError(int(answer), os.strerror(int(answer)))


def _exec_and_report(tell: int) -> None:
    try:
        quiet = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        linux.call("execveat", -100, b"/proc/self/exe", 0, 0, 0)
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(0)


def _socket_of(family: int, kind: int = 1) -> None:
    _socket.socket(family, kind, 0).close()


def _connect() -> None:
    """Send one SYN to an address that is routed nowhere; `EINPROGRESS` means that a route exists."""
    wire = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    wire.setblocking(False)  # noqa: FBT003 (C, positional)
    wire.connect(_TEST_NET)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(path)  # noqa: PTH108 (pathlib would cost the start)


def _clone_new_user() -> None:
    if linux.call("clone", _CLONE_NEWUSER | signals.CHILD, 0, 0, 0, 0) == 0:
        os._exit(0)


def _terminal_input() -> None:
    linux.call("ioctl", 0, TIOCSTI, b"\n")


PROBES: dict[str, Callable[[], object]] = {
    "execve": _execve,
    "execveat": _execveat,
    "memfd_create": lambda: linux.call("memfd_create", b"probe", 0),
    "socket_unix": lambda: _socket_of(_socket.AF_UNIX),
    "socket_inet": lambda: _socket_of(_socket.AF_INET),
    "socket_inet6": lambda: _socket_of(_socket.AF_INET6),
    "socket_netlink": lambda: _socket_of(_AF_NETLINK, 3),
    "socket_packet": lambda: _socket_of(_AF_PACKET, 3),
    "socket_vsock": lambda: _socket_of(_AF_VSOCK),
    "connect": _connect,
    "clone_newuser": _clone_new_user,
    "clone3": lambda: linux.call("clone3", 0, 0),
    "unshare": lambda: linux.call("unshare", _CLONE_NEWUSER),
    "setns": lambda: linux.call("setns", -1, 0),
    "mount": lambda: linux.call("mount", b"probe", b"/nowhere", b"tmpfs", 0, 0),
    "fsopen": lambda: linux.call("fsopen", b"tmpfs", 0),
    "ptrace": lambda: linux.call("ptrace", 0, 0, 0, 0),
    "io_uring_setup": lambda: linux.call("io_uring_setup", 0, 0),
    "bpf": lambda: linux.call("bpf", -1, 0, 0),
    "keyctl": lambda: linux.call("keyctl", 0, -3, 0),
    "perf_event_open": lambda: linux.call("perf_event_open", 0, 0, -1, -1, 0),
    "userfaultfd": lambda: linux.call("userfaultfd", 0),
    "terminal_input": _terminal_input,
    "signal_guest": lambda: os.kill(1, 0),
    "subreaper": lambda: linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1),
    "write_root": lambda: _create("/.pairlock-probe"),
    "write_runtime": lambda: _create("/rt/.pairlock-probe"),
    "write_proc_sys": lambda: os.close(os.open("/proc/sys/kernel/hostname", os.O_WRONLY)),
    "read_guest_memory": lambda: os.close(os.open("/proc/1/mem", os.O_RDONLY)),
    "read_guest_environment": lambda: os.close(os.open("/proc/1/environ", os.O_RDONLY)),
    "open_link": lambda: os.close(os.open(_LINK, os.O_RDONLY | os.O_NONBLOCK)),
}
"""Name to attempt. Refusals by the filter come before the kernel looks at the (harmless) arguments."""
