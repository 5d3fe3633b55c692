"""List the probes that run in the guest's forked child, and which layer gives which answer. Data."""

from __future__ import annotations

from typing import Final

from sandbox.probing.probe import Opens, Probe

FILTER: Final = "seccomp filters"
FAMILIES: Final = "seccomp filters: socket families"
READ_ONLY: Final = "read-only mount"
NOT_ROOT: Final = "not root"
ABSENT: Final = "not in the container"
MASKED: Final = "masked or read-only path"
NOT_DUMPABLE: Final = "the guest is not dumpable"
NO_ROUTE: Final = "no interface, no route"
NAMESPACE: Final = "network namespace of its own"
SIZE: Final = "size of the memory file system"
NO_EXEC: Final = "noexec mount"

_LIES_OPEN: Final = (
    "gVisor shows what is PID 1's to the session's programs, who could speak for the guest; the host trusts "
    "neither, and nothing of another session or of the host is there"
)
_NO_MEANING: Final = (
    "gVisor maps code from noexec mounts; without `exec` no program of the agent's ever runs to use it"
)


def _calls() -> tuple[Probe, ...]:
    names = """
        add_key acct bpf chroot clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig
        fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup kcmp
        kexec_file_load kexec_load keyctl memfd_secret mount mount_setattr move_mount mq_open msgget
        name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root
        process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot request_key semget
        setdomainname sethostname setns settimeofday shmget swapoff swapon syslog umount2 unshare
        unshare_mounts unshare_network unshare_processes unshare_time userfaultfd vhangup
    """
    stops = {"EPERM": FILTER}
    calls = tuple(Probe(name=name, tried=f"call {name}", stops=stops) for name in names.split())
    return (
        *calls,
        Probe(name="clone_newuser", tried="make a user namespace with clone", stops=stops),
        Probe(name="clone3", tried="call clone3, whose flags no filter sees", stops={"ENOSYS": FILTER}),
        Probe(name="terminal_input", tried="type into a terminal (TIOCSTI)", stops=stops),
        Probe(name="call_x32", tried="call by the x32 ABI's numbers", stops={"ENOEXEC": "seccomp kills it"}),
        Probe(
            name="call_i386",
            tried="call by the i386 ABI",
            stops={"ENOEXEC": "seccomp kills it", "ENOSYS": "gVisor has no such ABI"},
        ),
    )


def _sockets() -> tuple[Probe, ...]:
    closed = (
        "alg", "ax25", "bluetooth", "can", "kcm", "key", "mctp", "netlink", "nfc", "packet", "qipcrtr", "rds",
        "rxrpc", "smc", "tipc", "vsock", "x25", "xdp",
    )  # fmt: skip
    stops = {"EAFNOSUPPORT": FAMILIES, "EPERM": FILTER}
    inet = {**stops, "EPROTONOSUPPORT": "no capabilities"}
    away = {**stops, "ENETUNREACH": NO_ROUTE, "EHOSTUNREACH": NO_ROUTE}
    alone = {**stops, "ECONNREFUSED": NAMESPACE}
    return (
        *(Probe(name=f"socket_{name}", tried=f"open a socket of {name}", stops=stops) for name in closed),
        Probe(name="socket_unix", tried="open a unix socket", opens=Opens.ALWAYS, stops=stops),
        Probe(name="socketpair_unix", tried="open a pair of them", opens=Opens.ALWAYS, stops=stops),
        Probe(name="socket_inet", tried="open an IPv4 socket", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="socket_inet6", tried="open an IPv6 socket", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="socket_raw", tried="open a raw socket", stops=inet),
        Probe(name="reach_loopback", tried="speak over loopback", opens=Opens.LOOPBACK, stops=stops),
        Probe(name="connect", tried="connect to an address of the internet", stops=away),
        Probe(name="reach_metadata", tried="ask 169.254.169.254 for credentials", stops=away),
        Probe(name="reach_resolver", tried="send a question to a resolver", stops=away),
        Probe(name="reach_abstract_bus", tried="reach systemd's abstract socket", stops=alone),
        Probe(name="reach_abstract_display", tried="reach a display's abstract socket", stops=alone),
        Probe(name="reach_abstract_containerd", tried="reach containerd's abstract socket", stops=alone),
        Probe(name="abstract_of_our_own", tried="reach one of the session's own", opens=Opens.ALWAYS),
        Probe(name="see_interface", tried="find an interface beside lo", stops={"ENODEV": NAMESPACE}),
    )


def _execution() -> tuple[Probe, ...]:
    stops = {"EPERM": FILTER, "EACCES": NO_EXEC}
    nothing = {**stops, "ENOENT": "empty image"}
    return (
        Probe(name="execve", tried="execute a program", opens=Opens.EXEC, stops=stops),
        Probe(name="execveat", tried="execute by execveat", opens=Opens.EXEC, stops=stops),
        Probe(name="memfd_create", tried="make a file without a name", opens=Opens.EXEC, stops=stops),
        Probe(name="execute_shell", tried="execute /bin/sh", opens=Opens.EXEC, stops=nothing),
        Probe(name="execute_loader", tried="execute the loader", opens=Opens.EXEC, stops=stops),
        Probe(
            name="map_scratch_as_code",
            tried="map a file of the scratch as code",
            opens=Opens.EXEC,
            stops={"EPERM": NO_EXEC},
            own_kernel=_NO_MEANING,
        ),
        Probe(
            name="map_shared_memory_as_code",
            tried="map a file of /dev/shm as code",
            stops={"EPERM": NO_EXEC},
            own_kernel=_NO_MEANING,
        ),
    )


