"""Read what this machine's kernel says of a container's first process: the witness no image reaches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox import mounts
from sandbox.engine import Evidence
from sandbox.spec import OWN_KERNEL, ContainerSpec
from sandbox.status import ids_evidence, status_evidence, status_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CGROUPS: Final = Path("/sys/fs/cgroup")


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
    folder = Path("/proc") / str(process)
    if process <= 0 or spec.runtime in OWN_KERNEL or container_id not in _text(folder / "cgroup"):
        return ()
    return (
        *_threads(spec, folder),
        *_namespaces(folder),
        *_interfaces(folder),
        *_mounts(spec, folder),
        *_limits(spec, folder),
    )


def _threads(spec: ContainerSpec, folder: Path) -> Iterator[Evidence]:
    for number, thread in enumerate(sorted((folder / "task").iterdir()), start=1):
        status = status_lines(_text(thread / "status"))
        yield from status_evidence(spec, status, source="host", prefix=f"thread {number} ")
        yield ids_evidence(spec, status)


def _namespaces(folder: Path) -> Iterator[Evidence]:
    """Compare with the namespaces of this process: none may be shared."""
    for name in NAMESPACES:
        try:
            theirs = (folder / "ns" / name).readlink()
        except OSError:
            continue  # another user's process: the engine's word has to do
        ours = (Path("/proc/self/ns") / name).readlink()
        yield _piece(f"namespace {name}", "its own", "shared" if theirs == ours else "its own")


def _interfaces(folder: Path) -> Iterator[Evidence]:
    lines = _text(folder / "net" / "dev").splitlines()[2:]
    if lines:
        names = ", ".join(sorted(line.partition(":")[0].strip() for line in lines))
        yield _piece("interfaces", "lo", names)


def _mounts(spec: ContainerSpec, folder: Path) -> Iterator[Evidence]:
    found = tuple(mounts.parse(_text(folder / "mountinfo").splitlines()))
    if not found:
        return
    yield from mounts.judged(spec, found, source="host")
    targets = {mount.target for mount in found}
    bare = [path for path in spec.masked_paths if path not in targets and Path(path).exists()]
    yield _piece("masked paths", "all that this kernel has", ", ".join(bare) or "all that this kernel has")


def _limits(spec: ContainerSpec, folder: Path) -> Iterator[Evidence]:
    """Read the limits back from the kernel; the two versions of cgroups name the files differently."""
    for line in _text(folder / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            group = CGROUPS / "memory" / path.lstrip("/")
            yield from _limit("memory limit", group / "memory.limit_in_bytes", spec.memory_bytes)
            yield from _limit(
                "memory and swap limit", group / "memory.memsw.limit_in_bytes", spec.memory_bytes
            )
        elif controllers == "pids":
            yield from _limit(
                "process limit", CGROUPS / "pids" / path.lstrip("/") / "pids.max", spec.processes
            )
        elif not controllers:
            group = CGROUPS / path.lstrip("/")
            yield from _limit("memory limit", group / "memory.max", spec.memory_bytes)
            yield from _limit("swap limit", group / "memory.swap.max", 0)
            yield from _limit("process limit", group / "pids.max", spec.processes)


def _limit(check: str, file: Path, expected: int) -> Iterator[Evidence]:
    found = _text(file).strip()
    if found:
        page = os.sysconf("SC_PAGESIZE")  # memory limits are kept in whole pages
        near = found.isdigit() and expected - page < int(found) <= expected
        yield Evidence(check=check, expected=str(expected), observed=found, source="host", holds=near)


def _piece(check: str, expected: str, observed: str) -> Evidence:
    return Evidence(
        check=check, expected=expected, observed=observed[:300], source="host", holds=expected == observed
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
