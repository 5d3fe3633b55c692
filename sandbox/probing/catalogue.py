"""List the probes that run in the guest's forked child, and which layer gives which answer. Data."""

from __future__ import annotations

from typing import Final

from sandbox.guest.battery_sockets import FAMILIES
from sandbox.guest.syscalls import AARCH64, NUMBERS, REFUSED, X86_64
from sandbox.probing.probe import Opens, Probe

FILTER: Final = "seccomp filters"
FAMILY: Final = "seccomp: families"
READ_ONLY: Final = "read-only mount"
NOT_ROOT: Final = "not root"
ABSENT: Final = "it is not there"
MASKED: Final = "masked or read-only"
NOT_DUMPABLE: Final = "not dumpable"
NO_ROUTE: Final = "no interface, no route"
PROTOCOL: Final = "seccomp: protocols"
NAMESPACE: Final = "network namespace"
SIZE: Final = "size of the tmpfs"
NO_EXEC: Final = "noexec mount"
DROPPED: Final = "all are dropped"

_LIES_OPEN: Final = (
    "gVisor lets the session's programs open what is PID 1's; the link is sealed there: who writes into it "
    "or takes from it ends the session, and nothing of another session or of the host is there"
)
_NO_MEANING: Final = (
    "gVisor maps code from noexec mounts; without `exec` no program of the agent's ever runs to use it"
)
_ITS_OWN_PRIORITY: Final = "a priority in gVisor's kernel moves nothing on the host"
_ITS_OWN_DEVICES: Final = "it is a device of gVisor's own kernel, and makes nothing without a capability"
_ITS_OWN_COMMAND_LINE: Final = "it is a line that gVisor makes up"
_ITS_OWN_KERNELS: Final = "gVisor keeps them in its own kernel's memory, which the container's limit bounds"


def _calls() -> tuple[Probe, ...]:
    stops = {"EPERM": FILTER}
    on_x86 = (_machine_has(X86_64, name) and not _machine_has(AARCH64, name) for name in REFUSED)
    calls = tuple(
        Probe(name=name, tried=f"call {name}", stops=stops, only_x86=only_x86)
        for name, only_x86 in zip(REFUSED, on_x86, strict=True)
    )
    return (
        *calls,
        *(
            Probe(name=f"unshare_{what}", tried=f"unshare {what}", stops=stops)
            for what in ("mounts", "network", "processes", "time")
        ),
        Probe(name="clone_newuser", tried="clone into a new user namespace", stops=stops),
        Probe(name="clone3", tried="call clone3 (flags out of sight)", stops={"ENOSYS": FILTER}),
        Probe(name="terminal_input", tried="type into a terminal (TIOCSTI)", stops=stops),
        Probe(
            name="call_x32",
            tried="call by the x32 ABI's numbers",
            stops={"ENOEXEC": "seccomp kills it"},
            only_x86=True,
        ),
        Probe(
            name="call_i386",
            tried="call by the i386 ABI (int 0x80)",
            stops={"ENOEXEC": "seccomp kills it", "ENOSYS": "gVisor has no such ABI"},
            only_x86=True,
        ),
    )


def _machine_has(machine: str, name: str) -> bool:
    """Say whether a machine has a system call of this name."""
    return name in NUMBERS[machine]


