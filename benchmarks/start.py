"""Measure the start of a sandbox beside its floor, in one run."""

# Run it with `python -m benchmarks.start [STATE]`; it prints floor, ours and ratio, and exits 1 when a gate
# does not hold. The floor: create, attach, start and the first byte of a static program, from the same image,
# with the same flags, through the same API. Absolute times drift; the ratios are what is held.

import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from agent_runner.bench.first_byte import first_byte, image_tar
from agent_runner.bench.launch import bare_spec, no_note
from sandbox import attest, host_view
from sandbox.docker_engine import DockerEngine
from sandbox.launch import LEASE_SECONDS, open_sandbox
from sandbox.limits import Limits
from sandbox.link import Link
from sandbox.runtime.volume import ready_runtime
from sandbox.spec import ContainerSpec

ROUNDS = 15
LARGEST_RATIO = 1.5
ATTESTATION_MILLISECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        floor: Milliseconds without us; 0 where there is no floor.
        ours: Milliseconds with us.
        holds: Whether the gate holds; None where there is none.
    """

    name: str
    floor: float
    ours: float
    holds: bool | None


async def guest(engine: DockerEngine, spec: ContainerSpec) -> float:
    """Return the milliseconds until the guest has answered HELLO, unattested."""
    start = time.perf_counter()
    container = await engine.create(spec)
    attachment = await engine.attach(container)
    await engine.start(container)
    async with Link(attachment.reader, attachment.writer) as link:
        await link.hello(secrets.token_hex(16), lease_seconds=LEASE_SECONDS, wall_seconds=60)
        taken = time.perf_counter() - start
    await attachment.close()
    await engine.remove(container)
    await engine.wait_gone(container, timeout_seconds=30)
    return taken * 1000


async def ours(engine: DockerEngine, spec: ContainerSpec) -> tuple[float, float]:
    """Return the milliseconds until the first action's answer, and what attestation alone takes."""
    start = time.perf_counter()
    async with open_sandbox(engine, spec, limits=Limits(), local=True, made=no_note) as sandbox:
        await sandbox.call("files.stat", {"path": "."})
        taken = time.perf_counter() - start
        again = time.perf_counter()
        inspection = await engine.inspect(sandbox.container_id, spec)
        attest.judge(inspection.evidence)
        host_view.host_evidence(spec, sandbox.container_id, inspection.process)
        attest.guest_evidence(spec, {})
        attested = time.perf_counter() - again
    return taken * 1000, attested * 1000


async def measure(state: Path) -> list[Row]:
    """Measure everything in turns, so that the machine's moods meet all of it."""
    engine = await DockerEngine.connect()
    name = f"pairlock-benchmark:{secrets.token_hex(4)}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            image = await engine.import_image(image_tar(Path(folder)), tag=name)
        volume = await ready_runtime(engine, state=state, progress=lambda *_, **__: None)
        facts = await engine.image_facts(image)
        about = await engine.describe()
        if facts is None:
            raise RuntimeError("the image has gone")

        def spec() -> ContainerSpec:
            """Return the spec of one more container."""
            return bare_spec(about, facts, volume, "benchmark")

        floors, guests, starts = [], [], []
        for _ in range(ROUNDS):
            floors.append(await first_byte(engine, replace(spec(), entrypoint=("/first-byte",))))
            guests.append(await guest(engine, spec()))
            starts.append(await ours(engine, spec()))
    finally:
        await engine.remove_image(name)
        await engine.close()
    bottom = statistics.median(floors)
    start = statistics.median(taken for taken, _ in starts)
    attestation = statistics.median(attested for _, attested in starts)
    return [
        Row("start to the first action's answer", bottom, start, start <= LARGEST_RATIO * bottom),
        Row("start to the guest's HELLO", bottom, statistics.median(guests), None),
        Row("attestation", 0.0, attestation, attestation < ATTESTATION_MILLISECONDS),
    ]


def main() -> int:
    """Print the table; return 1 when a gate does not hold."""
    state = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="pairlock-benchmark-"))
    rows = asyncio.run(measure(state))
    print(f"{'':<38}{'floor':>10}{'ours':>10}{'ratio':>8}")
    for row in rows:
        ratio = f"{row.ours / row.floor:.2f}" if row.floor else "-"
        gate = {True: "holds", False: "DOES NOT HOLD", None: ""}[row.holds]
        line = f"{row.name:<38}{row.floor:>8.1f}ms{row.ours:>8.1f}ms{ratio:>8}  {gate}"
        print(line)
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
