"""Compare what was made with the grant, before the agent's first action. Any difference ends the session.

Three witnesses, in this order of trust: the engine (inspect), the host's own view of the process (/proc), and
the guest. The guest is ours, but it runs beside the image: what it says is needed, never sufficient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from policies.capability import Capability
from sandbox.engine import Evidence
from sandbox.errors import AttestationError
from sandbox.spec import RUNTIME, SCRATCH, WORKSPACE, ContainerSpec

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Facts = Mapping[str, Value]

CAPABILITY_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
FILTER_MODE: Final = "2"  # SECCOMP_MODE_FILTER, proc(5)
FILTERS_AT_LEAST: Final = 2  # the engine's profile and the guest's own

# What the runtime mounts writable and no agent can write: owned by root, or a view of the kernel.
_SYSTEM_MOUNTS: Final = ("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup")
_ENVIRONMENT_OF_THE_RUNTIME: Final = frozenset({"PATH", "HOSTNAME", "HOME"})
_ALLOWED: Final = "allowed"
_NEVER: Final = (
    "clone_newuser",
    "unshare",
    "ptrace",
    "io_uring_setup",
    "socket_netlink",
    "socket_vsock",
    "write_root",
    "write_runtime",
)


def judge(evidence: Iterable[Evidence]) -> None:
    """Raise when any evidence does not hold.

    Raises:
        AttestationError: With everything that was looked at.
    """
    seen = tuple(evidence)
    if not all(piece.holds for piece in seen):
        raise AttestationError(seen)


def own_kernel(runtime: str) -> bool:
    """Say whether a runtime brings its own kernel, whose /proc on the host shows something else."""
    return runtime in ("runsc", "gvisor")


def host_evidence(spec: ContainerSpec, container_id: str, process: int) -> tuple[Evidence, ...]:
    """Read what the host's kernel says of the container's first process.

    Args:
        spec: What was asked for.
        container_id: Its id, which must stand in the process's cgroup: an engine in a virtual machine has
            process ids that mean another process here.
        process: The process id that the engine gave.

    Returns:
        Evidence of every thread; empty where the process is not to be seen from here.
    """
    folder = Path("/proc") / str(process)
    if process <= 0 or own_kernel(spec.runtime) or container_id not in _text(folder / "cgroup"):
        return ()
    pieces: list[Evidence] = []
    for number, thread in enumerate(sorted((folder / "task").iterdir()), start=1):
        status = dict(_status_lines(_text(thread / "status")))
        pieces += _status_evidence(spec, status, source="host", prefix=f"thread {number} ")
        pieces.append(_ids(spec, status))
    return tuple(pieces)


def guest_evidence(spec: ContainerSpec, facts: Facts) -> tuple[Evidence, ...]:
    """Judge what the guest found itself to be, and what happened when it tried."""
    return tuple(_guest(spec, facts))


def _guest(spec: ContainerSpec, facts: Facts) -> Iterator[Evidence]:
    identity = spec.identity
    yield _equal("started for exec", spec.grant.holds(Capability.EXEC), facts.get("exec"))
    yield _equal("started for loopback", "--loopback" in spec.entrypoint, facts.get("loopback"))
    yield _equal("started in", spec.entrypoint[-1], facts.get("root"))
    yield _equal("process id", "1", facts.get("pid"))
    yield _equal("uids", [identity.uid] * 3, facts.get("uids"))
    yield _equal("gids", [identity.gid] * 3, facts.get("gids"))
    groups = _items(facts.get("groups"))
    yield _piece(
        "groups", f"none but {identity.gid}", groups, holds=set(map(str, groups)) <= {str(identity.gid)}
    )
    threads = _items(facts.get("threads"))
    yield _equal("threads", "1", len(threads))
    for thread in threads:
        lines = {str(name): str(value) for name, value in _mapping(thread).items() if value is not None}
        yield from _status_evidence(spec, lines, source="guest", prefix="")
    interfaces = [str(name) for name in _items(facts.get("interfaces"))]
    yield _piece("interfaces", "at most lo", list[Value](interfaces), holds=set(interfaces) <= {"lo"})
    yield _environment(spec, facts)
    descriptors = _items(facts.get("descriptors"))
    yield _piece(
        "descriptors", "at most 0, 1, 2", descriptors, holds={str(d) for d in descriptors} <= {"0", "1", "2"}
    )
    yield from _mounts(spec, facts)
    yield from _tries(spec, _mapping(facts.get("tries")))


def _status_evidence(
    spec: ContainerSpec, status: Mapping[str, str], *, source: str, prefix: str
) -> Iterator[Evidence]:
    # gVisor's /proc has no line for these two; that they are in force shows in what the guest tried.
    unseen = {"CapAmb", "NoNewPrivs"} - status.keys() if own_kernel(spec.runtime) else set()
    for name in CAPABILITY_SETS:
        if name not in unseen:
            value = status.get(name, "absent")
            yield _piece(f"{prefix}{name}", "no capability", value, source=source, holds=_is_zero(value))
    if "NoNewPrivs" not in unseen:
        yield _equal(f"{prefix}NoNewPrivs", "1", status.get("NoNewPrivs"), source=source)
    yield _equal(f"{prefix}Seccomp", FILTER_MODE, status.get("Seccomp"), source=source)
    if "Seccomp_filters" in status:  # Linux 5.9 and later; never under gVisor
        count = status["Seccomp_filters"]
        holds = count.isdigit() and int(count) >= FILTERS_AT_LEAST
        yield _piece(
            f"{prefix}Seccomp_filters", f"at least {FILTERS_AT_LEAST}", count, source=source, holds=holds
        )


def _is_zero(value: str) -> bool:
    return bool(value) and set(value) == {"0"}


def _ids(spec: ContainerSpec, status: Mapping[str, str]) -> Evidence:
    """Hold the host's view of the ids; an engine that remaps users shows others, and none of them is 0."""
    uids, gids = status.get("Uid", "").split(), status.get("Gid", "").split()
    known = bool(uids) and bool(gids)
    same = set(uids) == {str(spec.identity.uid)} and set(gids) == {str(spec.identity.gid)}
    remapped = known and "0" not in uids and "0" not in gids and len(set(uids)) == len(set(gids)) == 1
    return _piece(
        "ids",
        f"{spec.identity.uid}:{spec.identity.gid}, or remapped to others",
        f"{' '.join(uids)} : {' '.join(gids)}",
        source="host",
        holds=same or remapped,
    )


