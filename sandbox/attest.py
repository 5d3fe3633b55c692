"""Compare what was made with the grant, before the agent's first action. Any difference ends the session.

Three witnesses, in this order of trust: the engine (inspect), the host's own view of the process (/proc), and
the guest. The guest is ours, but it runs beside the image: what it says is needed, never sufficient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from policies.capability import Capability
from sandbox import mounts
from sandbox.engine import Evidence
from sandbox.errors import AttestationError
from sandbox.spec import OWN_KERNEL, BindMount
from sandbox.status import status_evidence

if TYPE_CHECKING:
    from sandbox.spec import ContainerSpec

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Facts = Mapping[str, Value]

_ENVIRONMENT_OF_THE_RUNTIME: Final = frozenset({"PATH", "HOSTNAME", "HOME"})
_ALLOWED: Final = "allowed"
_FILTERED: Final = frozenset({"EPERM"})
_FAMILY: Final = frozenset({"EAFNOSUPPORT", "EPERM"})
_READ_ONLY: Final = frozenset({"EROFS", "EACCES"})
_CLOSED: Final = frozenset({"EACCES", "EPERM"})
_REFUSALS: Final[Mapping[str, frozenset[str]]] = {
    "execve": _FILTERED,
    "memfd_create": _FILTERED,
    "socket_inet": _FAMILY,
    "socket_netlink": _FAMILY,
    "socket_vsock": _FAMILY,
    "clone_newuser": _FILTERED,
    "unshare": _FILTERED,
    "ptrace": _FILTERED,
    "io_uring_setup": _FILTERED,
    "write_root": _READ_ONLY,
    "write_runtime": _READ_ONLY,
}
"""What each is refused with. Another answer, EINVAL for instance, comes from a kernel that was asked."""


def judge(evidence: Iterable[Evidence]) -> None:
    """Raise when any evidence does not hold.

    Raises:
        AttestationError: With everything that was looked at.
    """
    seen = tuple(evidence)
    if not all(piece.holds for piece in seen):
        raise AttestationError(seen)


def guest_evidence(spec: ContainerSpec, facts: Facts, *, sealed: bool = False) -> tuple[Evidence, ...]:
    """Judge what the guest found itself to be, and what happened when it tried.

    Args:
        spec: What was asked for.
        facts: What the guest says.
        sealed: Whether every frame of the link carries a tag, as the host's end of it sees.
    """
    return (*_guest(spec, facts), _link(spec, _mapping(facts.get("tries")), sealed=sealed))


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
        yield from status_evidence(spec, lines, source="guest", prefix="")
    interfaces = [str(name) for name in _items(facts.get("interfaces"))]
    yield _piece("interfaces", "at most lo", list[Value](interfaces), holds=set(interfaces) <= {"lo"})
    yield _environment(spec, facts)
    descriptors = _items(facts.get("descriptors"))
    yield _piece(
        "descriptors", "at most 0, 1, 2", descriptors, holds={str(d) for d in descriptors} <= {"0", "1", "2"}
    )
    yield from mounts.judged(spec, _mounts(facts), source="guest")
    yield from _tries(spec, _mapping(facts.get("tries")))


def _link(spec: ContainerSpec, tries: Mapping[str, Value], *, sealed: bool) -> Evidence:
    """Expect that no other process can open the link's descriptors, or that it is sealed against them.

    Linux keeps them closed where PID 1 is not dumpable; only a runtime with its own kernel may not.
    """
    observed = str(tries.get("open_link", "not tried"))
    closed = observed in _CLOSED
    lawful = closed or (sealed and spec.runtime in OWN_KERNEL)
    expected = " or ".join(sorted(_CLOSED)) + (", or a sealed link" if spec.runtime in OWN_KERNEL else "")
    return _piece("try open_link", expected, f"{observed}, sealed" if sealed else observed, holds=lawful)


def _environment(spec: ContainerSpec, facts: Facts) -> Evidence:
    ours = {entry.partition("=")[0] for entry in spec.environment if "=" in entry}
    found = {str(name) for name in _items(facts.get("environment"))}
    extra = sorted(found - ours - _ENVIRONMENT_OF_THE_RUNTIME)
    return _piece("environment", "only what was set", list[Value](extra), holds=not extra)


def _mounts(facts: Facts) -> Iterator[mounts.Mounted]:
    for mount in map(_mapping, _items(facts.get("mounts"))):
        words = [str(mount.get(name, "")) for name in ("target", "options", "kind", "superblock")]
        yield mounts.mounted(*words, root=str(mount.get("root", "")))


def _tries(spec: ContainerSpec, tries: Mapping[str, Value]) -> Iterator[Evidence]:
    held = {
        "execve": spec.grant.holds(Capability.EXEC),
        "memfd_create": spec.grant.holds(Capability.EXEC),
        "socket_inet": "--loopback" in spec.entrypoint,
    }
    yield _unix_sockets(spec, str(tries.get("socket_unix", "not tried")))
    for name, refusals in sorted(_REFUSALS.items()):
        observed = str(tries.get(name, "not tried"))
        if held.get(name, False):
            yield _equal(f"try {name}", _ALLOWED, observed)
        else:
            expected = " or ".join(sorted(refusals))
            yield _piece(f"try {name}", expected, observed, holds=observed in refusals)


def _unix_sockets(spec: ContainerSpec, observed: str) -> Evidence:
    """Expect unix sockets, but beside a bound folder, where the profile leaves pairs only.

    A runtime with its own kernel has a socket of its own there, and may pass the profile by.
    """
    bound = any(isinstance(mount, BindMount) for mount in spec.mounts)
    lawful = {_ALLOWED} if not bound else _FILTERED
    if bound and spec.runtime in OWN_KERNEL:
        lawful = lawful | {_ALLOWED}
    return _piece(
        "try socket_unix", " or ".join(sorted(lawful)), observed, source="guest", holds=observed in lawful
    )


def _equal(check: str, expected: Value, observed: Value, *, source: str = "guest") -> Evidence:
    return _piece(check, expected, observed, source=source, holds=str(expected) == str(observed))


def _piece(check: str, expected: Value, observed: Value, *, holds: bool, source: str = "guest") -> Evidence:
    return Evidence(
        check=check, expected=str(expected), observed=str(observed)[:300], source=source, holds=holds
    )


def _items(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []


def _mapping(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}
