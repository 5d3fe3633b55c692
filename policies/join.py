"""Join policies: what both allow, and nothing else. Joining is associative, commutative and never widens.

How lists and settings meet is in `meeting`; hosts and commands have modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.errors import UnjoinableError
from policies.exec_block import ExecBlock
from policies.files_block import FileLimits, FilesBlock
from policies.join_commands import meet_commands
from policies.join_network import meet_networks
from policies.meeting import ACCESS, RUNTIMES, least, strictest, union
from policies.policy import Budget, Isolation, Policy
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.globs import Glob
    from policies.network_block import NetworkBlock

    MeetHosts = Callable[[NetworkBlock | None, NetworkBlock | None], NetworkBlock]


def join(first: Policy, second: Policy, *, meet_hosts: MeetHosts = meet_networks) -> Policy:
    """Join two resolved policies.

    Args:
        first: One policy; its name and places win where both have one.
        second: The other.
        meet_hosts: How their rules for hosts are joined.

    Returns:
        The widest policy that is within both.

    Raises:
        UnjoinableError: When both run programs, from different images, or their rules for hosts have too
            much in common.
    """
    grant = first.grant.meet(second.grant)
    joined = Policy(
        version=1,
        name=first.name,
        description=first.description,
        grant=grant,
        files=_files(first.files, second.files) if grant.holds(Capability.FILES) else None,
        exec=_exec(first.exec, second.exec) if grant.holds(Capability.EXEC) else None,
        network=meet_hosts(first.network, second.network) if grant.holds(Capability.NETWORK) else None,
        commands=meet_commands(first.commands, second.commands),
        sinks="strict" if "strict" in {first.sinks, second.sinks} else "default",
        isolation=_isolation(first.isolation, second.isolation),
        budget=least(Budget, first.budget, second.budget),
        outputs=_outputs(first, second),
    )
    if not joined.counts_sinks and (first.counts_sinks or second.counts_sinks):
        joined = joined.replaced(sinks="strict")  # what one of them bounds stays bounded
    return joined.with_origin(
        places={**second.places, **first.places}, closure={**dict(second.closure), **dict(first.closure)}
    )


def _outputs(first: Policy, second: Policy) -> str | None:
    """Return the folder that both keep at the end; what only one keeps, the other's user never agreed to."""
    return first.outputs if first.outputs == second.outputs else None


def _files(first: FilesBlock | None, second: FilesBlock | None) -> FilesBlock:
    one, other = first or FilesBlock(), second or FilesBlock()
    return FilesBlock(
        access=strictest(ACCESS, one.access, other.access),
        hide=union(one.hide, other.hide),
        hide_defaults=one.hide_defaults or other.hide_defaults,
        visible=_visible(one, other),
        protect=union(one.protect, other.protect),
        protect_defaults=one.protect_defaults or other.protect_defaults,
        limits=least(FileLimits, one.limits, other.limits),
    )


def _visible(one: FilesBlock, other: FilesBlock) -> tuple[Glob, ...]:
    if not (one.hide_defaults and other.hide_defaults):
        return (one if one.hide_defaults else other).visible
    both = frozenset(other.visible)
    return tuple(glob for glob in one.visible if glob in both)


def _exec(first: ExecBlock | None, second: ExecBlock | None) -> ExecBlock:
    one, other = first or ExecBlock(), second or ExecBlock()
    if one.image != other.image:
        raise UnjoinableError(
            "exec.image",
            f"image {quoted(one.image)} is not {quoted(other.image)}, which the other policy fixes",
            hint="leave `image` out, or do not extend",
        )
    return ExecBlock(
        image=one.image,
        contents=one.contents if one.contents == other.contents else None,
        programs=one.programs.meet(other.programs),
    )


def _isolation(one: Isolation, other: Isolation) -> Isolation:
    return Isolation(
        runtime=strictest(RUNTIMES, one.runtime, other.runtime),
        memory=min(one.memory, other.memory),
        cpus=min(one.cpus, other.cpus),
        processes=min(one.processes, other.processes),
        scratch=min(one.scratch, other.scratch),
    )
