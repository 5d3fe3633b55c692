"""Hold the probes of `pairlock doctor --probe`: more than the self-test needs, loaded only when one is named.

Each either returns (it was allowed), or raises what the kernel answered. Those that ask the kernel for what
is refused have arguments that do no harm where it is not.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import mmap
import os
import resource
import signal
import time

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCRATCH = "/tmp"  # noqa: S108 (the container's own)
METADATA = ("169.254.169.254", 80)  # where clouds keep a machine's credentials
RESOLVER = ("192.0.2.53", 53)  # RFC 5737: routed nowhere
_MOST_BYTES = 1 << 30
_MOST_FILES = 1 << 18
_MOST_PROCESSES = 4096
_BLOCK = b"\0" * (1 << 20)
_OUR_DESCRIPTORS = ("pipe:", "socket:", "anon_inode:", "/memfd:probe", "/dev/null", SCRATCH, "/workspace")
_GETPID_OF_X32 = 0x40000027  # asm/unistd_x32.h
_GETPID_OF_I386 = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
_IPC_CREAT = 0o1000
_SECONDS = 20.0

# sys/socket.h: a family's name here is its number there
_FAMILIES = {
    "ax25": 3, "x25": 9, "key": 15, "rds": 21, "can": 29, "tipc": 30, "bluetooth": 31, "rxrpc": 33,
    "alg": 38, "nfc": 39, "kcm": 41, "qipcrtr": 42, "smc": 43, "xdp": 44, "mctp": 45,
}  # fmt: skip
_READS = {
    "read_kcore": "/proc/kcore",
    "read_kernel_memory": "/dev/mem",
    "read_kernel_log": "/dev/kmsg",
    "read_disk": "/dev/vda",
    "read_shadow": "/proc/1/root/etc/shadow",
    "read_guest_maps": "/proc/1/maps",
    "read_guest_descriptors": "/proc/1/fd/64",
    "read_kernel_debug": "/sys/kernel/debug/tracing",
    "find_engine_socket": "/var/run/docker.sock",
    "find_engine_socket_in_run": "/run/docker.sock",
    "find_containerd_socket": "/run/containerd/containerd.sock",
    "find_user_runtime": "/run/user",
    "find_session_bus": "/run/dbus/system_bus_socket",
    "find_display": "/tmp/.X11-unix",  # noqa: S108 (the container's own)
}
_WRITES = {
    "write_sysrq": "/proc/sysrq-trigger",
    "write_core_pattern": "/proc/sys/kernel/core_pattern",
    "write_modprobe": "/proc/sys/kernel/modprobe",
    "write_uevent_helper": "/sys/kernel/uevent_helper",
    "write_release_agent": "/sys/fs/cgroup/release_agent",
    "write_cgroup_procs": "/sys/fs/cgroup/memory/cgroup.procs",
    "write_device_rules": "/sys/fs/cgroup/devices/devices.allow",
    "write_guest_memory": "/proc/1/mem",
    "write_guest_oom": "/proc/1/oom_score_adj",
    "write_hostname_file": "/etc/hostname",
}
_CREATES = {
    "create_in_etc": "/etc/.pairlock-probe",
    "create_in_dev": "/dev/.pairlock-probe",
    "create_in_sys": "/sys/.pairlock-probe",
    "create_in_queues": "/dev/mqueue/.pairlock-probe",
    "create_in_scratch": f"{SCRATCH}/.pairlock-probe",
    "create_in_workspace": "/workspace/.pairlock-probe",
}
# Arguments for which a kernel without a filter would answer EFAULT, EINVAL, EBADF or ENOENT, and do nothing.
_CALLS: dict[str, tuple[int, ...]] = {
    "unshare_mounts": (0x00020000,),
    "unshare_network": (0x40000000,),
    "unshare_processes": (0x20000000,),
    "unshare_time": (0x00000080,),
    "umount2": (0, 0),
    "pivot_root": (0, 0),
    "chroot": (0,),
    "open_tree": (-1, 0, 0),
    "move_mount": (-1, 0, -1, 0, 0),
    "fsconfig": (-1, 0, 0, 0, 0),
    "fsmount": (-1, 0, 0),
    "fspick": (-1, 0, 0),
    "mount_setattr": (-1, 0, 0, 0, 0),
    "init_module": (0, 0, 0),
    "finit_module": (-1, 0, 0),
    "delete_module": (0, 0),
    "kexec_load": (0, 0, 0, -1),
    "kexec_file_load": (-1, -1, 0, 0, 0),
    "io_uring_enter": (-1, 0, 0, 0, 0, 0),
    "io_uring_register": (-1, 0, 0, 0),
    "add_key": (0, 0, 0, 0, 0),
    "request_key": (0, 0, 0, 0),
    "process_vm_readv": (1, 0, 0, 0, 0, 0),
    "process_vm_writev": (1, 0, 0, 0, 0, 0),
    "process_madvise": (-1, 0, 0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "kcmp": (1, 1, 0, 0, 0),
    "open_by_handle_at": (-1, 0, 0),
    "name_to_handle_at": (-1, 0, 0, 0, 0),
    "memfd_secret": (-1,),
    "personality": (0xFFFFFFFF,),
    "shmget": (0, 4096, _IPC_CREAT | 0o600),
    "semget": (0, 1, _IPC_CREAT | 0o600),
    "msgget": (0, _IPC_CREAT | 0o600),
    "mq_open": (0, 0, 0, 0),
    "quotactl": (0, 0, 0, 0),
    "swapon": (0, 0),
    "swapoff": (0,),
    "reboot": (0, 0, 0, 0),
    "acct": (-1,),
    "settimeofday": (-1, 0),
    "clock_settime": (0, -1),
    "clock_adjtime": (-1, 0),
    "syslog": (10, 0, 0),
    "vhangup": (),
    "fanotify_init": (-1, 0),
    "sethostname": (-1, 0),
    "setdomainname": (-1, 0),
}
_RENAMED = {"unshare_mounts": "unshare", "unshare_network": "unshare", "unshare_processes": "unshare",
            "unshare_time": "unshare"}  # fmt: skip


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))


def _write(path: str) -> None:
    _open(path, os.O_WRONLY)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.unlink(path)  # noqa: PTH108 (pathlib would cost the start)


def _call(name: str, arguments: tuple[int, ...]) -> None:
    linux.call(_RENAMED.get(name, name), *arguments)


def _socket_of(family: int, kind: int = _socket.SOCK_STREAM) -> None:
    _socket.socket(family, kind, 0).close()


def _reach(address: tuple[str, int], kind: int) -> None:
    """Send something to an address; EINPROGRESS would mean that there is a route."""
    wire = _socket.socket(_socket.AF_INET, kind, 0)
    wire.settimeout(1.0)
    wire.connect(address)
    wire.send(b"probe")


def _abstract(name: bytes) -> None:
    """Reach a socket of the host's that has no path: only a network namespace of its own keeps it away."""
    wire = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    wire.settimeout(1.0)
    wire.connect(b"\0" + name)