def _environment(spec: ContainerSpec, facts: Facts) -> Evidence:
    ours = {entry.partition("=")[0] for entry in spec.environment if "=" in entry}
    found = {str(name) for name in _items(facts.get("environment"))}
    extra = sorted(found - ours - _ENVIRONMENT_OF_THE_RUNTIME)
    return _piece("environment", "only what was set", list[Value](extra), holds=not extra)


def _mounts(spec: ContainerSpec, facts: Facts) -> Iterator[Evidence]:
    """Hold every mount to its place: read-only, or one of the writable ones, and those bounded in kind."""
    mounts = [_mapping(mount) for mount in _items(facts.get("mounts"))]
    options = {str(m.get("target")): set(str(m.get("options")).split(",")) for m in mounts}
    yield _piece("mount /", "read-only", _joined(options.get("/")), holds="ro" in options.get("/", set()))
    runtime = options.get(RUNTIME, set())
    yield _piece(f"mount {RUNTIME}", "read-only", _joined(runtime), holds="ro" in runtime)
    writable = {mount.target for mount in spec.mounts if not mount.read_only} | set(spec.tmpfs)
    for target, found in sorted(options.items()):
        if "ro" in found or target.startswith("/proc/") or target in _SYSTEM_MOUNTS:
            continue
        yield _piece(f"mount {target}", "read-only, or one of ours", _joined(found), holds=target in writable)
    if own_kernel(spec.runtime):
        return
    executes = spec.grant.holds(Capability.EXEC)
    for target in (SCRATCH, WORKSPACE):
        if target in options and "ro" not in options[target]:
            wanted = {"nosuid", "nodev"} | (set() if executes else {"noexec"})
            found = options[target]
            yield _piece(
                f"mount {target} options", ",".join(sorted(wanted)), _joined(found), holds=wanted <= found
            )


def _tries(spec: ContainerSpec, tries: Mapping[str, Value]) -> Iterator[Evidence]:
    executes = spec.grant.holds(Capability.EXEC)
    loopback = "--loopback" in spec.entrypoint
    expected = {
        "execve": executes,
        "memfd_create": executes,
        "socket_unix": True,
        "socket_inet": loopback,
        **dict.fromkeys(_NEVER, False),
    }
    for name, wanted in sorted(expected.items()):
        observed = str(tries.get(name, "not tried"))
        refused = observed not in (_ALLOWED, "not tried", "silent", "unknown")
        holds = observed == _ALLOWED if wanted else refused
        yield _piece(f"try {name}", _ALLOWED if wanted else "refused", observed, holds=holds)


def _equal(check: str, expected: Value, observed: Value, *, source: str = "guest") -> Evidence:
    return _piece(check, expected, observed, source=source, holds=str(expected) == str(observed))


def _piece(check: str, expected: Value, observed: Value, *, holds: bool, source: str = "guest") -> Evidence:
    return Evidence(
        check=check, expected=str(expected), observed=str(observed)[:300], source=source, holds=holds
    )


def _joined(options: set[str] | None) -> str:
    return ",".join(sorted(options)) if options else "absent"


def _items(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _mapping(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _status_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.strip()
