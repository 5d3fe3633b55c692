"""Probe what can be read, written, made and found in the file tree."""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SCRATCH = "/tmp"  # noqa: S108 (the container's own)
_OUR_DESCRIPTORS = ("pipe:", "socket:", "anon_inode:", "/memfd:probe", "/dev/null", SCRATCH, "/workspace")
_READS = {
    "read_kcore": "/proc/kcore",
    "read_symbols": "/proc/kallsyms",
    "read_keys": "/proc/keys",
    "read_timers": "/proc/timer_list",
    "read_modules": "/proc/modules",
    "read_partitions": "/proc/partitions",
    "read_command_line": "/proc/cmdline",
    "read_firmware": "/sys/firmware",
    "read_serial_numbers": "/sys/class/dmi/id",
    "read_power_meter": "/sys/devices/virtual/powercap",
    "read_kernel_memory": "/dev/mem",
    "read_kernel_log": "/dev/kmsg",
    "read_disk": "/dev/vda",
    "read_kernel_debug": "/sys/kernel/debug",
    "read_kernel_trace": "/sys/kernel/tracing",
    "read_shadow": "/proc/1/root/etc/shadow",
    "read_guest_maps": "/proc/1/maps",
    "read_guest_descriptors": "/proc/1/fd/64",
    "read_guest_namespace": "/proc/1/ns/net",
    "find_engine_socket": "/var/run/docker.sock",
    "find_engine_socket_in_run": "/run/docker.sock",
    "find_containerd_socket": "/run/containerd/containerd.sock",
    "find_podman_socket": "/run/podman/podman.sock",
    "find_user_runtime": "/run/user",
    "find_session_bus": "/run/dbus/system_bus_socket",
    "find_display": "/tmp/.X11-unix",  # noqa: S108 (the container's own)
    "find_service_account": "/run/secrets/kubernetes.io/serviceaccount/token",
    "find_engine_secrets": "/run/secrets",
}
_WRITES = {
    "write_sysrq": "/proc/sysrq-trigger",
    "write_core_pattern": "/proc/sys/kernel/core_pattern",
    "write_modprobe": "/proc/sys/kernel/modprobe",
    "write_panic": "/proc/sys/vm/panic_on_oom",
    "write_formats": "/proc/sys/fs/binfmt_misc/register",
    "write_memory_types": "/proc/mtrr",
    "write_interrupts": "/proc/irq/default_smp_affinity",
    "write_power": "/sys/power/state",
    "write_uevent_helper": "/sys/kernel/uevent_helper",
    "write_release_agent": "/sys/fs/cgroup/release_agent",
    "write_release_agent_of_v1": "/sys/fs/cgroup/rdma/release_agent",
    "write_cgroup_procs": "/sys/fs/cgroup/memory/cgroup.procs",
    "write_cgroup_limit": "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "write_cgroup_procs_of_v2": "/sys/fs/cgroup/cgroup.procs",
    "write_cgroup_limit_of_v2": "/sys/fs/cgroup/memory.max",
    "write_device_rules": "/sys/fs/cgroup/devices/devices.allow",
    "open_file_systems": "/dev/fuse",
    "open_tunnels": "/dev/net/tun",
    "open_machines": "/dev/kvm",
    "write_guest_memory": "/proc/1/mem",
    "write_guest_oom": "/proc/1/oom_score_adj",
    "write_hostname_file": "/etc/hostname",
    "write_hosts_file": "/etc/hosts",
    "write_resolver_file": "/etc/resolv.conf",
}
_CREATES = {
    "create_in_etc": "/etc/.pairlock-probe",
    "create_in_dev": "/dev/.pairlock-probe",
    "create_in_sys": "/sys/.pairlock-probe",
    "create_in_queues": "/dev/mqueue/.pairlock-probe",
    "create_in_scratch": f"{SCRATCH}/.pairlock-probe",
    "create_in_workspace": "/workspace/.pairlock-probe",
}


def _fail(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _read(path: str) -> None:
    """Read one byte or list one name: a masked path opens, and there is nothing in it."""
    if S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 (pathlib would cost the start)
        found = len(os.listdir(path))  # noqa: PTH208 (as above)
    else:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = len(os.read(descriptor, 1))
        except BlockingIOError:
            found = 1  # a pipe that is open and empty
        finally:
            os.close(descriptor)
    if not found:
        raise _fail(errno.ENODATA)


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.unlink(path)  # noqa: PTH108 (as above)


def _hosts_of_processes() -> None:
    """Look for a process that is not of this container: one that is no descendant of PID 1's namespace."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 (as above)
        if entry.isdigit() and os.getpgid(int(entry)) == 0 and entry != "1":
            return
    raise _fail(errno.ESRCH)


def _home() -> None:
    """Look for somebody's home folder."""
    if not os.listdir("/home"):  # noqa: PTH208 (as above)
        raise _fail(errno.ENOENT)


def _resolver() -> None:
    """Look for the address of a server of names."""
    with open("/etc/resolv.conf", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        if not any(line.startswith("nameserver") for line in file):
            raise _fail(errno.ENOENT)


def _hosts_of_the_host() -> None:
    """Look for an address that is not the container's own in /etc/hosts."""
    with open("/etc/hosts", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        addresses = {line.split()[0] for line in file if line.strip() and not line.startswith("#")}
    if all(address.startswith(("127.", "::1", "fe00::", "ff00::", "ff02::")) for address in addresses):
        raise _fail(errno.ENOENT)


def _path_of_host() -> None:
    """Look for a folder of somebody's home among the mounts."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        if "/home/" not in file.read():
            raise _fail(errno.ENOENT)


def _descriptor_of_host() -> None:
    """Look for a descriptor beyond the worker's own that leads to a file of the host."""
    for number in range(3, 1024):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 (as above)
        except OSError:
            continue
        if not target.startswith(_OUR_DESCRIPTORS):
            return
    raise _fail(errno.EBADF)


def _folder_of_host() -> None:
    """Look for a working folder that lies outside of the container's root (CVE-2024-21626)."""
    if os.readlink("/proc/self/cwd") == os.getcwd():  # noqa: PTH109, PTH115 (as above)
        raise _fail(errno.ENOENT)


def _bound(action: Callable[[str], None], path: str) -> Callable[[], None]:
    return lambda: action(path)


PROBES: dict[str, Callable[[], object]] = {
    **{name: _bound(_read, path) for name, path in _READS.items()},
    **{name: _bound(_write, path) for name, path in _WRITES.items()},
    **{name: _bound(_create, path) for name, path in _CREATES.items()},
    "find_home": _home,
    "find_resolver": _resolver,
    "find_hosts": _hosts_of_the_host,
    "see_home_path": _path_of_host,
    "see_host_descriptor": _descriptor_of_host,
    "see_host_folder": _folder_of_host,
    "see_host_process": _hosts_of_processes,
}
"""Name to attempt."""