def _abstract_of_our_own() -> None:
    name = b"\0pairlock-probe-%d" % os.getpid()
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    listening.bind(name)
    listening.listen(1)
    _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0).connect(name)


def _loopback() -> None:
    """Speak to a listener of our own on the container's loopback."""
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1)
    wire = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    wire.settimeout(5.0)
    wire.connect(listening.getsockname())


def _device(kind: int, number: int) -> None:
    """Make a device's file and open it; gVisor makes it, and knows no such device."""
    path = f"{SCRATCH}/.pairlock-probe-device"
    os.mknod(path, kind | 0o600, number)
    try:
        _open(path, os.O_RDONLY)
    finally:
        os.unlink(path)  # noqa: PTH108 (as above)


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


def _own_code(path: str) -> None:
    """Map a file of our own as code, which noexec refuses, loaders' tricks included (`ld.so ./program`)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    try:
        os.ftruncate(descriptor, 4096)
        mmap.mmap(descriptor, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 (as above)


def _execute(path: str) -> None:
    """Ask for the execution of something in a child; what cannot be executed says so."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.execve(path, [path, "--version"], {})  # noqa: S606 (it is what is tried)
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


def _loader() -> None:
    folder = "/rt/lib"
    names = [name for name in os.listdir(folder) if name.startswith("ld-")]  # noqa: PTH208 (as above)
    _execute(f"{folder}/{names[0]}")


def _fill_bytes(folder: str) -> None:
    """Write until there is no more room."""
    path = f"{folder}/.pairlock-probe-bytes"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)  # noqa: PTH108 (as above)
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
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(_GETPID_OF_X32)))


def _call_i386() -> int:
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(_GETPID_OF_I386)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return int(function())


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


def _take_memory() -> None:
    """Take memory in a child until it is stopped; the kernel's way to say no to it is to kill it."""
    child = os.fork()
    if child == 0:
        _hoard()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == errno.ENOMEM:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _hoard() -> None:
    code = 0
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else the kernel lets nobody choose who is killed first
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        kept = [mmap.mmap(-1, _MOST_BYTES) for _ in range(4)]
        for area in kept:
            for page in range(0, _MOST_BYTES, mmap.PAGESIZE):
                area[page] = 1
    except (MemoryError, OSError) as error:
        code = error.errno or errno.ENOMEM if isinstance(error, OSError) else errno.ENOMEM
    finally:
        os._exit(code)


