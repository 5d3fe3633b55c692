"""List system calls by number and by what is thought of them: one table for x86-64 and arm64.

Sources: Linux 6.12, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (which arm64
uses as it stands). A test compares every number with the headers of the machine that it runs on. What an
architecture does not have is None.
"""

from __future__ import annotations

import os

X86_64 = "x86_64"
AARCH64 = "aarch64"

# fmt: off
_TABLE: tuple[tuple[str, int | None, int | None], ...] = (
    # EXEC
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("memfd_create", 319, 279),
    # Asynchronous rings and programs in the kernel
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    # Rings of the older kind, whose number has one bound for the whole machine (fs.aio-max-nr)
    ("io_setup", 206, 0),
    # Key rings
    ("keyctl", 250, 219),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    # Other processes' memory and descriptors
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("process_madvise", 440, 440),
    ("pidfd_getfd", 438, 438),
    ("kcmp", 312, 272),
    # Mounts and roots
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fspick", 433, 433),
    ("mount_setattr", 442, 442),
    ("open_tree_attr", 467, 467),
    # Namespaces
    ("setns", 308, 268),
    ("unshare", 272, 97),
    # Kernels and modules
    ("kexec_load", 246, 104),
    ("kexec_file_load", 320, 294),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("delete_module", 176, 106),
    ("create_module", 174, None),
    ("query_module", 178, None),
    ("get_kernel_syms", 177, None),
    # Files by handle, memory that nobody can see
    ("open_by_handle_at", 304, 265),
    ("name_to_handle_at", 303, 264),
    ("memfd_secret", 447, 447),
    # Old personalities
    ("personality", 135, 92),
    ("modify_ldt", 154, None),
    ("uselib", 134, None),
    # System V IPC
    ("shmget", 29, 194),
    ("shmat", 30, 196),
    ("shmdt", 67, 197),
    ("shmctl", 31, 195),
    ("semget", 64, 190),
    ("semop", 65, 193),
    ("semctl", 66, 191),
    ("semtimedop", 220, 192),
    ("msgget", 68, 186),
    ("msgsnd", 69, 189),
    ("msgrcv", 70, 188),
    ("msgctl", 71, 187),
    # POSIX message queues
    ("mq_open", 240, 180),
    ("mq_unlink", 241, 181),
    ("mq_timedsend", 242, 182),
    ("mq_timedreceive", 243, 183),
    ("mq_notify", 244, 184),
    ("mq_getsetattr", 245, 185),
    # The machine: quotas, swap, clocks, ports, logs, names
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    ("swapon", 167, 224),
    ("swapoff", 168, 225),
    ("reboot", 169, 142),
    ("acct", 163, 89),
    ("settimeofday", 164, 170),
    ("clock_settime", 227, 112),
    ("adjtimex", 159, 171),
    ("clock_adjtime", 305, 266),
    ("iopl", 172, None),
    ("ioperm", 173, None),
    ("syslog", 103, 116),
    ("lookup_dcookie", 212, 18),
    ("nfsservctl", 180, 42),
    ("vhangup", 153, 58),
    ("fanotify_init", 300, 262),
    ("fanotify_mark", 301, 263),
    ("sethostname", 170, 161),
    ("setdomainname", 171, 162),
    ("sysfs", 139, None),
    ("_sysctl", 156, None),
    # Looked at by argument, or made by the guest itself
    ("clone", 56, 220),
    ("clone3", 435, 435),
    ("socket", 41, 198),
    ("socketpair", 53, 199),
    ("ioctl", 16, 29),
    ("kill", 62, 129),
    ("tkill", 200, 130),
    ("tgkill", 234, 131),
    ("rt_sigqueueinfo", 129, 138),
    ("rt_tgsigqueueinfo", 297, 240),
    ("pidfd_open", 434, 434),
    ("prlimit64", 302, 261),
    ("setrlimit", 160, 164),
    ("sched_setparam", 142, 118),
    ("sched_setscheduler", 144, 119),
    ("sched_setaffinity", 203, 122),
    ("sched_setattr", 314, 274),
    ("setpriority", 141, 140),
    ("ioprio_set", 251, 30),
    ("fcntl", 72, 25),
    ("prctl", 157, 167),
    ("openat2", 437, 437),
    ("renameat2", 316, 276),
    ("rt_sigaction", 13, 134),
    ("getpid", 39, 172),
)
# fmt: on

NUMBERS: dict[str, dict[str, int]] = {
    X86_64: {name: number for name, number, _ in _TABLE if number is not None},
    AARCH64: {name: number for name, _, number in _TABLE if number is not None},
}

# linux/audit.h: the machine's ELF number, 64 bits, little-endian
AUDIT_ARCHITECTURE = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
# asm/unistd.h: numbers from here on are the x32 ABI's, which would slip past a list of x86-64 numbers
X32_BIT = 0x40000000

# Refused in a session without `exec`. memfd_create is among them because it gives an executable file where
# every mount is noexec.
EXEC = ("execve", "execveat", "memfd_create")

# Refused in every session, with EPERM: no command and no test suite needs them, and each has been a way out.
REFUSED = (
    "io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd",
    "io_setup",
    "keyctl", "add_key", "request_key",
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    "mount", "umount2", "pivot_root", "chroot",
    "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    "setns", "unshare",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
    "create_module", "query_module", "get_kernel_syms",
    "open_by_handle_at", "name_to_handle_at", "memfd_secret",
    "personality", "modify_ldt", "uselib",
    "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semctl", "semtimedop",
    "msgget", "msgsnd", "msgrcv", "msgctl",
    "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
    "quotactl", "quotactl_fd", "swapon", "swapoff", "reboot", "acct",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "iopl", "ioperm", "syslog",
    "lookup_dcookie", "nfsservctl", "vhangup", "fanotify_init", "fanotify_mark",
    "sethostname", "setdomainname", "sysfs", "_sysctl",
)  # fmt: skip


# Refused when the first argument is process 1, or -1, which is all of them. Linux keeps deadly signals from a
# namespace's PID 1; gVisor of 2022 does not, and a program could end or stop the guest with one.
SIGNALS = (
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open",
    # These go by uid alone, too.
    "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr",
)  # fmt: skip

# Refused unless the first argument is 0, the caller itself: limits go by uid alone, and RLIMIT_CPU of one
# second would end PID 1, RLIMIT_NOFILE or RLIMIT_FSIZE lame a worker for good.
OWN_ONLY = ("prlimit64",)


# Refused when the second argument is process 1, or its group, or the first means all processes of a user: a
# priority goes by uid alone, and a guest that comes last lets every other action of the session wait. The
# numbers are PRIO_USER (linux/resource.h) and IOPRIO_WHO_USER (linux/ioprio.h).
PRIORITIES = {"setpriority": 2, "ioprio_set": 3}


def architecture() -> str:
    """Return this machine's architecture.

    Raises:
        RuntimeError: when it is neither of the two in the table: without a filter there is no guest.
    """
    machine = os.uname().machine
    if machine not in NUMBERS:
        raise RuntimeError(f"architecture `{machine}` is not supported; expected `{X86_64}` or `{AARCH64}`")
    return machine
