"""Probe the system calls that both filters refuse, and the ABIs that would go around a list of numbers."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

from . import linux
from .syscalls import NUMBERS, REFUSED, X32_BIT, X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IPC_CREAT = 0o1000
_GETPID_OF_I386 = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
# Arguments for which a kernel without a filter would answer EFAULT, EINVAL, EBADF or ENOENT, and do nothing;
# what is not named here gets -1 everywhere.
_ARGUMENTS: dict[str, tuple[int, ...]] = {
    "umount2": (0, 0),
    "pivot_root": (0, 0),
    "chroot": (0,),
    "init_module": (0, 0, 0),
    "delete_module": (0, 0),
    "kexec_load": (0, 0, 0, -1),
    "add_key": (0, 0, 0, 0, 0),
    "request_key": (0, 0, 0, 0),
    "process_vm_readv": (1, 0, 0, 0, 0, 0),
    "process_vm_writev": (1, 0, 0, 0, 0, 0),
    "kcmp": (1, 1, 0, 0, 0),
    "personality": (0xFFFFFFFF,),
    "shmget": (0, 4096, _IPC_CREAT | 0o600),
    "semget": (0, 1, _IPC_CREAT | 0o600),
    "msgget": (0, _IPC_CREAT | 0o600),
    "mq_open": (0, 0, 0, 0),
    "quotactl": (0, 0, 0, 0),
    "swapon": (0, 0),
    "swapoff": (0,),
    "reboot": (0, 0, 0, 0),
    "clock_settime": (0, -1),
    "syslog": (10, 0, 0),
    "vhangup": (),
    "io_setup": (0, 0),
}
_UNSHARED = {
    "unshare_mounts": 0x00020000,
    "unshare_network": 0x40000000,
    "unshare_processes": 0x20000000,
    "unshare_time": 0x00000080,
}
_WITHOUT_ARGUMENTS = (-1,) * 6


def _call(name: str, *arguments: int) -> None:
    linux.call(name, *arguments)


def _of_table(name: str) -> Callable[[], None]:
    return lambda: _call(name, *_ARGUMENTS.get(name, _WITHOUT_ARGUMENTS))


def _unshare(flag: int) -> Callable[[], None]:
    return lambda: _call("unshare", flag)


def _other_abi(get_process_id: Callable[[], int]) -> None:
    """Make a system call of another ABI in a child, whose filter should kill it."""
    child = os.fork()
    if child == 0:
        answered = False
        try:
            answered = get_process_id() == os.getpid()
        finally:
            os._exit(0 if answered else 1)
    _, status = os.waitpid(child, 0)
    if status != 0:
        code = errno.ENOEXEC if os.WIFSIGNALED(status) else errno.ENOSYS
        raise OSError(code, os.strerror(code))


def _call_x32() -> int:
    number = X32_BIT + NUMBERS[X86_64]["getpid"]
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number)))


def _call_i386() -> int:
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(_GETPID_OF_I386)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return int(function())


PROBES: dict[str, Callable[[], object]] = {
    **{name: _of_table(name) for name in REFUSED if name in NUMBERS.get(os.uname().machine, ())},
    **{name: _unshare(flag) for name, flag in _UNSHARED.items()},
    **(
        {"call_x32": lambda: _other_abi(_call_x32), "call_i386": lambda: _other_abi(_call_i386)}
        if os.uname().machine == X86_64
        else {}
    ),
}
"""Name to attempt."""