def _limit_of_cores() -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error


def _signal(number: int) -> None:
    """Signal PID 1; that it lives on is seen from outside."""
    os.kill(1, number)


def _hosts_of_processes() -> None:
    """Look for a process that is not of this container: one that is no descendant of PID 1's namespace."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 (as above)
        if entry.isdigit() and os.getpgid(int(entry)) == 0 and entry != "1":
            return
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def _home() -> None:
    """Look for somebody's home folder."""
    if not os.listdir("/home"):  # noqa: PTH208 (as above)
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _resolver() -> None:
    """Look for the address of a server of names."""
    with open("/etc/resolv.conf", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        if not any(line.startswith("nameserver") for line in file):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _capability(name: str) -> None:
    for line in _status():
        if line.startswith(name) and set(line.split()[1]) != {"0"}:
            return
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _status() -> list[str]:
    with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        return file.read().splitlines()


def _interface() -> None:
    """Look for an interface that is not the loopback."""
    with open("/proc/net/dev", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        names = {line.split(":")[0].strip() for line in file.read().splitlines()[2:]}
    if not names - {"lo"}:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def _path_of_host() -> None:
    """Look for a folder of somebody's home among the mounts."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        if "/home/" not in file.read():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _descriptor_of_host() -> None:
    """Look for a descriptor beyond the worker's own that leads to a file of the host."""
    for number in range(3, 1024):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 (as above)
        except OSError:
            continue
        if not target.startswith(_OUR_DESCRIPTORS):
            return
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


_SINGLE: dict[str, Callable[[], object]] = {
    "socket_raw": lambda: _socket_of(_socket.AF_INET, _socket.SOCK_RAW),
    "socketpair_unix": lambda: _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM),
    "reach_metadata": lambda: _reach(METADATA, _socket.SOCK_STREAM),
    "reach_resolver": lambda: _reach(RESOLVER, _socket.SOCK_DGRAM),
    "reach_loopback": _loopback,
    "reach_abstract_bus": lambda: _abstract(b"/org/freedesktop/systemd1/private"),
    "reach_abstract_display": lambda: _abstract(b"/tmp/.X11-unix/X0"),
    "reach_abstract_containerd": lambda: _abstract(b"/containerd-shim/moby"),
    "abstract_of_our_own": _abstract_of_our_own,
    "make_block_device": lambda: _device(0o060000, os.makedev(254, 0)),
    "make_character_device": lambda: _device(0o020000, os.makedev(1, 1)),
    "become_root": lambda: os.setuid(0),
    "become_group_root": lambda: os.setgid(0),
    "take_groups": lambda: os.setgroups([0]),
    "hold_capabilities": lambda: _capability("CapEff"),
    "keep_capabilities": lambda: _capability("CapBnd"),
    "make_setuid_root": _setuid_file,
    "make_file_capability": _file_capability,
    "map_scratch_as_code": lambda: _own_code(f"{SCRATCH}/.pairlock-probe-code"),
    "map_shared_memory_as_code": lambda: _own_code("/dev/shm/.pairlock-probe-code"),  # noqa: S108 (as above)
    "execute_loader": _loader,
    "execute_shell": lambda: _execute("/bin/sh"),
    **(
        {"call_x32": lambda: _other_abi(_call_x32), "call_i386": lambda: _other_abi(_call_i386)}
        if os.uname().machine == "x86_64"
        else {}
    ),
    "fill_scratch": lambda: _fill_bytes(SCRATCH),
    "fill_shared_memory": lambda: _fill_bytes("/dev/shm"),  # noqa: S108 (as above)
    "fill_names": lambda: _fill_names(SCRATCH),
    "fill_descriptors": _open_many,
    "fork_bomb": _fork_many,
    "memory_bomb": _take_memory,
    "find_home": _home,
    "find_resolver": _resolver,
    "dump_core": _limit_of_cores,
    "see_interface": _interface,
    "see_home_path": _path_of_host,
    "see_host_descriptor": _descriptor_of_host,
    "see_host_process": _hosts_of_processes,
    "hang_up_guest": lambda: _signal(signal.SIGHUP),
}


def _bound(action: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: action(*arguments)


PROBES: dict[str, Callable[[], object]] = {
    **{f"socket_{name}": _bound(_socket_of, family, 3) for name, family in _FAMILIES.items()},
    **{name: _bound(_open, path, os.O_RDONLY) for name, path in _READS.items()},
    **{name: _bound(_write, path) for name, path in _WRITES.items()},
    **{name: _bound(_create, path) for name, path in _CREATES.items()},
    **{name: _bound(_call, name, arguments) for name, arguments in _CALLS.items()},
    **_SINGLE,
}
"""Name to attempt."""
