"""Judge the status lines of a thread (proc(5), status), whoever read them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.engine import Evidence
from sandbox.spec import OWN_KERNEL, ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CAPABILITY_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
FILTER_MODE: Final = "2"  # SECCOMP_MODE_FILTER
FILTERS_AT_LEAST: Final = 2  # the engine's profile and the guest's own


def status_lines(text: str) -> dict[str, str]:
    """Return the lines of a status file by name."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, colon, value in pairs if colon}


def status_evidence(
    spec: ContainerSpec, status: Mapping[str, str], *, source: str, prefix: str
) -> Iterator[Evidence]:
    """Yield what one thread's status says of capabilities, new privileges and filters."""
    # gVisor's /proc has no line for these two; that they are in force shows in what the guest tried.
    unseen = {"CapAmb", "NoNewPrivs"} - status.keys() if spec.runtime in OWN_KERNEL else set()
    for name in CAPABILITY_SETS:
        if name not in unseen:
            value = status.get(name, "absent")
            yield _piece(f"{prefix}{name}", "no capability", value, source, holds=_is_zero(value))
    if "NoNewPrivs" not in unseen:
        value = status.get("NoNewPrivs", "absent")
        yield _piece(f"{prefix}NoNewPrivs", "1", value, source, holds=value == "1")
    mode = status.get("Seccomp", "absent")
    yield _piece(f"{prefix}Seccomp", FILTER_MODE, mode, source, holds=mode == FILTER_MODE)
    if "Seccomp_filters" in status:  # Linux 5.9 and later; never under gVisor
        count = status["Seccomp_filters"]
        holds = count.isdigit() and int(count) >= FILTERS_AT_LEAST
        yield _piece(f"{prefix}Seccomp_filters", f"at least {FILTERS_AT_LEAST}", count, source, holds=holds)


def ids_evidence(spec: ContainerSpec, status: Mapping[str, str]) -> Evidence:
    """Hold the host's view of the ids; an engine that remaps users shows others, and none of them is 0."""
    uids, gids = status.get("Uid", "").split(), status.get("Gid", "").split()
    groups = set(status.get("Groups", "").split())
    known = bool(uids) and bool(gids)
    same = set(uids) == {str(spec.identity.uid)} and set(gids) == {str(spec.identity.gid)}
    remapped = known and "0" not in uids and "0" not in gids and len(set(uids)) == len(set(gids)) == 1
    return _piece(
        "ids",
        f"{spec.identity.uid}:{spec.identity.gid}, or remapped to others, and no other group",
        f"{' '.join(uids)} : {' '.join(gids)} : {' '.join(sorted(groups))}",
        "host",
        holds=(same or remapped) and groups <= set(gids),
    )


def _piece(check: str, expected: str, observed: str, source: str, *, holds: bool) -> Evidence:
    return Evidence(check=check, expected=expected, observed=observed, source=source, holds=holds)


def _is_zero(value: str) -> bool:
    return bool(value) and set(value) == {"0"}