def _files() -> tuple[Probe, ...]:
    sealed = {"EROFS": READ_ONLY, "EACCES": NOT_ROOT, "ENOENT": ABSENT}
    absent = {"ENOENT": ABSENT, "EACCES": NOT_ROOT}
    masked = {"ENOENT": ABSENT, "EACCES": MASKED, "EROFS": MASKED, "EPERM": MASKED}
    own = {"EACCES": NOT_DUMPABLE, "EPERM": FILTER, "ENOENT": ABSENT}
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
                ("write_uevent_helper", "the uevent helper"), ("write_release_agent", "the release agent"),
                ("write_cgroup_procs", "a cgroup's list"), ("write_device_rules", "the device rules"),
                ("write_hostname_file", "/etc/hostname"),
            )
        ),
        *(
            Probe(name=name, tried=f"open {place}", stops=masked)
            for name, place in (
                ("read_kcore", "/proc/kcore"), ("read_kernel_memory", "/dev/mem"),
                ("read_kernel_log", "/dev/kmsg"), ("read_disk", "the machine's disk"),
                ("read_kernel_debug", "/sys/kernel/debug"),
            )
        ),
        *(
            Probe(name=name, tried=f"find {place}", stops=absent)
            for name, place in (
                ("find_engine_socket", "/var/run/docker.sock"),
                ("find_engine_socket_in_run", "/run/docker.sock"),
                ("find_containerd_socket", "containerd's socket"), ("find_user_runtime", "/run/user"),
                ("find_session_bus", "D-Bus"), ("find_display", "a display's socket"),
                ("find_home", "a home folder"), ("find_resolver", "the address of a resolver"),
                ("see_home_path", "a home's path among the mounts"),
            )
        ),
        Probe(name="see_host_descriptor", tried="find a file of the host's open", stops={"EBADF": ABSENT}),
        Probe(
            name="see_host_process",
            tried="find a process of the host's",
            stops={"ESRCH": "process namespace of its own"},
        ),
        *(
            Probe(name=name, tried=f"{verb} PID 1's {what}", stops=own, own_kernel=known)
            for name, verb, what, known in (
                ("read_guest_memory", "read", "memory", ""), ("write_guest_memory", "write", "memory", ""),
                ("write_guest_oom", "change", "standing with the out-of-memory killer", ""),
                ("read_guest_environment", "read", "environment", _LIES_OPEN),
                ("read_guest_maps", "read", "map of memory", _LIES_OPEN),
                ("read_guest_descriptors", "open", "descriptors", _LIES_OPEN),
                ("read_shadow", "read /etc/shadow through", "root", ""),
            )
        ),
        Probe(name="create_in_scratch", tried="create a file in the scratch", opens=Opens.ALWAYS),
        Probe(
            name="create_in_workspace", tried="create a file in /workspace", opens=Opens.FILES, stops=sealed
        ),
    )  # fmt: skip


def _privileges() -> tuple[Probe, ...]:
    stops = {"EPERM": "no capabilities, not root"}
    device = {**stops, "ENXIO": "gVisor has no such device", "EACCES": "nodev mount", "ENODEV": "nodev mount"}
    file = {**stops, "ENOTSUP": "gVisor has no such attribute"}
    return (
        Probe(name="become_root", tried="setuid(0)", stops=stops),
        Probe(name="become_group_root", tried="setgid(0)", stops=stops),
        Probe(name="take_groups", tried="setgroups([0])", stops=stops),
        Probe(name="hold_capabilities", tried="hold a capability", stops={"EPERM": "all are dropped"}),
        Probe(
            name="keep_capabilities", tried="keep one in the bounding set", stops={"EPERM": "all are dropped"}
        ),
        Probe(name="make_setuid_root", tried="make a program of root's", stops=stops),
        Probe(name="make_file_capability", tried="give a program a capability", stops=file),
        Probe(name="make_block_device", tried="make the disk's device and open it", stops=device),
        Probe(name="make_character_device", tried="make the memory's device and open it", stops=device),
        Probe(name="signal_guest", tried="signal PID 1", stops={"EPERM": FILTER}),
        Probe(name="hang_up_guest", tried="send PID 1 a SIGHUP", stops={"EPERM": FILTER}),
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
            alone=True,
        ),
        Probe(
            name="fill_descriptors", tried="open files without end", stops={"EMFILE": "limit of open files"}
        ),
        Probe(name="fork_bomb", tried="fork without end", stops={"EAGAIN": "process limit"}, alone=True),
        Probe(name="memory_bomb", tried="take memory without end", stops=memory, alone=True),
        Probe(name="dump_core", tried="allow core files", stops={"EPERM": "limit of core files"}),
    )


IN_GUEST: Final = (
    *_calls(), *_sockets(), *_execution(), *_files(), *_privileges(), *_bombs(),
)  # fmt: skip
"""Every probe of the guest's child."""
