"""Build the seccomp profile that is given to the engine: an allowlist; what is not named fails.

The runtime applies it before the first instruction of the container and inspect shows it back. It still
allows execve, which the runtime itself needs to start the guest; the guest's own filter
(sandbox/guest/lockdown.py) takes that away in sessions without `exec`.

The format is that of the engine's `--security-opt seccomp=` (moby, profiles/seccomp; OCI runtime
specification, linux.seccomp). Names that an architecture does not have are skipped by the runtime.
"""

from __future__ import annotations

from typing import Final, TypedDict

ERRNO_EPERM: Final = 1
ERRNO_ENOSYS: Final = 38

ADDRESS_FAMILY_UNIX: Final = 1
ADDRESS_FAMILY_INET: Final = 2
ADDRESS_FAMILY_INET6: Final = 10
STREAM_OF_TCP: Final = (1, (0, 6))
DATAGRAM_OF_UDP: Final = (2, (0, 17))
SOCKET_KIND: Final = 0xF
"""Bits of socket(2)'s type that are the type; the others are flags (linux/net.h, SOCK_TYPE_MASK)."""

# The CLONE_NEW* bits of clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, and NEWTIME,
# which shares its bit (0x80) with the signal number's byte and so is refused by unshare and clone3 alone.
NEW_NAMESPACE_FLAGS: Final = 0x7E020000

# ioctl(2) request that puts bytes into a terminal's input (CVE-2017-5226). One value only: the runtime reads
# several comparisons of one argument as "or", which with "not equal" would allow everything.
TIOCSTI: Final = 0x5412

_BY_PURPOSE: Final = {
    "memory": """
        brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
        munmap pkey_alloc pkey_free pkey_mprotect map_shadow_stack
    """,
    "files by descriptor": """
        close close_range copy_file_range dup dup2 dup3 fadvise64 fallocate fcntl fdatasync flock fstat
        fstatfs fsync ftruncate getdents getdents64 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2
        read readahead readv sendfile splice sync_file_range tee vmsplice write writev cachestat
    """,
    "files by name": """
        access chdir chmod chown creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown fchownat
        futimesat getcwd lchown link linkat lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2
        readlink readlinkat rename renameat renameat2 rmdir stat statfs statx symlink symlinkat sync syncfs
        truncate umask unlink unlinkat utime utimensat utimes
    """,
    "extended attributes": """
        fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr
        lsetxattr removexattr setxattr
    """,
    "waiting": """
        epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
        inotify_add_watch inotify_init inotify_init1 inotify_rm_watch pause poll ppoll pselect6 select
        signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
    """,
    "processes, their ids and limits": """
        capget capset execve execveat exit exit_group fork getegid geteuid getgid getgroups getpgid getpgrp
        getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get
        ioprio_set kill pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease sched_get_priority_max
        sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
        setfsgid setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid
        setrlimit setsid setuid tgkill times tkill vfork wait4 waitid
    """,
    "threads": """
        arch_prctl futex futex_waitv futex_wake futex_wait futex_requeue get_robust_list get_thread_area
        getcpu rseq set_robust_list set_thread_area set_tid_address
    """,
    "signals": """
        rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
        rt_tgsigqueueinfo restart_syscall sigaltstack
    """,
    "time": """
        alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time
        timer_create timer_delete timer_getoverrun timer_gettime timer_settime
    """,
    "pipes and sockets, whose families are a rule of their own": """
        accept accept4 bind connect getpeername getsockname getsockopt listen pipe pipe2 recvfrom recvmmsg
        recvmsg sendmmsg sendmsg sendto setsockopt shutdown
    """,
    "a program may narrow itself further": """
        landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp
    """,
    "facts about the machine": """
        getrandom sysinfo uname
    """,
}

ALLOWED: Final = frozenset(name for names in _BY_PURPOSE.values() for name in names.split())
"""Every system call that a program may make whatever its arguments; the rest is in `profile`."""


class Argument(TypedDict):
    """Compare one argument of a system call."""

    index: int
    value: int
    valueTwo: int
    op: str


class Rule(TypedDict, total=False):
    """Say what happens to some system calls."""

    names: list[str]
    action: str
    errnoRet: int
    args: list[Argument]


class Profile(TypedDict):
    """Hold a whole profile, as the engine reads it."""

    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    syscalls: list[Rule]


def profile(architecture: str, *, executes: bool, loopback: bool, named_sockets: bool = True) -> Profile:
    """Return the profile for one container.

    Args:
        architecture: The engine's machine, `x86_64` or `aarch64`. Only its native ABI is listed, so that
            every other one (i386, x32, 32-bit ARM) is killed by the runtime's filter.
        executes: Whether the grant holds `exec`; without it memfd_create and execveat are refused as well.
        loopback: Whether a proxy listens on the container's loopback; without it INET sockets are refused.
            With it there are TCP and UDP, and none of the kernel's other protocols.
        named_sockets: Whether unix sockets can be made one by one, and not in pairs only. A folder of this
            machine that is bound into the container can come to hold a socket of this machine's, which a
            network namespace does not keep away.

    Returns:
        A JSON-ready mapping.
    """
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ERRNO_EPERM,
        "architectures": [_ARCHITECTURES[architecture]],
        "syscalls": [
            {"names": sorted(_names(executes=executes)), "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [_masked(0, NEW_NAMESPACE_FLAGS, 0)]},
            # libc falls back to clone only when clone3 does not exist (moby#42680).
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ERRNO_ENOSYS},
            *(_socket_rules(loopback=loopback, named_sockets=named_sockets)),
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [_compare(1, TIOCSTI, "SCMP_CMP_NE")]},
        ],
    }


_ARCHITECTURES: Final = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def _names(*, executes: bool) -> frozenset[str]:
    return ALLOWED | {"memfd_create"} if executes else ALLOWED - {"execveat"}


def _socket_rules(*, loopback: bool, named_sockets: bool) -> list[Rule]:
    unix = [_compare(0, ADDRESS_FAMILY_UNIX, "SCMP_CMP_EQ")]
    internet = [
        [
            _compare(0, family, "SCMP_CMP_EQ"),
            _masked(1, SOCKET_KIND, kind),
            _compare(2, number, "SCMP_CMP_EQ"),
        ]
        for family in (ADDRESS_FAMILY_INET, ADDRESS_FAMILY_INET6)
        for kind, numbers in (STREAM_OF_TCP, DATAGRAM_OF_UDP)
        for number in numbers
    ]
    made = [*([unix] if named_sockets else []), *(internet if loopback else [])]
    return [
        *(_allow("socket", arguments) for arguments in made),
        _allow("socketpair", unix),
    ]


def _allow(name: str, arguments: list[Argument]) -> Rule:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments}


def _compare(index: int, value: int, operator: str) -> Argument:
    return {"index": index, "value": value, "valueTwo": 0, "op": operator}


def _masked(index: int, mask: int, value: int) -> Argument:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