def _sockets() -> tuple[Probe, ...]:
    closed = sorted({*FAMILIES, "netlink", "packet", "vsock"})
    stops = {"EAFNOSUPPORT": FAMILY, "EPERM": FILTER}
    inet = {**stops, "EPROTONOSUPPORT": PROTOCOL}
    away = {**stops, "ENETUNREACH": NO_ROUTE, "EHOSTUNREACH": NO_ROUTE, "EADDRNOTAVAIL": NO_ROUTE}
    alone = {**stops, "ECONNREFUSED": NAMESPACE}
    return (
        *(Probe(name=f"socket_{name}", tried=f"open a socket of {name}", stops=stops) for name in closed),
        Probe(name="socket_unix", tried="open a unix socket", opens=Opens.ALWAYS, stops=stops),
        Probe(name="socketpair_unix", tried="open a pair of them", opens=Opens.ALWAYS, stops=stops),
        Probe(name="socketpair_tipc", tried="open a pair of tipc", stops=stops),
        Probe(name="socket_inet", tried="open an IPv4 socket", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="socket_inet6", tried="open an IPv6 socket", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="socket_raw", tried="open a raw socket", stops=inet),
        Probe(name="socket_ping", tried="open a socket to ping with", stops=inet),
        Probe(name="reach_loopback", tried="speak over loopback", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="connect", tried="connect to the internet", stops=away),
        Probe(name="reach_metadata", tried="ask 169.254.169.254 for credentials", stops=away),
        Probe(name="reach_metadata_ipv6", tried="ask fd00:ec2::254 for credentials", stops=away),
        Probe(name="reach_resolver", tried="send a question to a resolver", stops=away),
        Probe(name="reach_bridge", tried="reach the host by 172.17.0.1", stops=away),
        Probe(name="reach_engine_port", tried="reach an engine on 127.0.0.1", stops=alone),
        Probe(name="resolve_name", tried="resolve a name", stops={"EHOSTUNREACH": "no resolver, no route"}),
        Probe(name="reach_abstract_bus", tried="reach systemd's abstract socket", stops=alone),
        Probe(name="reach_abstract_display", tried="reach a display's abstract socket", stops=alone),
        Probe(name="reach_abstract_containerd", tried="reach containerd's abstract socket", stops=alone),
        Probe(name="abstract_of_our_own", tried="reach one of the session's own", opens=Opens.ALWAYS),
        Probe(name="see_interface", tried="find an interface beside lo", stops={"ENODEV": NAMESPACE}),
    )


def _execution() -> tuple[Probe, ...]:
    stops = {"EPERM": FILTER, "EACCES": NO_EXEC}
    nothing = {**stops, "ENOENT": "empty image"}
    mapped = {"EPERM": NO_EXEC, "EACCES": NO_EXEC}
    return (
        Probe(name="execve", tried="execute a program", opens=Opens.EXEC, stops=stops),
        Probe(name="execveat", tried="execute by execveat", opens=Opens.EXEC, stops=stops),
        Probe(name="memfd_create", tried="make a file without a name", opens=Opens.EXEC, stops=stops),
        Probe(name="execute_shell", tried="execute /bin/sh", opens=Opens.EXEC, stops=nothing),
        Probe(name="execute_loader", tried="execute the loader", opens=Opens.EXEC, stops=stops),
        Probe(name="execute_from_memory", tried="execute a nameless file", opens=Opens.EXEC, stops=stops),
        Probe(name="execute_from_scratch", tried="execute what was written", opens=Opens.EXEC, stops=stops),
        *(
            Probe(
                name=f"{verb}_scratch_{word}_code",
                tried=f"{verb} a file of the scratch {word} code",
                opens=Opens.EXEC,
                stops=mapped,
                own_kernel=_NO_MEANING,
            )
            for verb, word in (("map", "as"), ("turn", "into"))
        ),
        *(
            Probe(
                name=f"{verb}_shared_memory_{word}_code",
                tried=f"{verb} a file of /dev/shm {word} code",
                stops=mapped,
                own_kernel=_NO_MEANING,
            )
            for verb, word in (("map", "as"), ("turn", "into"))
        ),
    )


