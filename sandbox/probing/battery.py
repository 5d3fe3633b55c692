"""Run every probe under one grant and one runtime, in real containers, and yield what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.errors import SandboxLostError
from sandbox.launch import open_sandbox
from sandbox.limits import MIB, Limits
from sandbox.probing.catalogue import IN_GUEST
from sandbox.probing.probe import ENDED, Probe, Result
from sandbox.probing.programs import WITH_PROGRAMS, answer
from sandbox.spec import OWN_KERNEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from sandbox.engine import Engine
    from sandbox.session import Sandbox
    from sandbox.spec import ContainerSpec

PROBE_LIMITS: Final = Limits(
    memory_bytes=128 * MIB,
    scratch_bytes=32 * MIB,
    scratch_files=1024,
    copy_bytes=16 * MIB,
    copy_files=512,
    processes=64,
    open_files=256,
    wall_seconds=300.0,
    action_seconds=60.0,
    action_output_bytes=MIB,
    file_bytes=8 * MIB,
)
"""Small, so that it does not take long to reach them."""


async def run_battery(engine: Engine, spec: ContainerSpec, *, local: bool) -> AsyncIterator[Result]:
    """Try everything in sandboxes made of this spec.

    Args:
        engine: Where.
        spec: Of the grant and runtime to try, with `PROBE_LIMITS`; with `exec`, its image holds Python.
        local: Whether the engine is on this machine.

    Yields:
        A result for each probe.

    Raises:
        sandbox.errors.SandboxError: When a sandbox cannot be made or attested.
    """

    def sandbox() -> AbstractAsyncContextManager[Sandbox]:
        return open_sandbox(engine, spec, limits=PROBE_LIMITS, local=local, made=_no_note)

    own_kernel = spec.runtime in OWN_KERNEL
    together = [probe for probe in IN_GUEST if not (probe.alone and own_kernel) and _exists(probe, spec)]
    async with sandbox() as opened:
        for probe, observed in await _ask(opened, together):
            yield Result(probe=probe, grant=spec.grant, runtime=spec.runtime, observed=observed)
        for program in WITH_PROGRAMS:
            observed = await answer(opened, program)
            yield Result(probe=program.probe, grant=spec.grant, runtime=spec.runtime, observed=observed)
    for probe in IN_GUEST:
        if probe.alone and own_kernel:
            observed = await _alone(sandbox, probe)
            yield Result(probe=probe, grant=spec.grant, runtime=spec.runtime, observed=observed)


def _exists(probe: Probe, spec: ContainerSpec) -> bool:
    """Leave out what only x86-64 has on a machine that is none."""
    return "X86_64" in spec.seccomp or not probe.only_x86


async def _ask(sandbox: Sandbox, probes: list[Probe]) -> list[tuple[Probe, str]]:
    reply = await sandbox.call("probe.run", {"names": [probe.name for probe in probes]})
    return [(probe, str(reply.result.get(probe.name, "not tried"))) for probe in probes]


async def _alone(sandbox: Callable[[], AbstractAsyncContextManager[Sandbox]], probe: Probe) -> str:
    """Run a probe in a sandbox of its own, which it may take with it."""
    try:
        async with sandbox() as opened:
            return (await _ask(opened, [probe]))[0][1]
    except SandboxLostError:
        return ENDED


async def _no_note(container_id: str) -> None:
    """Write nothing down: there is no ledger of probes."""
