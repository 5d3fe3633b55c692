"""Read what this machine's kernel says of a container's first process: the witness no image reaches.

Paths are texts here: each launch waits for this, and a `Path` for each would take a third of the time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from sandbox import mounts
from sandbox.engine import Evidence
from sandbox.spec import OWN_KERNEL, ContainerSpec
from sandbox.status import ids_evidence, status_evidence, status_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CGROUPS: Final = "/sys/fs/cgroup"
_LIMIT_LINES: Final = {
    "core": "Max core file size",
    "memlock": "Max locked memory",
    "nice": "Max nice priority",
    "nofile": "Max open files",
    "rtprio": "Max realtime priority",
    "sigpending": "Max pending signals",
}


def host_evidence(spec: ContainerSpec, container_id: str, process: int) -> tuple[Evidence, ...]:
    """Return what can be seen from here; an ordinary user sees less of it than root does.

    Args:
        spec: What was asked for.
        container_id: Its id, which must stand in the process's cgroup: an engine in a virtual machine has
            process ids that mean another process here.
        process: The process id that the engine gave.

    Returns:
        Evidence; empty where the process is not to be seen from here, or has a kernel of its own.
    """
    folder = f"/proc/{process}"
    if process <= 0 or spec.runtime in OWN_KERNEL or container_id not in _text(f"{folder}/cgroup"):
        return ()
    return (
        *_threads(spec, folder),
        *_closed(folder),
        *_namespaces(folder),
        *_interfaces(folder),
        *_mounts(spec, folder),
        *_limits(spec, folder),
        *_process_limits(spec, folder),
    )


def _threads(spec: ContainerSpec, folder: str) -> Iterator[Evidence]:
    for number, thread in enumerate(sorted(os.listdir(f"{folder}/task")), start=1):  # noqa: PTH208
        status = status_lines(_text(f"{folder}/task/{thread}/status"))
        yield from status_evidence(spec, status, source="host", prefix=f"thread {number} ")
        yield ids_evidence(spec, status)


def _closed(folder: str) -> Iterator[Evidence]:
    """See who owns the process's own files: root, where it is not dumpable (proc(5)); else its own user.

    Owned by its user, its memory and the link's descriptors would be open to every program of the session.
    """
    try:
        owner = os.stat(f"{folder}/environ").st_uid  # noqa: PTH116
    except OSError:
        return
    uids = status_lines(_text(f"{folder}/status")).get("Uid", "").split()
    yield _piece("dumpable", "no", "yes" if not uids or str(owner) in uids else "no")


def _namespaces(folder: str) -> Iterator[Evidence]:
    """Compare with the namespaces of this process: none may be shared."""
    for name in NAMESPACES:
        try:
            theirs = os.readlink(f"{folder}/ns/{name}")  # noqa: PTH115
        except OSError:
            continue  # another user's process: the engine's word has to do
        ours = os.readlink(f"/proc/self/ns/{name}")  # noqa: PTH115
        yield _piece(f"namespace {name}", "its own", "shared" if theirs == ours else "its own")


def _interfaces(folder: str) -> Iterator[Evidence]:
    lines = _text(f"{folder}/net/dev").splitlines()[2:]
    if lines:
        names = ", ".join(sorted(line.partition(":")[0].strip() for line in lines))
        yield _piece("interfaces", "lo", names)


def _mounts(spec: ContainerSpec, folder: str) -> Iterator[Evidence]:
    found = tuple(mounts.parse(_text(f"{folder}/mountinfo").splitlines()))
    if not found:
        return
    yield from mounts.judged(spec, found, source="host")
    targets = {mount.target for mount in found}
    unmasked = (path for path in spec.masked_paths if path not in targets)
    bare = [path for path in unmasked if os.path.exists(path)]  # noqa: PTH110
    yield _piece("masked paths", "all that this kernel has", ", ".join(bare) or "all that this kernel has")


def _limits(spec: ContainerSpec, folder: str) -> Iterator[Evidence]:
    """Read the limits back from the kernel; the two versions of cgroups name the files differently."""
    for line in _text(f"{folder}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            group = f"{CGROUPS}/memory/{path}"
            yield from _limit("memory limit", f"{group}/memory.limit_in_bytes", spec.memory_bytes)
            yield from _limit(
                "memory and swap limit", f"{group}/memory.memsw.limit_in_bytes", spec.memory_bytes
            )
        elif "cpu" in controllers.split(","):
            group = f"{CGROUPS}/cpu/{path}"
            quota = " ".join(_text(f"{group}/cpu.cfs_{name}_us") for name in ("quota", "period"))
            yield from _processors(spec, quota)
        elif controllers == "pids":
            yield from _limit("process limit", f"{CGROUPS}/pids/{path}/pids.max", spec.processes)
        elif not controllers:
            group = f"{CGROUPS}/{path}"
            yield from _limit("memory limit", f"{group}/memory.max", spec.memory_bytes)
            yield from _limit("swap limit", f"{group}/memory.swap.max", 0)
            yield from _limit("process limit", f"{group}/pids.max", spec.processes)
            yield from _processors(spec, _text(f"{group}/cpu.max"))


def _processors(spec: ContainerSpec, text: str) -> Iterator[Evidence]:
    """Hold a quota and its period, in microseconds, against the processors that were asked for."""
    match text.split():
        case [quota, period]:
            given = int(quota) * 1_000_000_000 // int(period) if quota.isdigit() else 0
            near = 0 < given <= spec.nano_cpus < given + 1_000_000  # the engine rounds down
            yield Evidence(
                check="processors",
                expected=f"{spec.nano_cpus} ns in each s",
                observed=f"{quota} of {period} µs",
                source="host",
                holds=near,
            )


def _process_limits(spec: ContainerSpec, folder: str) -> Iterator[Evidence]:
    """Read back what each process is bound by (proc(5), limits): soft and hard."""
    text = _text(f"{folder}/limits")
    for name, most in sorted(spec.process_limits.items()) if text else ():
        line = next((line for line in text.splitlines() if line.startswith(_LIMIT_LINES[name])), "")
        yield _piece(f"limit {name}", f"{most} {most}", " ".join(line[26:].split()[:2]))


def _limit(check: str, file: str, expected: int) -> Iterator[Evidence]:
    found = _text(file).strip()
    if found:
        page = os.sysconf("SC_PAGESIZE")  # memory limits are kept in whole pages
        near = found.isdigit() and expected - page < int(found) <= expected
        yield Evidence(check=check, expected=str(expected), observed=found, source="host", holds=near)


def _piece(check: str, expected: str, observed: str) -> Evidence:
    return Evidence(
        check=check, expected=expected, observed=observed[:300], source="host", holds=expected == observed
    )


def _text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall().decode("utf-8", "replace")
    except OSError:
        return ""