def _files() -> tuple[Probe, ...]:
    sealed = {"EROFS": READ_ONLY, "EACCES": NOT_ROOT, "ENOENT": ABSENT}
    absent = {"ENOENT": ABSENT, "EACCES": NOT_ROOT}
    masked = {"ENOENT": ABSENT, "EACCES": MASKED, "EROFS": MASKED, "EPERM": MASKED, "ENODATA": MASKED}
    return (
        *(
            Probe(name=name, tried=f"create a file in {place}", stops=sealed)
            for name, place in (
                ("write_root", "/"), ("write_runtime", "/rt"), ("create_in_etc", "/etc"),
                ("create_in_dev", "/dev"), ("create_in_sys", "/sys"), ("create_in_queues", "/dev/mqueue"),
            )
        ),
        *(
            Probe(name=name, tried=f"write {place}", stops=masked)
            for name, place in (
                ("write_proc_sys", "/proc/sys/kernel/hostname"), ("write_sysrq", "/proc/sysrq-trigger"),
                ("write_core_pattern", "the pattern of core files"), ("write_modprobe", "the modprobe path"),
                ("write_panic", "/proc/sys/vm/panic_on_oom"), ("write_formats", "binfmt_misc's register"),
                ("write_memory_types", "/proc/mtrr"), ("write_interrupts", "the interrupts' affinity"),
                ("write_power", "/sys/power/state"), ("write_uevent_helper", "the uevent helper"),
                ("write_release_agent", "the release agent"),
                ("write_release_agent_of_v1", "the release agent of rdma"),
                ("write_cgroup_procs", "a cgroup's list"), ("write_cgroup_limit", "a cgroup's limit"),
                ("write_cgroup_procs_of_v2", "the cgroup's list (v2)"),
                ("write_cgroup_limit_of_v2", "the cgroup's limit (v2)"),
                ("write_device_rules", "the device rules"), ("write_hostname_file", "/etc/hostname"),
                ("write_hosts_file", "/etc/hosts"), ("write_resolver_file", "/etc/resolv.conf"),
            )
        ),
        *(
            Probe(name=name, tried=f"read {place}", stops=masked)
            for name, place in (
                ("read_kcore", "/proc/kcore"), ("read_symbols", "/proc/kallsyms"),
                ("read_keys", "/proc/keys"), ("read_timers", "/proc/timer_list"),
                ("read_modules", "/proc/modules"), ("read_partitions", "the machine's partitions"),
                ("read_firmware", "/sys/firmware"), ("read_serial_numbers", "the serial numbers (DMI)"),
                ("read_power_meter", "the power meter"), ("read_kernel_memory", "/dev/mem"),
                ("read_kernel_log", "/dev/kmsg"), ("read_disk", "the machine's disk"),
                ("read_kernel_debug", "/sys/kernel/debug"), ("read_kernel_trace", "/sys/kernel/tracing"),
            )
        ),
        *(
            Probe(name=name, tried=f"open {place}", stops=masked, own_kernel=_ITS_OWN_DEVICES)
            for name, place in (
                ("open_file_systems", "/dev/fuse"), ("open_tunnels", "/dev/net/tun"),
                ("open_machines", "/dev/kvm"),
            )
        ),
        Probe(
            name="read_command_line",
            tried="read the kernel's command line",
            stops=masked,
            own_kernel=_ITS_OWN_COMMAND_LINE,
        ),
        *(
            Probe(name=name, tried=f"find {place}", stops=absent)
            for name, place in (
                ("find_engine_socket", "/var/run/docker.sock"),
                ("find_engine_socket_in_run", "/run/docker.sock"),
                ("find_containerd_socket", "containerd's socket"), ("find_podman_socket", "podman's socket"),
                ("find_user_runtime", "/run/user"), ("find_session_bus", "D-Bus"),
                ("find_display", "a display's socket"), ("find_home", "a home folder"),
                ("find_service_account", "a Kubernetes token"), ("find_engine_secrets", "/run/secrets"),
                ("find_resolver", "the address of a resolver"), ("find_hosts", "addresses in /etc/hosts"),
                ("see_home_path", "a home's path among the mounts"),
                ("see_host_folder", "a working folder outside"),
            )
        ),
        Probe(name="see_host_descriptor", tried="find a file of the host's open", stops={"EBADF": ABSENT}),
        Probe(
            name="see_host_process",
            tried="find a process of the host's",
            stops={"ESRCH": "process namespace of its own"},
        ),
        Probe(name="create_in_scratch", tried="create a file in the scratch", opens=Opens.ALWAYS),
        Probe(
            name="create_in_workspace", tried="create a file in /workspace", opens=Opens.FILES, stops=sealed
        ),
    )  # fmt: skip


def _guest() -> tuple[Probe, ...]:
    own = {"EACCES": NOT_DUMPABLE, "EPERM": FILTER, "ENOENT": ABSENT, "EINVAL": "gVisor opens no such file"}
    signalled = {"EPERM": FILTER}
    return (
        *(
            Probe(name=name, tried=f"{verb} PID 1's {what}", stops=own, own_kernel=known)
            for name, verb, what, known in (
                ("read_guest_memory", "read", "memory", ""), ("write_guest_memory", "write", "memory", ""),
                ("write_guest_oom", "change", "out-of-memory score", ""),
                ("read_guest_environment", "read", "environment", _LIES_OPEN),
                ("read_guest_maps", "read", "map of memory", _LIES_OPEN),
                ("read_guest_descriptors", "open", "descriptors", _LIES_OPEN),
                ("read_guest_namespace", "open", "network namespace", ""),
                ("read_shadow", "read /etc/shadow through", "root", ""),
            )
        ),
        Probe(name="signal_guest", tried="signal PID 1", stops=signalled),
        Probe(name="hang_up_guest", tried="send PID 1 a SIGHUP", stops=signalled),
        Probe(name="stop_guest", tried="send PID 1 a SIGSTOP", stops=signalled),
        Probe(name="kill_everything", tried="signal every process at once", stops=signalled),
        Probe(name="slow_guest", tried="lower PID 1's priority", stops=signalled),
        Probe(name="slow_everything", tried="lower its user's priority", stops=signalled),
        Probe(name="slow_disk_of_guest", tried="lower PID 1's priority on disks", stops=signalled),
        Probe(name="own_by_guest", tried="have a pipe signal PID 1", stops=signalled),
        Probe(name="hold_guest_by_descriptor", tried="open PID 1 by pidfd_open", stops=signalled),
    )  # fmt: skip


def _privileges() -> tuple[Probe, ...]:
    stops = {"EPERM": "no capabilities, not root"}
    device = {**stops, "ENXIO": "gVisor has no such device", "EACCES": "nodev mount", "ENODEV": "nodev mount"}
    file = {**stops, "ENOTSUP": "gVisor has no such attribute"}
    higher = {**stops, "EACCES": "no capabilities"}
    return (
        Probe(name="become_root", tried="setuid(0)", stops=stops),
        Probe(name="become_group_root", tried="setgid(0)", stops=stops),
        Probe(name="be_in_group_root", tried="be in root's group", stops={"EPERM": "gid of its own"}),
        Probe(name="take_groups", tried="setgroups([0])", stops=stops),
        Probe(name="hold_capabilities", tried="hold a capability", stops={"EPERM": DROPPED}),
        Probe(name="keep_capabilities", tried="keep one in the bounding set", stops={"EPERM": DROPPED}),
        Probe(name="make_setuid_root", tried="make a program of root's", stops=stops),
        Probe(name="make_file_capability", tried="give a program a capability", stops=file),
        Probe(name="make_block_device", tried="make the disk's device, open it", stops=device),
        Probe(name="make_character_device", tried="make the memory's device, open it", stops=device),
        Probe(
            name="run_in_real_time",
            tried="run in real time",
            stops={**stops, "EINVAL": "gVisor has no such policy"},
        ),
        Probe(name="raise_priority", tried="raise its priority", stops=higher, own_kernel=_ITS_OWN_PRIORITY),
        Probe(name="raise_open_files", tried="raise the limit of open files", stops=stops),
        Probe(name="dump_core", tried="allow core files", stops={"EPERM": "limit of core files"}),
        Probe(
            name="collect_core", tried="have the machine collect a crash's memory", stops={"EPERM": FILTER}
        ),
        Probe(name="survive_others", tried="be the last one that memory kills", stops=higher),
    )


def _bombs() -> tuple[Probe, ...]:
    memory = {"ENOMEM": "memory limit"}
    return (
        Probe(name="fill_scratch", tried="fill the scratch", stops={"ENOSPC": SIZE}, alone=True),
        Probe(name="fill_shared_memory", tried="fill /dev/shm", stops={"ENOSPC": SIZE}, alone=True),
        Probe(
            name="fill_names",
            tried="make files without end",
            stops={"ENOSPC": "number of files of the memory file system"},
            own_kernel=_ITS_OWN_KERNELS,
            alone=True,
        ),
        Probe(
            name="fill_descriptors", tried="open files without end", stops={"EMFILE": "limit of open files"}
        ),
        Probe(
            name="queue_signals",
            tried="queue signals without end",
            stops={"EAGAIN": "limit of queued signals"},
            own_kernel=_ITS_OWN_KERNELS,
        ),
        Probe(name="fork_bomb", tried="fork without end", stops={"EAGAIN": "process limit"}, alone=True),
        Probe(name="memory_bomb", tried="take memory without end", stops=memory, alone=True),
    )


IN_GUEST: Final = (
    *_calls(), *_sockets(), *_execution(), *_files(), *_guest(), *_privileges(), *_bombs(),
)  # fmt: skip
"""Every probe of the guest's child."""
